"""disk.py LAYOUT IMAGE: a disk with a GPT and the contents of its partitions, holes where there is
nothing."""

import os
import struct
import subprocess
import sys
import tomllib
from pathlib import Path

MIB = 1024 * 1024
SECTOR = 512
START_MIB = 4
"""Where the first partition begins: whole erase blocks of most cards."""
END_MIB = 1
"""For the second copy of the table."""
DISK_UUID = "5a7fa6f8-30a4-4b0e-a8f0-1b3f0cde6f00"
ROOT_TYPES = {
    "amd64": "4f68bce3-e8cd-4db1-96e7-fbcaf984b709",
    "arm64": "b921b045-1df0-41c3-af44-4c6f280d3fae",
}
"""Root file systems by architecture (Discoverable Partitions Specification)."""
TYPES = {
    "esp": "c12a7328-f81f-11d2-ba4b-00a0c93ec93b",
    "linux": "0fc63daf-8483-4772-8e79-3d69d8477de4",
    "u-boot-state": "3de21764-95bd-54bd-a5c3-4abe786f38a8",
    "root": ROOT_TYPES[os.environ["ARCH"]],
}


def copy_sparse(source: Path, image: Path, offset: int) -> None:
    """Octets that are zero stay a hole."""
    subprocess.run(
        [
            "dd",
            f"if={source}",
            f"of={image}",
            "bs=1M",
            f"seek={offset // MIB}",
            "conv=sparse,notrunc",
            "status=none",
        ],
        check=True,
    )


def add_mbr_entry(image: Path, start: int, sectors: int) -> None:
    """The boot partition in the MBR, too, before the entry that protects the GPT, which then ends where it
    begins."""
    with image.open("r+b") as file:
        file.seek(446)
        file.write(mbr_entry(0x0C, start, sectors) + mbr_entry(0xEE, 1, start - 1))


def mbr_entry(kind: int, start: int, sectors: int) -> bytes:
    no_cylinders = b"\xfe\xff\xff"
    return struct.pack("<B3sB3sII", 0, no_cylinders, kind, no_cylinders, start, sectors)


def main() -> None:
    layout, image = Path(sys.argv[1]), Path(sys.argv[2])
    contents = {
        "boot": Path(os.environ["BOOT"]) / "boot.vfat",
        "state": Path(os.environ["BOOT"]) / "state.bin",
        "root": Path(os.environ["ROOT"]) / "root.erofs",
        "data": Path(os.environ["DATA"]) / "data.ext4",
    }
    table = tomllib.loads(layout.read_text())
    at, script, copies = START_MIB, ["label: gpt", f"label-id: {DISK_UUID}", "unit: sectors"], []
    for part in table["partition"]:
        name = part["name"].replace("@v", os.environ["VERSION"])
        size = part["size_mib"]
        if content := part.get("content"):
            source = contents[content]
            if source.stat().st_size > size * MIB:
                sys.exit(
                    f"{name}: {source.name} has {source.stat().st_size // MIB + 1} MiB, "
                    f"the partition {size}: {layout}"
                )
            copies.append((source, at * MIB))
        script.append(
            f"start={at * MIB // SECTOR}, size={size * MIB // SECTOR}, type={TYPES[part['type']]}, "
            f'uuid={part["uuid"]}, name="{name}"'
        )
        at += size
    with image.open("wb") as file:
        file.truncate((at + END_MIB) * MIB)
    subprocess.run(["sfdisk", "--quiet", str(image)], input="\n".join(script) + "\n", text=True, check=True)
    if table.get("hybrid_mbr"):
        add_mbr_entry(image, START_MIB * MIB // SECTOR, table["partition"][0]["size_mib"] * MIB // SECTOR)
    for source, offset in copies:
        copy_sparse(source, image, offset)


if __name__ == "__main__":
    main()
