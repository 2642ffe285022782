#!/bin/bash
# What is given away: the image with its map of blocks, the payload of an update, the list of contents, sums and a signature.
set -eu

name=pocket-$BOARD-$VERSION
cd "$OUT"
bmaptool --quiet create "$DISK/disk.img" --output "$name.bmap"
# Its comment tells the time of the build.
sed -i "s/$(basename "$DISK/disk.img")/$name.img/; s/^<!-- .*20[0-9][0-9].*-->$//" "$name.bmap"
zstd -q -10 -T2 "$DISK/disk.img" -o "$name.img.zst"
zstd -q -10 -T2 "$ROOT/root.erofs" -o "$name.root.zst"
zstd -q -3 -T2 "$UKI/pocket.efi" -o "$name.efi.zst"
python3 "$IMAGE/lib/sbom.py" >"$name.cdx.json"
sha256sum -- "$name".* >SHA256SUMS

export GNUPGHOME=/tmp/gnupg
mkdir -m 700 $GNUPGHOME
gpg --batch --quiet --import "$KEYS/secret.asc"
gpg --batch --quiet --detach-sign --output SHA256SUMS.gpg SHA256SUMS
gpgconf --kill all
