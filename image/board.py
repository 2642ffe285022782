"""Boards and partition tables: the small files in boards/ and layouts/, read and checked."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from .errors import ImageError

HERE = Path(__file__).parent
BOARDS = sorted(path.stem for path in (HERE / "boards").glob("*.toml"))
ARCHITECTURES = ("amd64", "arm64")
MIB = 1024 * 1024
T = TypeVar("T")


@dataclass(frozen=True)
class Qemu:
    """How the board's image starts in QEMU: the emulator, and its arguments without disk, network and
    consoles."""

    program: str
    arguments: list[str]
    firmware: str = ""
    """A file of the tools folder that the emulated machine starts with."""
    kernel: str = ""
    """In place of firmware: a file of the packages in `debs` that is started as if it were a kernel."""
    device_tree: str = ""
    """The device tree that it is given, a file of those packages, too; * stands for anything."""
    hidden: list[str] = field(default_factory=list)
    """Devices, by their `compatible`, that it is not told of: QEMU has them wrong."""
    disk: str = "virtio-blk-pci"
    """What the disk is; sd: a card."""
    network: str = "virtio-net-pci"
    processors: int = 2


@dataclass(frozen=True)
class Board:
    """One kind of machine that an image is made for."""

    name: str
    says: str
    arch: str
    layout: str
    """The partition table, a file in layouts/."""
    loader: str
    """What starts the kernel: systemd-boot or u-boot."""
    debs: list[str]
    """Debian packages that are unpacked, not installed: NAME, or NAME/SUITE for another suite than trixie."""
    cmdline: str
    """The kernel's command line, beside what every image has."""
    qemu: Qemu | None = None


@dataclass(frozen=True)
class Partition:
    """One partition, in the order of the disk. Sizes in MiB."""

    name: str
    """Its GPT label; @v stands for the version."""
    type: str
    uuid: str
    size_mib: int
    content: str = ""
    """What the build puts there: boot, root, data; empty for nothing."""


def board(name: str) -> Board:
    """The board of that name. ImageError if there is none, or its file is wrong."""
    if name not in BOARDS:
        raise ImageError(f"no board {name!r}: BOARD is one of {', '.join(BOARDS)}")
    told = read(HERE / "boards" / f"{name}.toml")
    if "qemu" in told:
        told["qemu"] = made(Qemu, told["qemu"], name)
    found = made(Board, {"name": name, **told}, name)
    if found.arch not in ARCHITECTURES:
        raise ImageError(f"boards/{name}.toml: arch is one of {', '.join(ARCHITECTURES)}")
    return found


def layout(name: str) -> list[Partition]:
    """The partition table of that name. ImageError if its file is wrong."""
    return [made(Partition, entry, name) for entry in read(HERE / "layouts" / f"{name}.toml")["partition"]]


def read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except (OSError, tomllib.TOMLDecodeError) as problem:
        raise ImageError(f"{path}: {problem}") from None


def made(kind: type[T], told: dict[str, Any], where: str) -> T:
    known = {entry.name for entry in fields(kind)}  # type: ignore[arg-type]
    if unknown := sorted(set(told) - known):
        raise ImageError(f"{where}: unknown {', '.join(unknown)}")
    try:
        return kind(**told)
    except TypeError as problem:
        raise ImageError(f"{where}: {str(problem).split(') ')[-1]}") from None
