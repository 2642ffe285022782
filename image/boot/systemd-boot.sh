# UEFI starts systemd-boot, which takes the first entry that is not known to be bad: it counts tries in their names. The system
# writes entries of the same form (image/overlay, slots_start.py).
install -D "$DEBS/tree/usr/lib/systemd/boot/efi/systemd-bootx64.efi" "$tree/EFI/BOOT/BOOTX64.EFI"
install -D "$DEBS/tree/usr/lib/systemd/boot/efi/systemd-bootx64.efi" "$tree/EFI/systemd/systemd-bootx64.efi"
mkdir -p "$tree/loader/entries"
printf 'timeout 0\neditor no\n' >"$tree/loader/loader.conf"
printf 'title Pocket %s\nsort-key pocket\nversion 1\nefi /EFI/pocket/pocket_%s.efi\n' "$VERSION" "$VERSION" \
    >"$tree/loader/entries/pocket_$VERSION.conf"
