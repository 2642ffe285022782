#!/bin/bash
# What the image takes from Debian packages without installing them: the kernel, boot loaders, firmware. Unpacked into tree/;
# debs.tsv tells name, version, architecture and SHA-256 of each. DEBS has words NAME or NAME/SUITE.
set -eu
. "$IMAGE/lib/packages.sh"

apt=$OUT/apt
mkdir -p "$apt"/{etc/apt/{sources.list.d,preferences.d,apt.conf.d},state/lists/partial,cache/archives/partial,debs} "$OUT/tree"
touch "$apt/status"
cp -r /etc/apt/trusted.gpg.d "$apt/etc/apt/"
sources >"$apt/etc/apt/sources.list"
options=(-qq -o Dir="$apt" -o Dir::State="$apt/state" -o Dir::State::status="$apt/status" -o Dir::Cache="$apt/cache"
    -o APT::Architecture="$ARCH" -o APT::Architectures="$ARCH" -o Acquire::Languages=none -o APT::Sandbox::User=root)
apt-get "${options[@]}" update

# parts NAME SUITE: the kernel's own packages that a kernel package consists of.
parts() {
    apt-cache "${options[@]}" -t "$2" show --no-all-versions "$1" | sed -n 's/^Depends: //p' | tr ',|' '\n\n' |
        awk '{print $1}' | grep -E '^linux-(base|image|binary|modules)-[0-9]' || true
}

wanted=()
for word in $DEBS; do
    name=${word%/*} suite=trixie
    [ "$name" = "$word" ] || suite=${word#*/}
    wanted+=("$name/$suite")
    for part in $(parts "$name" "$suite"); do
        wanted+=("$part/$suite")
        for piece in $(parts "$part" "$suite"); do
            wanted+=("$piece/$suite")
        done
    done
done
mapfile -t wanted < <(printf '%s\n' "${wanted[@]}" | sort -u)
(cd "$apt/debs" && apt-get "${options[@]}" download "${wanted[@]}")
for deb in "$apt"/debs/*.deb; do
    dpkg-deb -x "$deb" "$OUT/tree"
    printf '%s\t%s\n' "$(dpkg-deb -W --showformat '${Package}\t${Version}\t${Architecture}' "$deb")" \
        "$(sha256sum "$deb" | cut -d' ' -f1)"
done | sort >"$OUT/debs.tsv"
rm -rf "$apt"
