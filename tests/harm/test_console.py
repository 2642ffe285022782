"""Whatever is at the other end of the serial cable: messages go on."""

from __future__ import annotations

import itertools
import os
import random
import select
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.console.cable import raw_pty
from tests.harm.home import BentBox, Home

ATTACK_S = 1.0
UNREAD_S = 2.0
"""A pty holds 17 KiB: 10 for the configuration, the rest is full after some 15 times of status."""


class Plug:
    """The box's serial port, and the other end of it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ends: list[int] = []

    @property
    def config(self) -> str:
        return f'[console]\nports = ["{self.path}"]\n'

    def put_in(self) -> int:
        """The other end, which does not block."""
        other: int
        other, end = raw_pty()
        os.set_blocking(other, False)
        self._ends += [other, end]
        self.path.symlink_to(os.ttyname(end))
        return other

    def pull_out(self) -> None:
        self.path.unlink(missing_ok=True)
        while self._ends:
            os.close(self._ends.pop())


@pytest.fixture
def plug(tmp_path: Path) -> Iterator[Plug]:
    plug = Plug(tmp_path / "ttyBOX0")
    yield plug
    plug.pull_out()


def write(port: int, octets: bytes, until: float) -> int:
    """Give it to the port as fast as that goes, reading nothing; how many octets it took."""
    taken = 0
    while taken < len(octets) and (left_s := until - time.monotonic()) > 0:
        if select.select([], [port], [], left_s)[1]:
            with suppress(BlockingIOError):
                taken += os.write(port, octets[taken : taken + 4096])
    return taken


def read(port: int, pattern: bytes, within_s: float = 10.0) -> None:
    seen, deadline = b"", time.monotonic() + within_s
    while pattern not in seen:
        assert time.monotonic() < deadline, seen[-1000:]
        if select.select([port], [], [], 0.1)[0]:
            seen += os.read(port, 65536)


JUNK = random.Random(3).randbytes(1 << 20)
SHOUTING = (b"IMPROV\x01\x03\x01\x03\xe4\n" + b"?\r\t\x1b[A\x03\x04" + b"IMPROV\x01\x03\xff") * (1 << 15)


@pytest.mark.parametrize(
    "octets",
    [JUNK, SHOUTING, b"status " + b"x" * (1 << 20) + b"\r"],
    ids=["binary junk", "wrong words, packets and keys", "a line of 1 MB"],
)
def test_a_flood_on_the_serial_port(home: Callable[..., Home], plug: Plug, octets: bytes) -> None:
    port = plug.put_in()
    flooded = home(plug.config)
    flooded.says("console open")
    with flooded.attacked():
        assert write(port, octets, time.monotonic() + ATTACK_S) > 16 << 10
    flooded.has_not_suffered()


def test_a_port_that_nobody_reads_while_a_word_talks(home: Callable[..., Home], plug: Plug) -> None:
    port = plug.put_in()
    flooded = home(plug.config)
    flooded.says("console open")
    with flooded.attacked(UNREAD_S):
        os.write(port, b"config show\r" + b"status --watch --every 0.1\r")
    read(port, b"serving for")
    flooded.has_not_suffered()


def test_a_port_whose_driver_hangs(home: Callable[..., Home], plug: Plug) -> None:
    port = plug.put_in()
    flooded = home(plug.config, bent=True, pulled="port-hangs")
    assert isinstance(flooded.box, BentBox)
    with flooded.attacked(ATTACK_S):
        flooded.warns(f"serial port {plug.path} does not open", "take it out of console.ports")
    flooded.box.release("port-hangs")
    flooded.is_whole()
    os.write(port, b"\r")
    read(port, b"pocket> ")
    flooded.has_not_suffered()


def test_a_port_whose_driver_hangs_until_the_end(home: Callable[..., Home], plug: Plug) -> None:
    plug.put_in()
    flooded = home(plug.config, bent=True, pulled="port-hangs")
    with flooded.attacked(0.3):
        pass
    flooded.has_not_suffered()


def test_a_cable_that_is_pulled_out_and_put_in_fifty_times(home: Callable[..., Home], plug: Plug) -> None:
    port = plug.put_in()
    flooded = home(plug.config)
    flooded.says("console open")
    with flooded.attacked(ATTACK_S):
        for turn in itertools.count():
            plug.pull_out()
            port = plug.put_in()
            with suppress(OSError):
                os.write(port, b"\rsta")
            if turn >= 50:
                break
            time.sleep(ATTACK_S / 50)
    deadline = time.monotonic() + 10
    while not select.select([port], [], [], 0.1)[0]:
        assert time.monotonic() < deadline, "the port was not opened again"
        os.write(port, b"\r")
    read(port, b"pocket> ")
    flooded.has_not_suffered()
