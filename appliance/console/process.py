"""Other programs, run so that they cannot hold the box up: no shell, no input but what is fed, a time limit,
and an end that comes for sure (SIGINT if asked for, then SIGKILL, for the program and what it started).
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import trio
from trio.abc import ReceiveStream, SendStream

READ_OCTETS = 4096
KEPT_OCTETS_MAX = 256 << 10
INTERRUPTED_S = 2.0
"""After SIGINT, what a program gets to end by itself."""

REAP_S = 0.5
NICE = 10
"""The box's own work comes first."""

Take = Callable[[bytes], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Ended:
    """`code` is the exit code; negative is the signal that ended it."""

    code: int
    why: Literal["itself", "interrupted", "time limit"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a program said, each at most KEPT_OCTETS_MAX. `why` as in Ended."""

    code: int
    why: Literal["itself", "interrupted", "time limit"]
    output: str
    errors: str


async def stream(
    command: Sequence[str | bytes],
    env: Mapping[str, str],
    take: Take,
    *,
    limit_s: float,
    interrupt: trio.Event | None = None,
    feed: bytes = b"",
    take_errors: Take | None = None,
) -> Ended:
    """Run `command`; `take` gets its output as it comes (errors too, unless they are taken apart), and a
    slow `take` slows it down. Setting `interrupt` ends it. Raises OSError if it cannot be started. When
    cancelled, it is killed.
    """
    process = await trio.lowlevel.open_process(
        list(command),
        stdin=subprocess.PIPE if feed else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE if take_errors else subprocess.STDOUT,
        env=dict(env),
        start_new_session=True,
    )
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, process.pid, NICE)
    why: Literal["itself", "interrupted", "time limit"] = "itself"
    try:
        with trio.move_on_after(limit_s) as limit:
            async with trio.open_nursery() as nursery:

                async def stop_when_asked(event: trio.Event) -> None:
                    nonlocal why
                    await event.wait()
                    why = "interrupted"
                    _signal(process, signal.SIGINT)
                    await trio.sleep(INTERRUPTED_S)
                    nursery.cancel_scope.cancel()

                async def read_all() -> None:
                    async with trio.open_nursery() as readers:
                        assert process.stdout is not None
                        readers.start_soon(_read, process.stdout, take)
                        if take_errors is not None and process.stderr is not None:
                            readers.start_soon(_read, process.stderr, take_errors)
                        if process.stdin is not None:
                            readers.start_soon(_write, process.stdin, feed)
                    await process.wait()
                    nursery.cancel_scope.cancel()

                if interrupt is not None:
                    nursery.start_soon(stop_when_asked, interrupt)
                nursery.start_soon(read_all)
        if limit.cancelled_caught:
            why = "time limit"
    finally:
        with trio.move_on_after(REAP_S, shield=True):
            _signal(process, signal.SIGKILL)
            await process.wait()
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None:
                    await pipe.aclose()
    code = process.returncode
    return Ended(code if code is not None else -signal.SIGKILL, why)


async def ask(
    command: Sequence[str | bytes], env: Mapping[str, str], limit_s: float, feed: bytes = b""
) -> Answer:
    """Run `command` and return what it said. Raises OSError if it cannot be started."""
    output, errors = bytearray(), bytearray()

    async def keep(octets: bytes) -> None:
        output.extend(octets[: KEPT_OCTETS_MAX - len(output)])

    async def keep_errors(octets: bytes) -> None:
        errors.extend(octets[: KEPT_OCTETS_MAX - len(errors)])

    ended = await stream(command, env, keep, limit_s=limit_s, feed=feed, take_errors=keep_errors)
    return Answer(ended.code, ended.why, output.decode("utf-8", "replace"), errors.decode("utf-8", "replace"))


def environment(**more: str) -> dict[str, str]:
    """The little that programs get of ours, and `more`."""
    kept = ("PATH", "HOME", "TZ", "PYTHONPATH", "POCKET_CONFIG", "DBUS_SYSTEM_BUS_ADDRESS")
    ours = {name: os.environ[name] for name in kept if name in os.environ}
    return {"PATH": os.defpath, **ours, "LC_ALL": "C.UTF-8", **more}


async def _read(pipe: ReceiveStream, take: Take) -> None:
    while octets := await pipe.receive_some(READ_OCTETS):
        await take(bytes(octets))


async def _write(pipe: SendStream, octets: bytes) -> None:
    with contextlib.suppress(trio.BrokenResourceError):
        await pipe.send_all(octets)
    await pipe.aclose()


def _signal(process: trio.Process, number: signal.Signals) -> None:
    """To the program and all that it started; nothing if it has ended."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
