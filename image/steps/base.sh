#!/bin/bash
# Debian 13 for the board's architecture, without a kernel, as base.tar; and packages.tsv: name, version, architecture and SHA-256
# of each package. Slow for another architecture than this machine's: its programs run in an emulator while they are set up.
set -eu
. "$IMAGE/lib/packages.sh"
. "$IMAGE/lib/binfmt.sh"

emulate "$ARCH"
export SOURCE_DATE_EPOCH=0
cat >"$OUT/tell-packages" <<'HOOK'
#!/bin/sh
export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"
chroot "$1" dpkg-query -W -f '${Package}:${Architecture}=${Version}\n' | sed 's/:all=/=/' |
    xargs apt-cache show --no-all-versions |
    awk '/^Package: /{p=$2} /^Version: /{v=$2} /^Architecture: /{a=$2} /^SHA256: /{print p "\t" v "\t" a "\t" $2}' | sort
HOOK
chmod +x "$OUT/tell-packages"
mmdebstrap --mode=root --variant=essential --architectures="$ARCH" --format=tar \
    --aptopt='Apt::Install-Recommends "false"' \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='path-exclude=/usr/share/i18n/*' --dpkgopt='path-exclude=/usr/share/info/*' \
    --include="$(words "$IMAGE/packages/root.list")" \
    --customize-hook="$OUT/tell-packages \"\$1\" >$OUT/packages.tsv" \
    trixie "$OUT/base.tar" - < <(sources)
rm "$OUT/tell-packages"
