#!/bin/bash
# The system: Debian, the kernel's modules, the box, and what image/overlay lays over them. root.erofs is read-only for good; files
# lists what is in there.
set -eu
. "$IMAGE/lib/tree.sh"
. "$IMAGE/lib/binfmt.sh"

tree=$OUT/tree
mkdir "$tree"
tar -xpf "$BASE/base.tar" -C "$tree" --numeric-owner --xattrs --xattrs-include='*'

# The kernel's modules and firmware.
kernel=$(kernel_version "$DEBS/tree")
mkdir -p "$tree/usr/lib/modules"
cp -r "$DEBS/tree/usr/lib/modules/$kernel" "$tree/usr/lib/modules/"
rm -f "$tree/usr/lib/modules/$kernel"/{vmlinuz,System.map,config}
for name in $(set -f && echo $(sed 's/#.*//' "$IMAGE/packages/modules.drop")); do
    (cd "$tree/usr/lib/modules/$kernel/kernel" && rm -rf $name)
done
# root.erofs is compressed: a module that is compressed for itself, too, only takes longer to load.
find "$tree/usr/lib/modules/$kernel" -name '*.ko.xz' -print0 | xargs -0 -r -n 50 -P 2 xz -d
depmod -b "$tree/usr" "$kernel"
if [ -d "$DEBS/tree/usr/lib/firmware" ]; then
    cp -r "$DEBS/tree/usr/lib/firmware" "$tree/usr/lib/"
    rm "$tree"/usr/lib/firmware/*/*-pcie.* # no board has Wi-Fi on PCI Express
fi

# The box, as a virtual environment of the system's Python.
venv=$tree/opt/pocket/venv
site=$venv/lib/python3.13/site-packages
mkdir -p "$site" "$venv/bin"
python3 "$IMAGE/lib/unpack_wheels.py" "$site" "$WHEELS"/*.whl
cp "$LGPIO"/site/* "$site/"
cp -r "$REPO/appliance" "$site/"
ln -s /usr/bin/python3 "$venv/bin/python3"
ln -s python3 "$venv/bin/python"
printf 'home = /usr/bin\ninclude-system-site-packages = false\nversion = 3.13\n' >"$venv/pyvenv.cfg"
cat >"$venv/bin/pocket" <<'END'
#!/opt/pocket/venv/bin/python
import sys

from appliance.cli import main

sys.exit(main())
END
chmod 755 "$venv/bin/pocket"
ln -s /opt/pocket/venv/bin/pocket "$tree/usr/bin/pocket"

# Its units, and what is the image's own.
install -D -m 644 -t "$tree/usr/lib/systemd/system" "$REPO/systemd/pocket.service"
install -D -m 644 -t "$tree/usr/lib/sysusers.d" "$REPO/systemd/sysusers.d/pocket.conf"
install -D -m 644 -t "$tree/usr/lib/tmpfiles.d" "$REPO/systemd/tmpfiles.d/pocket.conf"
install -D -m 644 -t "$tree/usr/lib/udev/rules.d" "$REPO/systemd/udev/60-pocket.rules"
rm "$tree/etc/resolv.conf" "$tree/etc/hostname"
for overlay in common "$LOADER" "$BOARD"; do
    [ ! -d "$IMAGE/overlay/$overlay" ] || cp -rT --no-dereference "$IMAGE/overlay/$overlay" "$tree"
done
find "$tree" -name .keep -delete
os_release >"$tree/usr/lib/os-release"
: >"$tree/usr/lib/clock-epoch" # the clock never goes below its time
: >"$tree/etc/machine-id"
install -D -m 644 "$KEYS/public.gpg" "$tree/usr/lib/systemd/import-pubring.gpg"
echo "$BOARD" >"$tree/usr/lib/pocket-image/board"

# Users, services; nobody has a password.
systemd-sysusers --root="$tree"
rm -rf "$tree"/etc/init.d "$tree"/etc/rc?.d
systemctl --root="$tree" --quiet enable pocket.service pocket-preset.service NetworkManager.service ssh.service systemd-timesyncd.service \
    pocket-slots.service pocket-proof.service pocket-bless.service
systemctl --root="$tree" --quiet set-default multi-user.target
sed -i "s/^\([^:]*\):[^:]*:[^:]*:/\1:!*:$((SOURCE_DATE_EPOCH / 86400)):/" "$tree/etc/shadow"
rm -f "$tree"/etc/{shadow,passwd,group,gshadow,subuid,subgid}- "$tree"/etc/ssh/ssh_host_*

# What only package managers and logs would want, what asks for something that is not there at each start, and what is never run.
rm -rf "$tree"/var/{cache,lib,log,backups,spool,mail}/* "$tree"/boot/* "$tree"/etc/apt "$tree"/usr/lib/systemd/catalog \
    "$tree"/usr/share/{bash-completion,zsh,lintian,bug,polkit-1/locale} "$tree"/usr/lib/python3.13/{idlelib,test,turtledemo} \
    "$tree"/usr/lib/*/{gconv,perl-base} "$tree"/usr/{lib,share}/perl* "$tree"/usr/bin/perl* "$tree"/usr/bin/nmtui*
rm -f "$tree"/usr/lib/udev/hwdb.d/* "$tree"/usr/lib/udev/hwdb.bin "$tree"/etc/machine-id.* \
    "$tree"/usr/lib/*/NetworkManager/*/libnm-{device-plugin-{adsl,bluetooth,team,wwan},ppp-plugin,settings-plugin-ifupdown,wwan}.so \
    "$tree"/usr/share/dbus-1/system-services/org.freedesktop.{hostname1,import1,machine1,network1,nm_dispatcher,portable1}.service

# Compiled once, here: the system cannot write it later.
find "$tree" -name __pycache__ -prune -exec rm -rf {} +
python3 -m compileall -q -j 1 --invalidation-mode unchecked-hash -s "$tree" -p / \
    "$tree/usr/lib/python3.13" "$tree/usr/lib/python3" "$site" "$tree/usr/lib/pocket-image"

# Does what was put together here run at all?
emulate "$ARCH"
chroot "$tree" /opt/pocket/venv/bin/pocket --version
chroot "$tree" /opt/pocket/venv/bin/python -W error -c 'import google_crc32c'
if [ "$ARCH" = "$(dpkg --print-architecture)" ]; then
    # It starts threads, which the emulator of another architecture does not survive.
    chroot "$tree" env LG_WD=/tmp /opt/pocket/venv/bin/python -c 'import lgpio'
    rm -f "$tree"/tmp/.lgd-*
fi

(cd "$tree" && find . ! -type d -printf '%P\n' | LC_ALL=C sort) >"$OUT/files"
mkfs.erofs --quiet -zzstd,level=6 -C65536 -T"$SOURCE_DATE_EPOCH" --all-time \
    -U5a7fa6f8-30a4-4b0e-a8f0-1b3f0cde6f11 "$OUT/root.erofs" "$tree"
rm -rf "$tree"
