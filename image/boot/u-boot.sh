# The machine's firmware starts U-Boot, and that runs boot.scr, which chooses the version and counts tries.
sed "s/@VERSION@/$VERSION/" "$IMAGE/boot/u-boot.cmd" >"$OUT/boot.cmd"
mkimage -T script -C none -A arm64 -n Pocket -d "$OUT/boot.cmd" "$tree/boot.scr" >/dev/null
rm "$OUT/boot.cmd"
python3 "$IMAGE/lib/u_boot_state.py" "$VERSION" >"$OUT/state.bin"
