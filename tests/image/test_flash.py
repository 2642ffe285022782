"""What `make flash` refuses, and that what it writes is what the image is. Files stand for cards."""

import hashlib
import io
from pathlib import Path

import pytest

from image.errors import ImageError
from image.flash import Range, device, flash, pieces, ranges, refuse, verify, write

MIB = 1 << 20


def nothing(stage, done):
    pass


@pytest.fixture
def image():
    """Octets, and the ranges that have content."""
    octets = bytearray(4 * MIB)
    octets[: MIB + 5] = b"a" * (MIB + 5)
    octets[3 * MIB :] = b"b" * MIB
    spans = [(0, MIB + 4096), (3 * MIB, 4 * MIB)]
    return bytes(octets), [Range(a, b, hashlib.sha256(octets[a:b]).hexdigest()) for a, b in spans]


@pytest.fixture
def card(tmp_path):
    path = tmp_path / "card"
    path.write_bytes(b"x" * 8 * MIB)
    return path


def test_what_is_written_is_the_image_and_old_tables_at_the_end_are_gone(image, card):
    octets, wanted = image
    write(io.BytesIO(octets), card, len(octets), wanted, nothing)
    verify(card, wanted, nothing)
    written = card.read_bytes()
    for part in wanted:
        assert written[part.start : part.end] == octets[part.start : part.end]
    assert written[2 * MIB : 3 * MIB] == b"x" * MIB, "holes are not written"
    assert written[-MIB:] == bytes(MIB)


def test_a_card_that_lost_something_is_told(image, card):
    octets, wanted = image
    write(io.BytesIO(octets), card, len(octets), wanted, nothing)
    with card.open("r+b") as file:
        file.seek(3 * MIB + 17)
        file.write(b"?")
    with pytest.raises(ImageError, match="another card"):
        verify(card, wanted, nothing)


def test_a_card_smaller_than_it_says_is_told(image, card):
    octets, wanted = image
    write(io.BytesIO(octets), card, len(octets), wanted, nothing)
    with card.open("r+b") as file:
        file.truncate(3 * MIB + 1)
    with pytest.raises(ImageError, match="smaller"):
        verify(card, wanted, nothing)


def test_an_image_that_ends_early_or_is_another_one_is_told(image, card):
    octets, wanted = image
    with pytest.raises(ImageError, match="ends at"):
        list(pieces(io.BytesIO(octets[: 2 * MIB]), wanted, len(octets)))
    with pytest.raises(ImageError, match="does not fit its map"):
        write(io.BytesIO(octets.replace(b"b", b"c")), card, len(octets), wanted, nothing)


MAP = """<?xml version="1.0" ?>
<bmap version="2.0">
    <ImageSize> 10000 </ImageSize>
    <BlockSize> 4096 </BlockSize>
    <BmapFileChecksum> {sum} </BmapFileChecksum>
    <BlockMap>
        <Range chksum="aa"> 0-1 </Range>
        <Range chksum="bb"> 2 </Range>
    </BlockMap>
</bmap>
"""


def test_a_map_is_read_and_one_that_was_damaged_refused(tmp_path):
    path = tmp_path / "x.bmap"
    digest = hashlib.sha256(MAP.format(sum="0" * 64).encode()).hexdigest()
    path.write_text(MAP.format(sum=digest))
    assert ranges(path) == (10000, [Range(0, 8192, "aa"), Range(8192, 10000, "bb")])
    path.write_text(MAP.format(sum=digest).replace("bb", "bc"))
    with pytest.raises(ImageError, match="damaged"):
        ranges(path)


class System:
    """A /sys and a /proc with one disk, sdx, that has a partition; /dev/null stands for its node."""

    def __init__(self, root: Path, *, removable: str = "1", sectors: int = 1 << 20, mounts: str = "") -> None:
        disk = root / "sys/class/block/sdx"
        for name, text in {
            "removable": removable,
            "size": str(sectors),
            "dev": "8:16",
            "device/vendor": "Acme",
            "device/model": "Reader",
            "sdx1/partition": "1",
            "sdx1/dev": "8:17",
        }.items():
            (disk / name).parent.mkdir(parents=True, exist_ok=True)
            (disk / name).write_text(text + "\n")
        (root / "proc/self").mkdir(parents=True)
        (root / "proc/self/mountinfo").write_text(mounts)
        (root / "proc/swaps").write_text("Filename Type\n")
        self.root = root


def seen(system, monkeypatch):
    path = system.root / "sdx"
    path.touch()
    monkeypatch.setattr("image.flash.stat.S_ISREG", lambda mode: False)
    monkeypatch.setattr("image.flash.stat.S_ISBLK", lambda mode: True)
    return device(path, system.root)


def test_a_card_reader_is_seen_with_model_and_size(tmp_path, monkeypatch):
    found = seen(System(tmp_path), monkeypatch)
    assert (found.model, found.octets, found.removable, found.uses) == ("Acme Reader", 1 << 29, True, ())
    refuse(found, 1 << 29, force=False)
    with pytest.raises(ImageError, match=r"has 0\.5 GB"):
        refuse(found, (1 << 29) + 1, force=True)


def test_what_is_mounted_is_refused_by_whatever_name_and_force_does_not_help(tmp_path, monkeypatch):
    for number, line in enumerate(
        [
            "30 1 8:17 / /media/card rw - vfat /dev/sdx1 rw\n",
            "30 1 0:40 / /media/card rw - btrfs /dev/sdx1 rw\n",
        ]
    ):
        found = seen(System(tmp_path / str(number), mounts=line), monkeypatch)
        with pytest.raises(ImageError, match="mounted on /media/card"):
            refuse(found, 1, force=True)


def test_a_disk_of_this_machine_needs_force(tmp_path, monkeypatch):
    found = seen(System(tmp_path, removable="0"), monkeypatch)
    with pytest.raises(ImageError, match="FORCE=1"):
        refuse(found, 1, force=False)
    refuse(found, 1, force=True)


def test_swap_and_what_is_part_of_something_is_in_use(tmp_path, monkeypatch):
    system = System(tmp_path)
    (tmp_path / "proc/swaps").write_text("Filename Type\n/dev/sdx1 partition\n")
    (tmp_path / "sys/class/block/sdx/sdx1/holders/dm-0").mkdir(parents=True)
    assert seen(system, monkeypatch).uses == ("swap", "part of dm-0")


def test_a_partition_a_folder_and_nothing_are_no_disks(tmp_path, monkeypatch):
    with pytest.raises(ImageError, match="lsblk"):
        device(tmp_path / "none")
    with pytest.raises(ImageError, match="no disk"):
        device(tmp_path)
    system = System(tmp_path)
    (tmp_path / "sys/class/block/sdx/partition").write_text("1")
    with pytest.raises(ImageError, match="is a partition"):
        seen(system, monkeypatch)


def test_who_is_not_root_hears_before_anything_is_written_that_presets_need_it(tmp_path, card, monkeypatch):
    class Built:
        def last(self, step):
            return tmp_path

    (tmp_path / "pocket-rpi-1.img.zst").touch()
    monkeypatch.setattr("image.flash.build_of", lambda name: Built())
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setenv("SITE_NAME", "Home")
    with pytest.raises(ImageError, match="sudo make flash BOARD=rpi DEV="):
        flash("rpi", str(card))
    assert card.read_bytes() == b"x" * 8 * MIB
