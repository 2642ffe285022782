"""Network namespaces joined by cables that have a delay and can be cut. Needs root and /dev/net/tun.

A cable is a TUN device at each end and a thread in between, which holds every packet for the cable's delay.
So TCP sees a long line, and a cut that neither end is told of.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import itertools
import os
import select
import struct
import subprocess
import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Self

TUN = Path("/dev/net/tun")
TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
CLONE_NEWNET = 0x40000000
PACKET_OCTETS = 1 << 16
QUEUE_PACKETS = 5000
"""What a cable holds in each direction; one more is dropped, as a router would."""

_libc = ctypes.CDLL(None, use_errno=True)


def possible() -> bool:
    return os.geteuid() == 0 and TUN.exists()


def _enter(namespace: str) -> None:
    with open(namespace) as file:
        _set(file.fileno())


def _set(namespace: int) -> None:
    if _libc.setns(namespace, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "cannot enter a network namespace")


class Cable:
    """Carries packets between two TUN devices until `close`."""

    def __init__(self, ends: tuple[int, int], addresses: tuple[str, str], delay_s: float) -> None:
        self.addresses = addresses
        self.cut = False
        """Whether packets are lost, both ways."""
        self.delay_s = delay_s
        """For packets that come from now on."""
        self._ends = ends
        self._wake, self._closing = os.pipe()
        self._thread = threading.Thread(target=self._carry, daemon=True)
        self._thread.start()

    def _carry(self) -> None:
        other = {self._ends[0]: self._ends[1], self._ends[1]: self._ends[0]}
        under_way: deque[tuple[float, int, bytes]] = deque()
        poll = select.poll()
        for descriptor in (*self._ends, self._wake):
            poll.register(descriptor, select.POLLIN)
        while True:
            wait_s = max(0.0, under_way[0][0] - time.monotonic()) if under_way else 1.0
            for descriptor, _ in poll.poll(wait_s * 1000):
                if descriptor == self._wake:
                    return
                with contextlib.suppress(BlockingIOError):
                    while len(under_way) < 2 * QUEUE_PACKETS:
                        packet = os.read(descriptor, PACKET_OCTETS)
                        under_way.append((time.monotonic() + self.delay_s, other[descriptor], packet))
            now = time.monotonic()
            while under_way and under_way[0][0] <= now:
                _, end, packet = under_way.popleft()
                if not self.cut:
                    with contextlib.suppress(OSError):
                        os.write(end, packet)

    def close(self) -> None:
        os.close(self._closing)
        self._thread.join()
        for descriptor in (*self._ends, self._wake):
            os.close(descriptor)


class Lab:
    """Makes namespaces and cables, and takes them down at the end."""

    _serial = itertools.count(1)

    def __init__(self) -> None:
        self._prefix = f"pocket-{os.getpid()}-{next(self._serial)}"
        self._places: list[str] = []
        self._cables: list[Cable] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for cable in self._cables:
            cable.close()
        for place in self._places:
            _ip("netns", "del", self._name(place))

    def place(self, name: str) -> str:
        """A namespace with nothing in it."""
        _ip("netns", "add", self._name(name))
        self._places.append(name)
        _ip("-n", self._name(name), "link", "set", "lo", "up")
        return name

    def cable(self, one: str, other: str, delay_s: float = 0.0) -> Cable:
        """Between two places; packets take `delay_s` each way. `addresses` are those of its ends."""
        number = len(self._cables)
        addresses = f"198.18.{number}.1", f"198.18.{number}.2"
        one_end, other_end = (
            self._tun(place, f"cable{number}", address)
            for place, address in zip((one, other), addresses, strict=True)
        )
        cable = Cable((one_end, other_end), addresses, delay_s)
        self._cables.append(cable)
        return cable

    @contextlib.contextmanager
    def inside(self, place: str) -> Iterator[None]:
        """This thread, and processes that it starts, are in the namespace; sockets made here stay in it."""
        with open(f"/proc/self/task/{threading.get_native_id()}/ns/net") as before:
            _enter(f"/run/netns/{self._name(place)}")
            try:
                yield
            finally:
                _set(before.fileno())

    def _name(self, place: str) -> str:
        return f"{self._prefix}-{place}"

    def _tun(self, place: str, name: str, address: str) -> int:
        with self.inside(place):
            descriptor = os.open(TUN, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
        space = self._name(place)
        _ip("-n", space, "addr", "add", f"{address}/30", "dev", name)
        _ip("-n", space, "link", "set", name, "up", "txqueuelen", str(QUEUE_PACKETS))
        return descriptor


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)
