#!/bin/bash
# initrd.cpio.zst: busybox, image/initrd/init and the modules that image/initrd/modules.list names, with what they need.
set -eu
. "$IMAGE/lib/tree.sh"

tree=$OUT/tree
kernel=$(kernel_version "$DEBS/tree")
mkdir -p "$tree"/{bin,sbin,proc,sys,dev,run,root,tmp,lib/modules}
install -m 755 "$DEBS/tree/usr/bin/busybox" "$tree/bin/busybox"
for applet in basename cat cut date dirname find grep modprobe mkdir mount readlink reboot sh sha256sum sleep sort switch_root tr xargs; do
    ln -s busybox "$tree/bin/$applet"
done
install -m 755 "$IMAGE/initrd/init" "$tree/init"

cp -r "$DEBS/tree/usr/lib/modules" "$OUT/all"
mkdir "$OUT/usr" "$OUT/usr/lib"
mv "$OUT/all" "$OUT/usr/lib/modules"
depmod -b "$OUT/usr" "$kernel"
sed 's/#.*//' "$IMAGE/initrd/modules.list" | xargs -n 1 | while read -r name; do
    modprobe -d "$OUT/usr" -S "$kernel" --show-depends "$name" 2>/dev/null || echo "not a module here: $name" >&2
done | awk '$1 == "insmod" {print $2}' | sort -u | while read -r module; do
    place=$tree/lib/modules/$kernel/${module#*"/modules/$kernel/"}
    mkdir -p "$(dirname "$place")"
    case $module in
    *.xz) xz -dc "$module" >"${place%.xz}" ;;
    *) cp "$module" "$place" ;;
    esac
done
cp "$OUT/usr/lib/modules/$kernel"/modules.{builtin,builtin.modinfo,order} "$tree/lib/modules/$kernel/"
depmod -b "$tree" "$kernel"
# Modules whose devices cannot call for them by name.
echo "sd_mod mmc_block ledtrig_heartbeat" >"$tree/lib/modules/always"
rm -rf "$OUT/usr"

in_epoch "$tree"
(cd "$tree" && find . ! -type d -printf '%P\n' | LC_ALL=C sort) >"$OUT/files"
(cd "$tree" && find . | LC_ALL=C sort | cpio --quiet --reproducible -o -H newc --owner=+0:+0) |
    zstd -q -19 -T1 >"$OUT/initrd.cpio.zst"
rm -rf "$tree"
