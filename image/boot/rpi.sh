# The first stages of a Raspberry Pi, from ROM or EEPROM, read these: firmware, device trees, and U-Boot in place of a kernel.
firmware=$DEBS/tree/usr/lib/raspi-firmware
cp "$firmware"/{bootcode.bin,start.elf,fixup.dat,start4.elf,fixup4.dat} "$tree/"
cp "$DEBS"/tree/usr/lib/modules/*/dtb/broadcom/bcm2*-rpi-*.dtb "$tree/"
cp "$DEBS/tree/usr/lib/u-boot/rpi_arm64/u-boot.bin" "$tree/u-boot.bin"
cp "$IMAGE/boot/config.txt" "$tree/config.txt"
