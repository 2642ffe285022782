"""Serial ports: each is opened when it appears, and again after it was unplugged.

A port is read and written without threads (pyserial sets it up, trio waits for it). Opening and closing
may block for seconds in a driver, so they happen in a thread. Whatever goes wrong on one port ends its task
alone; it is tried again with backoff, and at once when it was away and comes back.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import termios
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeVar

import serial
import trio

from appliance.health import Health
from appliance.log import get_logger

log = get_logger(__name__)

BAUD = 115200
READ_OCTETS = 1024
PORTS_MAX = 8
LOOK_S = 1.0
BACKOFF_MAX_S = 30.0
HELD_WELL_S = 10.0
"""After so long without trouble the next attempt comes soon again."""

OPEN_SLOW_S = 2.0
"""Opening takes milliseconds. A driver that takes longer than this is said to hang."""

CLOSE_S = 0.5
"""Some drivers wait up to 30 s for the last octets to be sent. We do not: the thread is left behind."""

E = TypeVar("E", bound=BaseException)
Talk = Callable[[str, "Port"], Awaitable[None]]


class PortError(Exception):
    """A port cannot be opened; says what to do. `absent`: there is nothing to do, nothing is connected."""

    def __init__(self, reason: str, absent: bool = False) -> None:
        super().__init__(reason)
        self.absent = absent


class PortGone(Exception):
    """It was unplugged."""


class Port:
    """One open port, 8N1. One task may receive while another one writes."""

    def __init__(self, device: serial.Serial) -> None:
        self._device = device
        self._fd = device.fileno()

    async def receive(self) -> bytes:
        """Up to READ_OCTETS, at least one. Raises PortGone. A cancelled call takes nothing."""
        while True:
            await trio.lowlevel.wait_readable(self._fd)
            try:
                octets = os.read(self._fd, READ_OCTETS)
            except BlockingIOError:
                await trio.sleep(0.01)
                continue
            except OSError as error:
                raise PortGone(error.strerror) from None
            if not octets:
                raise PortGone("it has no more octets")
            return octets

    async def writable(self) -> None:
        """Wait until `write` takes something."""
        await trio.lowlevel.wait_writable(self._fd)

    def write(self, octets: bytes) -> int:
        """How many of `octets` were taken, maybe none. Raises PortGone."""
        try:
            return os.write(self._fd, octets)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise PortGone(error.strerror) from None

    async def close(self) -> None:
        """What is not sent yet is lost. Takes at most CLOSE_S, also when cancelled."""
        trio.lowlevel.notify_closing(self._fd)
        with trio.move_on_after(CLOSE_S, shield=True):
            await trio.to_thread.run_sync(partial(_close, self._device), abandon_on_cancel=True)


def _open(path: str, baud: int) -> serial.Serial:
    return serial.Serial(path, baud, timeout=0, write_timeout=0, exclusive=True)


def _close(device: serial.Serial) -> None:
    with contextlib.suppress(termios.error):
        termios.tcflush(device.fileno(), termios.TCOFLUSH)
    with contextlib.suppress(OSError):
        device.close()


@asynccontextmanager
async def open_port(path: str, baud: int = BAUD) -> AsyncIterator[Port]:
    """The port at `path`, for us alone, closed at the end. Raises PortError. When cancelled before it is
    open, the thread that opens it is left behind, and what it opened is closed with the last reference.
    """
    try:
        device = await trio.to_thread.run_sync(_open, path, baud, abandon_on_cancel=True)
    except (OSError, ValueError, termios.error) as error:
        raise explain(path, error) from None
    port = Port(device)
    try:
        yield port
    finally:
        await port.close()


def explain(path: str, error: BaseException) -> PortError:
    """Why a port cannot be opened, and what to do."""
    number = getattr(error, "errno", None)
    if number is None and isinstance(error.__context__, termios.error):
        number = error.__context__.args[0]
    match number:
        case errno.EACCES | errno.EPERM:
            return PortError(f"serial port {path}: permission denied; give the box's user the group dialout")
        case errno.EAGAIN | errno.EBUSY:
            return PortError(
                f"serial port {path}: another program has it; stop that, or take it out of console.ports"
            )
        case errno.ENOTTY | errno.EINVAL:
            return PortError(f"{path} is no serial port: take it out of console.ports")
        case errno.ENOENT | errno.ENXIO | errno.ENODEV | errno.EIO:
            return PortError(f"serial port {path}: nothing is connected there", absent=True)
        case _:
            return PortError(f"serial port {path} cannot be opened: {error}")


class Attendant:
    """Has `talk` called, in a task of its own, for each port that is there. `run` lasts until cancelled;
    what goes wrong is logged, and told as a warning while it lasts.
    """

    def __init__(self, patterns: Sequence[str], talk: Talk, health: Health, baud: int = BAUD) -> None:
        self._patterns = patterns
        self._talk = talk
        self._health = health
        self._baud = baud
        self._open: set[str] = set()
        self._opening: dict[str, float] = {}
        """Since when."""
        self._failures: dict[str, int] = {}
        self._not_before: dict[str, float] = {}

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            while True:
                there = await trio.to_thread.run_sync(find, self._patterns)
                for path in list(self._failures):
                    if path not in there and path not in self._open:
                        self._forget(path)
                for path in there:
                    if path in self._open or len(self._open) >= PORTS_MAX:
                        continue
                    if trio.current_time() >= self._not_before.get(path, 0):
                        self._open.add(path)
                        nursery.start_soon(self._attend, path)
                self._tell_slow()
                await trio.sleep(LOOK_S)

    def _tell_slow(self) -> None:
        for path, since in self._opening.items():
            if trio.current_time() - since > OPEN_SLOW_S:
                self._health.warn(
                    topic(path),
                    f"serial port {path} does not open, its driver hangs: unplug what is connected there and"
                    " start the box again, or take it out of console.ports",
                )

    async def _attend(self, path: str) -> None:
        opened = None
        self._opening[path] = trio.current_time()
        try:
            async with open_port(path, self._baud) as port:
                opened = trio.current_time()
                del self._opening[path]
                self._health.warn(topic(path), None)
                log.info("console open", port=path)
                await self._talk(path, port)
        except* PortGone as gone:
            log.info("console unplugged", port=path, why=str(first(gone)))
        except* PortError as refused:
            error = first(refused)
            if not error.absent:
                if path not in self._failures:
                    log.warning("console not opened", port=path, error=str(error))
                self._health.warn(topic(path), str(error))
        except* Exception:
            log.exception("console failed", port=path)
        finally:
            self._open.discard(path)
            self._opening.pop(path, None)
            if opened is not None and trio.current_time() - opened >= HELD_WELL_S:
                self._failures.pop(path, None)
            failures = self._failures[path] = self._failures.get(path, 0) + 1
            self._not_before[path] = trio.current_time() + min(2.0 ** (failures - 1), BACKOFF_MAX_S)

    def _forget(self, path: str) -> None:
        self._failures.pop(path, None)
        self._not_before.pop(path, None)
        self._health.warn(topic(path), None)


def first(group: BaseExceptionGroup[E]) -> E:
    """Any one of the errors inside."""
    inner = group.exceptions[0]
    return first(inner) if isinstance(inner, BaseExceptionGroup) else inner


def topic(path: str) -> str:
    return f"console {path}"


def find(patterns: Sequence[str]) -> list[str]:
    """The paths that fit, each device once, however many names it has."""
    found: dict[str, str] = {}
    for pattern in patterns:
        for path in sorted(glob.glob(pattern)):
            found.setdefault(os.path.realpath(path), path)
    return list(found.values())
