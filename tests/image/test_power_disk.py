"""The disk that the power-cut trial gives to a machine: what it may lose, and what not."""

from __future__ import annotations

import random
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from .power_disk import FLUSH, NOTE, SECTOR, WRITE, Log, VolatileDisk, read_log
from .power_nbd import FUA, OPTION_MAGIC, REQUEST_MAGIC, Server

SECTORS = 8
STEPS = st.lists(
    st.one_of(st.just("flush"), st.tuples(st.integers(0, SECTORS - 1), st.integers(1, SECTORS))), max_size=20
)


def sectors_of(octets: bytes) -> list[bytes]:
    return [octets[at : at + SECTOR] for at in range(0, len(octets), SECTOR)]


def blank(path: Path) -> Path:
    path.write_bytes(bytes(SECTORS * SECTOR))
    return path


@settings(max_examples=60, deadline=None)
@given(steps=STEPS, seed=st.integers())
def test_after_a_cut_each_sector_is_as_at_the_last_flush_or_as_in_a_write_since(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str | tuple[int, int]], seed: int
) -> None:
    path = blank(tmp_path_factory.mktemp("disk") / "disk")
    disk = VolatileDisk(path)
    may: list[set[bytes]] = [{bytes(SECTOR)} for _ in range(SECTORS)]
    now = [bytes(SECTOR)] * SECTORS
    for number, step in enumerate(steps, 1):
        if isinstance(step, str):
            disk.flush()
            may = [{octets} for octets in now]
            continue
        first, count = step[0], min(step[1], SECTORS - step[0])
        octets = bytes([number]) * SECTOR
        disk.write(first * SECTOR, octets * count)
        for sector in range(first, first + count):
            now[sector] = octets
            may[sector].add(octets)
    assert sectors_of(disk.read(0, disk.size)) == now
    disk.cut(random.Random(seed))
    assert all(found in may[at] for at, found in enumerate(sectors_of(path.read_bytes())))
    disk.close()


def test_each_way_to_lose_writes_happens_and_the_seed_decides_which(tmp_path: Path) -> None:
    def cuts(seed: int) -> tuple[list[str], list[bytes]]:
        path = blank(tmp_path / "disk")
        disk, chance = VolatileDisk(path), random.Random(seed)
        losses, contents = [], []
        for turn in range(1, 60):
            for first in range(0, SECTORS, 2):
                disk.write(first * SECTOR, bytes([turn]) * SECTOR * 2)
            losses.append(disk.cut(chance))
            contents.append(path.read_bytes())
        disk.close()
        assert any(loss.kept == 0 for loss in losses) and any(loss.kept == loss.open for loss in losses)
        assert any(loss.torn for loss in losses) and any(0 < loss.kept < loss.open for loss in losses)
        return [str(loss) for loss in losses], contents

    assert cuts(1) == cuts(1)
    assert cuts(1) != cuts(2)


def test_a_disk_that_lies_loses_what_it_said_it_had_flushed(tmp_path: Path) -> None:
    disk = VolatileDisk(blank(tmp_path / "disk"), lies=True)
    losses = []
    for turn in range(1, 20):
        disk.write(0, bytes([turn]) * SECTOR)
        assert disk.flush()
        disk.cut(random.Random(turn))
        losses.append(disk.read(0, SECTOR) != bytes([turn]) * SECTOR)
    assert any(losses)
    disk.close()


def test_the_power_can_go_in_place_of_a_flush(tmp_path: Path) -> None:
    disk = VolatileDisk(blank(tmp_path / "disk"))
    disk.end_at_flush()
    assert disk.flush() and not disk.ended.is_set()
    disk.write(0, b"x" * SECTOR)
    assert not disk.flush() and disk.ended.is_set()
    lost = set()
    for seed in range(20):
        lost.add(disk.cut(random.Random(seed)).kept)
        disk.power(True)
        disk.write(0, b"x" * SECTOR)
    assert lost == {0, 1}
    disk.close()


def test_without_power_nothing_is_written(tmp_path: Path) -> None:
    disk = VolatileDisk(blank(tmp_path / "disk"))
    disk.power(False)
    assert not disk.write(0, b"x" * SECTOR) and not disk.flush()
    assert disk.read(0, SECTOR) == bytes(SECTOR)
    disk.close()


def test_the_log_tells_what_happened_in_order(tmp_path: Path) -> None:
    log = Log(tmp_path / "log")
    disk = VolatileDisk(blank(tmp_path / "disk"), log=log)
    disk.write(SECTOR, b"x" * SECTOR)
    log.add(NOTE, octets=b"told")
    disk.flush()
    disk.close()
    log.close()
    found = [(entry.what, entry.offset, entry.octets) for entry in read_log(tmp_path / "log")]
    assert found == [(WRITE, SECTOR, b"x" * SECTOR), (NOTE, 0, b"told"), (FLUSH, 0, b"")]


class Client:
    """As little of an NBD client as the server can be asked with."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(10)
        self.socket.connect(str(path))
        assert self.take(18)[:16] == b"NBDMAGICIHAVEOPT"
        self.socket.sendall(struct.pack(">I", 3))

    def take(self, length: int) -> bytes:
        octets = b""
        while len(octets) < length:
            piece = self.socket.recv(length - len(octets))
            assert piece, "the server hung up"
            octets += piece
        return octets

    def option(self, number: int, data: bytes = b"") -> list[tuple[int, bytes]]:
        """All replies, up to the last."""
        self.socket.sendall(struct.pack(">8sII", b"IHAVEOPT", number, len(data)) + data)
        replies: list[tuple[int, bytes]] = []
        while not replies or replies[-1][0] == 3:
            magic, _, kind, length = struct.unpack(">QIII", self.take(20))
            assert magic == OPTION_MAGIC
            replies.append((kind, self.take(length)))
        return replies

    def ask(self, command: int, offset: int = 0, data: bytes = b"", length: int = 0, flags: int = 0) -> bytes:
        request = struct.pack(">IHHQQI", REQUEST_MAGIC, flags, command, 7, offset, length or len(data))
        self.socket.sendall(request + data)
        assert self.take(16) == struct.pack(">IIQ", 0x67446698, 0, 7)
        return self.take(length) if command == 0 else b""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[VolatileDisk, Client]]:
    disk = VolatileDisk(blank(tmp_path / "disk"))
    server = Server(disk, tmp_path / "socket")
    client = Client(tmp_path / "socket")
    assert client.option(8)[-1][0] == 1 << 31 | 1  # structured replies: not here
    kinds = client.option(7, struct.pack(">IH", 0, 0))
    size, flags = struct.unpack(">xxQH", kinds[0][1])
    assert (size, flags & 0b1111) == (SECTORS * SECTOR, 0b1101) and kinds[-1][0] == 1
    yield disk, client
    client.socket.close()
    server.close()
    disk.close()


def test_what_is_flushed_or_forced_over_the_socket_survives(served: tuple[VolatileDisk, Client]) -> None:
    disk, client = served
    client.ask(1, 0, b"a" * SECTOR)
    client.ask(3)
    client.ask(1, SECTOR, b"b" * SECTOR, flags=FUA)
    client.ask(1, 2 * SECTOR, b"c" * SECTOR)
    assert client.ask(0, SECTOR, length=2 * SECTOR) == b"b" * SECTOR + b"c" * SECTOR
    lost = False
    for seed in range(20):
        disk.cut(random.Random(seed))
        assert disk.read(0, 2 * SECTOR) == b"a" * SECTOR + b"b" * SECTOR
        lost |= disk.read(2 * SECTOR, SECTOR) == bytes(SECTOR)
        disk.write(2 * SECTOR, bytes(SECTOR))
        disk.flush()
        disk.write(2 * SECTOR, b"c" * SECTOR)
    assert lost


def test_without_power_nobody_is_told_that_anything_was_done(served: tuple[VolatileDisk, Client]) -> None:
    disk, client = served
    disk.power(False)
    with pytest.raises(AssertionError, match="hung up"):
        client.ask(1, 0, b"a" * SECTOR)
