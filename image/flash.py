"""`make flash`: writes an image to a card, and reads it back.

Only the blocks that the image has are written (its .bmap lists them, each range with its SHA-256), so it
takes seconds rather than minutes. It writes to nothing that is mounted, in use, not removable (unless
FORCE=1) or too small, and asks first.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from xml.etree import ElementTree

from .build import Build, build_of, need_root
from .errors import ImageError

CHUNK = 1 << 20
BOOT_START_MIB = 4
"""Where the boot partition begins, the same in all layouts (lib/disk.py)."""
FLUSH_EVERY = 32
"""Chunks after which what was written is synced: progress then means what it says."""
SYSTEM = Path("/")


@dataclass(frozen=True)
class Range:
    """Octets of the image that are written, and their SHA-256."""

    start: int
    end: int
    sha256: str


@dataclass(frozen=True)
class Device:
    """What is written to."""

    path: Path
    model: str
    octets: int
    removable: bool
    uses: tuple[str, ...]
    """Where it or a part of it is mounted or otherwise in use."""


def ranges(bmap: Path) -> tuple[int, list[Range]]:
    """The size of the image and what of it has content. ImageError if the map was damaged."""
    text = bmap.read_text()
    root = ElementTree.fromstring(text)
    stated = (root.findtext("BmapFileChecksum") or "").strip()
    if hashlib.sha256(text.replace(stated, "0" * 64).encode()).hexdigest() != stated:
        raise ImageError(f"{bmap} is damaged: its checksum does not fit; make image again")
    block, size = int(root.findtext("BlockSize") or 0), int(root.findtext("ImageSize") or 0)
    found = []
    for entry in root.iter("Range"):
        first, _, last = (entry.text or "").strip().partition("-")
        end = min((int(last or first) + 1) * block, size)
        found.append(Range(int(first) * block, end, entry.get("chksum", "")))
    return size, found


def device(path: Path, system: Path = SYSTEM) -> Device:
    """What is at that path: a whole disk, or a file, which counts as removable. ImageError if it is
    nothing to write to."""
    try:
        mode = path.stat().st_mode
    except OSError as problem:
        raise ImageError(f"{path}: {problem.strerror}; lsblk shows what there is") from None
    if stat.S_ISREG(mode):
        return Device(path, "a file", path.stat().st_size, True, ())
    if not stat.S_ISBLK(mode):
        raise ImageError(f"{path} is no disk; lsblk shows what there is")
    name = path.resolve().name
    place = system / "sys/class/block" / name
    if (place / "partition").exists():
        raise ImageError(
            f"{path} is a partition: give the whole disk, {re.sub(r'p?[0-9]+$', '', str(path.resolve()))}"
        )
    words = [text(place / "device" / word) for word in ("vendor", "model", "name")]
    octets = int(text(place / "size") or 0) * 512
    # A card in a built-in reader does not call itself removable.
    removable = text(place / "removable") == "1" or name.startswith("mmcblk")
    return Device(
        path, " ".join(filter(None, words)) or "unknown model", octets, removable, uses(name, place, system)
    )


def uses(name: str, place: Path, system: Path) -> tuple[str, ...]:
    """What the disk or a partition of it is used for."""
    parts = [name, *(child.name for child in place.glob(f"{name}*") if (child / "partition").exists())]
    devices = {text(place / "dev")} | {text(place / part / "dev") for part in parts[1:]}
    found = []
    for line in text(system / "proc/self/mountinfo").splitlines():
        fields = line.split()
        if fields[2] in devices or (
            " - " in line and line.split(" - ")[1].split()[1] in {f"/dev/{part}" for part in parts}
        ):
            found.append(f"mounted on {fields[4]}")
    for line in text(system / "proc/swaps").splitlines()[1:]:
        if Path(line.split()[0]).name in parts:
            found.append("swap")
    for part in parts:
        holders = place / "holders" if part == name else place / part / "holders"
        found += [f"part of {holder.name}" for holder in holders.glob("*")]
    return tuple(found)


def text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def refuse(target: Device, octets: int, force: bool) -> None:
    """ImageError if the image must not go there."""
    if target.uses:
        raise ImageError(
            f"{target.path} is {', '.join(target.uses)}: unmount it first, if it is the right one"
        )
    if not target.removable and not force:
        raise ImageError(
            f"{target.path} ({target.model}, {size_word(target.octets)}) is not removable: "
            "a disk of this machine? "
            "FORCE=1 writes to it all the same"
        )
    if target.octets < octets:
        raise ImageError(f"{target.path} has {size_word(target.octets)}, the image needs {size_word(octets)}")


def size_word(octets: int) -> str:
    return f"{octets / 1e9:.1f} GB"


def stream(image: Path) -> tuple[IO[bytes], Callable[[], None]]:
    """The octets of the image, and what to call at the end: ImageError if it could not be read well."""
    if image.suffix != ".zst":
        file = image.open("rb")
        return file, file.close
    if shutil.which("zstd") is None:
        raise ImageError("zstd is missing: sudo apt-get install zstd")
    process = subprocess.Popen(["zstd", "-dcq", str(image)], stdout=subprocess.PIPE)
    assert process.stdout is not None

    def ended() -> None:
        assert process.stdout is not None
        process.stdout.close()
        if process.wait() not in (0, -13):
            raise ImageError(f"{image} is damaged: make image again")

    return process.stdout, ended


def pieces(source: IO[bytes], wanted: list[Range], size: int) -> Iterator[tuple[Range, int, bytes]]:
    """(range, offset, octets) of everything wanted, in order, from a stream that can only be read
    forwards."""
    at = 0
    for part in wanted:
        while at < part.end:
            skip = at < part.start
            octets = source.read(min(CHUNK, (part.start if skip else part.end) - at))
            if not octets:
                raise ImageError(f"the image ends at {at} octets instead of {size}")
            if not skip:
                yield part, at, octets
            at += len(octets)


def write(
    source: IO[bytes], target: Path, size: int, wanted: list[Range], tell: Callable[[str, int], None]
) -> None:
    """Write what the image has, each range checked against the map. Old tables at the end of the disk are
    wiped: with two of them a machine might take the wrong one."""
    sums = {part: hashlib.sha256() for part in wanted}
    done = 0
    # O_EXCL on a disk: the kernel refuses if anybody mounted it meanwhile.
    flags = os.O_WRONLY | (os.O_EXCL if stat.S_ISBLK(target.stat().st_mode) else 0)
    with open(os.open(target, flags), "wb", buffering=0) as file:
        end = file.seek(0, os.SEEK_END)
        if end - size >= CHUNK:
            file.seek(end - CHUNK)
            file.write(bytes(CHUNK))
        for count, (part, at, octets) in enumerate(pieces(source, wanted, size)):
            sums[part].update(octets)
            file.seek(at)
            if file.write(octets) != len(octets):
                raise ImageError(f"{target} took only a part of what was written: it is full, or broken")
            done += len(octets)
            if count % FLUSH_EVERY == 0:
                os.fsync(file.fileno())
                tell("writing", done)
        os.fsync(file.fileno())
    if any(digest.hexdigest() != part.sha256 for part, digest in sums.items()):
        raise ImageError("the image does not fit its map: make image again")
    tell("writing", done)


def verify(target: Path, wanted: list[Range], tell: Callable[[str, int], None]) -> None:
    """Read back what was written, from the card and not from memory. ImageError if it is not the same."""
    done = 0
    with target.open("rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        for part in wanted:
            digest = hashlib.sha256()
            file.seek(part.start)
            left = part.end - part.start
            while left:
                octets = file.read(min(CHUNK, left))
                if not octets:
                    raise ImageError(f"{target} ends before the image does: it is smaller than it says")
                digest.update(octets)
                left -= len(octets)
                done += len(octets)
                tell("verifying", done)
            if digest.hexdigest() != part.sha256:
                raise ImageError(f"{target} did not keep what was written at {part.start}: take another card")


def preset(told: Mapping[str, str]) -> str:
    """pocket.toml with what was given to `make flash`: WIFI_SSID, WIFI_PSK, SITE_NAME, SSH_KEY (a key, or
    its file)."""
    lines = []
    if name := told.get("SITE_NAME"):
        lines.append(f"name = {quoted(name)}")
    if ssid := told.get("WIFI_SSID"):
        lines += ["", "[wifi]", f"ssid = {quoted(ssid)}"]
        lines += [f"psk = {quoted(psk)}"] if (psk := told.get("WIFI_PSK")) else []
    elif told.get("WIFI_PSK"):
        raise ImageError("WIFI_PSK needs WIFI_SSID")
    if key := told.get("SSH_KEY"):
        file = Path(key).expanduser()
        if not key.startswith(("ssh-", "ecdsa-", "sk-")):
            if not file.is_file():
                raise ImageError(f"SSH_KEY is a public key or its file; there is no {key}")
            key = file.read_text().strip()
        if "PRIVATE KEY" in key:
            raise ImageError(f"{file} is the secret half of the key: give the file that ends in .pub")
        lines += ["", "[ssh]", f"key = {quoted(key)}"]
    return "\n".join(lines).lstrip("\n") + "\n" if lines else ""


def quoted(words: str) -> str:
    return json.dumps(words, ensure_ascii=False).replace("\x7f", "\\u007f")


class Progress:
    """One live line in a terminal, else a line at the end of each stage."""

    def __init__(self, octets: int) -> None:
        self._octets, self._began, self._shown, self._stage = octets, time.monotonic(), 0.0, ""

    def __call__(self, stage: str, done: int) -> None:
        now = time.monotonic()
        if stage != self._stage:
            self._stage, self._began = stage, now
        over = done >= self._octets
        if not over and (not sys.stdout.isatty() or now - self._shown < 0.2):
            return
        self._shown = now
        rate = done / max(now - self._began, 0.001) / 1e6
        line = f"{stage} {done * 100 // max(self._octets, 1)} %  {done / 1e6:.0f} MB, {rate:.0f} MB/s"
        print(f"\r{line:60}" if sys.stdout.isatty() else line, end="\n" if over else "", flush=True)


def put_preset(build: Build, target: Path, content: str) -> None:
    """pocket.toml onto the boot partition, without mounting it."""
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "pocket.toml"
        file.write_text(content)
        place = f"{target}@@{BOOT_START_MIB}M"
        folders = (
            [Path(scratch)]
            if str(target.resolve()).startswith("/dev/")
            else [Path(scratch), target.parent.resolve()]
        )
        command = build.in_tools(["mcopy", "-o", "-i", place, str(file), "::pocket.toml"], *folders)
        if subprocess.run(command, stdin=subprocess.DEVNULL, check=False).returncode:
            raise ImageError(f"pocket.toml could not be written to the boot partition of {target}")


def flash(name: str, where: str) -> None:
    """`make flash`: the image of that board onto the disk at `where`, with what the environment presets."""
    build = build_of(name)
    image = next(build.last("pack").glob("*.img.zst"))
    bmap = Path(str(image).removesuffix(".img.zst") + ".bmap")
    if not where:
        raise ImageError("say which disk: make flash DEV=/dev/sdX; lsblk shows what there is")
    content = preset(os.environ)
    if content:
        need_root(f"make flash BOARD={name} DEV={where} ..., with the same settings")
    size, wanted = ranges(bmap)
    target = device(Path(where).absolute())
    refuse(target, size, os.environ.get("FORCE") == "1")
    print(
        f"{image.name} -> {target.path}: {target.model}, {size_word(target.octets)}. "
        "Everything on it will be gone."
    )
    if input("Write to it? Type yes: ").strip() != "yes":
        raise ImageError("nothing was written")
    octets = sum(part.end - part.start for part in wanted)
    source, ended = stream(image)
    try:
        write(source, target.path, size, wanted, Progress(octets))
    finally:
        ended()
    verify(target.path, wanted, Progress(octets))
    if content:
        put_preset(build, target.path.resolve(), content)
        print("preset: " + ", ".join(line for line in content.splitlines() if line and "psk" not in line))
    print("done: take it out, put it into the box, and switch that on")
