#!/bin/bash
# pocket.efi: kernel, initrd and command line in one file, a program for UEFI; it names the system it belongs to.
set -eu
. "$IMAGE/lib/tree.sh"

kernel=$(kernel_version "$DEBS/tree")
case $ARCH in
amd64) efi=x64 ;;
arm64) efi=aa64 ;;
esac
os_release >"$OUT/os-release"
ukify build --linux="$DEBS/tree/usr/lib/modules/$kernel/vmlinuz" --initrd="$INITRD/initrd.cpio.zst" --uname="$kernel" \
    --cmdline="root=PARTLABEL=pocket_$VERSION ro panic=10 systemd.gpt_auto=0 gpt quiet $CMDLINE" --os-release="@$OUT/os-release" \
    --stub="$DEBS/tree/usr/lib/systemd/boot/efi/linux$efi.efi.stub" --efi-arch="$efi" --output="$OUT/pocket.efi"
rm "$OUT/os-release"
