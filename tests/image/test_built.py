"""What was built has what each machine needs to start, as far as can be seen without starting it. Skipped
where nothing was built: make image BOARD=rpi."""

import struct

import pytest

from image.board import BOARDS, HERE, MIB
from image.build import build_of
from image.errors import ImageError

FIRMWARE = {"bootcode.bin", "start.elf", "fixup.dat", "start4.elf", "fixup4.dat", "config.txt", "u-boot.bin"}
"""What the first stages read: Pi 3 and Zero 2 W the first three, Pi 4 the next two, Pi 5 none of them."""
CONFIG = {"arm_64bit=1", "kernel=u-boot.bin", "upstream_kernel=1", "os_check=0", "enable_uart=1"}
MODELS = {
    "bcm2837-rpi-3-b": {
        "card": ["bcm2835", "mmc_block"],
        "USB": ["dwc2", "phy-generic", "usb-storage"],
        "network": ["smsc95xx", "brcmfmac"],
        "Wi-Fi": ["brcmfmac43430-sdio.bin", "brcmfmac43430-sdio.raspberrypi,3-model-b.txt"],
    },
    "bcm2837-rpi-3-b-plus": {
        "card": ["bcm2835", "mmc_block"],
        "USB": ["dwc2", "phy-generic", "usb-storage"],
        "network": ["lan78xx", "brcmfmac"],
        "Wi-Fi": ["brcmfmac43455-sdio.bin", "brcmfmac43455-sdio.raspberrypi,3-model-b-plus.txt"],
    },
    "bcm2837-rpi-zero-2-w": {
        "card": ["bcm2835", "mmc_block"],
        "USB": ["dwc2", "usb-storage"],
        "network": ["brcmfmac", "g_serial"],
        "Wi-Fi": ["brcmfmac43430-sdio.bin", "brcmfmac43430-sdio.raspberrypi,model-zero-2-w.txt"],
    },
    "bcm2711-rpi-4-b": {
        "card": ["sdhci-iproc", "mmc_block", "gpio-regulator", "fixed", "gpio-raspberrypi-exp"],
        "USB": ["pcie-brcmstb", "xhci-pci", "reset-raspberrypi", "usb-storage", "uas"],
        "network": ["genet", "brcmfmac", "dwc2", "g_serial"],
        "Wi-Fi": ["brcmfmac43455-sdio.bin", "brcmfmac43455-sdio.raspberrypi,4-model-b.txt"],
    },
    "bcm2712-rpi-5-b": {
        "card": [
            *("sdhci-brcmstb", "mmc_block", "gpio-regulator", "fixed"),
            *("gpio-brcmstb", "pinctrl-brcmstb-bcm2712"),
        ],
        "USB": [
            *("pcie-brcmstb", "irq-bcm2712-mip", "rp1_pci", "clk-rp1", "pinctrl-rp1"),
            *("dwc3", "xhci-plat-hcd", "usb-storage", "uas"),
        ],
        "network": ["macb", "brcmfmac"],
        "Wi-Fi": ["brcmfmac43455-sdio.bin", "brcmfmac43455-sdio.raspberrypi,5-model-b.txt"],
    },
}
"""By device tree: what of a kernel has to be there before the system is found (card, USB), and later."""


def result(board, step):
    """The folder of a step's results in the last build of that board."""
    try:
        found = build_of(board).last(step)
    except ImageError as problem:
        pytest.skip(str(problem))
    if step in ("boot", "initrd", "root") and not (found / "files").exists():
        pytest.skip(f"{board} was built before its files were listed")
    return found


def files(board, step):
    return set((result(board, step) / "files").read_text().splitlines())


def modules(names):
    return {name.rsplit("/", 1)[-1].partition(".ko")[0].replace("_", "-") for name in names}


def builtin(board):
    (told,) = (result(board, "debs") / "tree/usr/lib/modules").glob("*/modules.builtin")
    return modules(told.read_text().split())


@pytest.mark.parametrize("model", MODELS)
def test_what_a_raspberry_pi_needs_to_find_its_system_is_in_the_first_file_system(model):
    there = modules(files("rpi", "initrd")) | builtin("rpi")
    for use in ("card", "USB"):
        assert {name.replace("_", "-") for name in MODELS[model][use]} <= there, use
    assert {"leds-gpio", "ledtrig-heartbeat"} <= there


@pytest.mark.parametrize("model", MODELS)
def test_network_and_firmware_of_every_raspberry_pi_are_in_the_system(model):
    names = files("rpi", "root")
    there = modules(names) | builtin("rpi")
    wanted = {name.replace("_", "-") for name in MODELS[model]["network"]}
    assert wanted | {"brcmfmac-wcc", "bcm2835-wdt"} <= there
    firmware = {name.rsplit("/", 1)[-1] for name in names if "lib/firmware/brcm/" in name}
    assert set(MODELS[model]["Wi-Fi"]) <= firmware


def test_the_boot_partition_of_a_raspberry_pi_has_all_its_first_stages_read():
    names = files("rpi", "boot")
    assert names >= FIRMWARE | {f"{model}.dtb" for model in MODELS}
    assert {"boot.scr", "pocket.toml"} <= names
    assert any(name.startswith("EFI/") and name.endswith(".efi") for name in names), "there is no kernel"
    assert not any(name.startswith("EFI/BOOT/") for name in names), "U-Boot would start that, past boot.scr"
    assert set((HERE / "boot/config.txt").read_text().splitlines()) >= CONFIG


def test_the_disk_of_a_raspberry_pi_has_its_boot_partition_in_both_tables():
    """The first stage of a Raspberry Pi 3 reads the MBR only, everything else the GPT."""
    with (result("rpi", "disk") / "disk.img").open("rb") as disk:
        mbr, header = disk.read(512), disk.read(512)
        disk.seek(4 * MIB)
        fat = disk.read(512)
    kind, start, sectors = struct.unpack("<4xB3xII", mbr[446:462])
    assert (kind, start, sectors) == (0x0C, 4 * MIB // 512, 256 * MIB // 512)
    assert mbr[462 + 4] == 0xEE and mbr[510:] == b"\x55\xaa"
    assert header[:8] == b"EFI PART"
    assert fat[82:90] == b"FAT32   "


@pytest.mark.parametrize("name", BOARDS)
def test_no_module_is_compressed_by_itself_and_none_is_there_that_was_dropped(name):
    names = {path for path in files(name, "root") if path.startswith("usr/lib/modules/")}
    assert names and not [path for path in names if path.endswith(".xz")]
    assert {"ext4", "vfat", "exfat", "gpio-sim", "mac80211-hwsim"} <= modules(names) | builtin(name)
    assert not [path for path in names if "/bluetooth/" in path or "/sound/" in path]
