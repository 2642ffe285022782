# UEFI starts systemd-boot, which takes the newest version that is not known to be bad (it counts tries in the file's name).
install -D "$DEBS/tree/usr/lib/systemd/boot/efi/systemd-bootx64.efi" "$tree/EFI/BOOT/BOOTX64.EFI"
install -D "$DEBS/tree/usr/lib/systemd/boot/efi/systemd-bootx64.efi" "$tree/EFI/systemd/systemd-bootx64.efi"
mkdir -p "$tree/loader"
printf 'timeout 0\neditor no\n' >"$tree/loader/loader.conf"
