#!/bin/bash
# boot.vfat: the partition that the machine's own firmware reads. image/boot has a script for each way to start.
set -eu
. "$IMAGE/lib/tree.sh"

tree=$OUT/tree
mkdir -p "$tree/EFI/pocket"
cp "$UKI/pocket.efi" "$tree/EFI/pocket/pocket_$VERSION.efi"
cp "$IMAGE/boot/pocket.toml" "$tree/pocket.toml"
. "$IMAGE/boot/$LOADER.sh"
[ ! -e "$IMAGE/boot/$BOARD.sh" ] || . "$IMAGE/boot/$BOARD.sh"

in_epoch "$tree"
(cd "$tree" && find . ! -type d -printf '%P\n' | LC_ALL=C sort) >"$OUT/files"
truncate -s "${BOOT_MIB}M" "$OUT/boot.vfat"
mkfs.vfat --invariant -F 32 -n POCKET -i 5A7F0001 "$OUT/boot.vfat" >/dev/null
(cd "$tree" && find . -mindepth 1 -printf '%P\n' | LC_ALL=C sort | while read -r name; do
    if [ -d "$name" ]; then
        mmd -i "$OUT/boot.vfat" "::$name"
    else
        mcopy -m -i "$OUT/boot.vfat" "$name" "::$name"
    fi
done)
rm -rf "$tree"
