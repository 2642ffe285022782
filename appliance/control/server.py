"""The box's side: answers one request per connection.

Bounds: CONNECTIONS_MAX connections with a request of REQUEST_OCTETS_MAX each, 1 MiB in all; one more is
told that the box is busy. Each step has its time limit, so a client that stops half-way costs a connection
for a while and nothing else. No error of a handler, however unexpected, ends more than its own connection.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import stat
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import trio

from appliance.control.errors import ControlError
from appliance.control.place import address_of
from appliance.log import get_logger

CONNECTIONS_MAX = 16
REQUEST_OCTETS_MAX = 64 << 10
REQUEST_TIMEOUT_S = 10.0
HANDLER_TIMEOUT_S = 900.0
"""`journal verify` reads everything there is, on a slow card."""
REPLY_TIMEOUT_S = 30.0

Handler = Callable[[dict[str, Any]], Awaitable[Any]]

log = get_logger(__name__)


async def serve_control(
    path: Path,
    handlers: Mapping[str, Handler],
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve `handlers` (word -> async function of the request's args) on the socket `path` until cancelled.

    A handler's result must be JSON; for what it cannot do it raises ControlError with a text for the
    person. When it is cancelled the socket is gone, and requests being answered have got no answer. Raises
    ControlError if another process serves `path`; the socket of one that died is replaced.
    """
    desk = Desk(handlers)
    with claimed(path) as listener:
        listeners = [trio.SocketListener(trio.socket.from_stdlib_socket(listener))]
        async with trio.open_nursery() as nursery:
            await nursery.start(trio.serve_listeners, desk.answer, listeners)
            task_status.started()


@contextmanager
def claimed(path: Path) -> Iterator[socket.socket]:
    """The listening socket at `path`, mode 0600, while this process holds the lock beside it.

    The lock tells a live box from a dead one: the kernel takes it back when its holder dies, however it dies.
    """
    lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(lock, 20, 0).decode("ascii", "replace").strip()
            raise ControlError(
                f"a box is already running on {path.parent} (process {holder}): stop it first, or take "
                "another folder with --data"
            ) from None
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        remove(path)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            os.fchmod(listener.fileno(), 0o600)
            with address_of(path) as address:
                listener.bind(address)
            try:
                os.chmod(path, 0o600)
                listener.listen(CONNECTIONS_MAX)
                yield listener
            finally:
                remove(path)
    finally:
        os.close(lock)


def remove(path: Path) -> None:
    """Remove a socket; raises ControlError rather than remove anything else."""
    with suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise ControlError(f"{path} is no socket: move it away, the box needs that name")
        path.unlink()


class Desk:
    """Answers connections."""

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        self._handlers = handlers
        self._connections = 0

    async def answer(self, stream: trio.SocketStream) -> None:
        """Read one request, write one reply, close."""
        self._connections += 1
        try:
            async with stream:
                if self._connections > CONNECTIONS_MAX:
                    reply = refusal(f"the box is busy with {CONNECTIONS_MAX} other commands: try again")
                else:
                    reply = await self._reply_to(stream)
                with trio.move_on_after(REPLY_TIMEOUT_S):
                    await stream.send_all(reply)
        except trio.BrokenResourceError:
            log.debug("control client went away")
        finally:
            self._connections -= 1

    async def _reply_to(self, stream: trio.SocketStream) -> bytes:
        """The reply to what comes on `stream`. Raises trio.BrokenResourceError if its client is gone."""
        with trio.move_on_after(REQUEST_TIMEOUT_S) as waiting:
            try:
                word, args = parse(await receive_line(stream))
            except ControlError as error:
                return refusal(str(error))
        if waiting.cancelled_caught:
            return refusal(f"no request came within {REQUEST_TIMEOUT_S:g} s")
        handler = self._handlers.get(word)
        if handler is None:
            known = ", ".join(sorted(self._handlers))
            return refusal(f"this box does not know the word {word[:64]!r}; it knows {known}")
        try:
            with trio.move_on_after(HANDLER_TIMEOUT_S):
                return json.dumps({"ok": True, "result": await handler(args)}).encode() + b"\n"
        except ControlError as error:
            return refusal(str(error))
        except Exception as error:
            log.exception("control word failed", word=word)
            return refusal(
                f"{word} failed inside the box ({type(error).__name__}): see   pocket log --level error"
            )
        return refusal(f"{word} was given up after {HANDLER_TIMEOUT_S:g} s")


def refusal(error: str) -> bytes:
    return json.dumps({"ok": False, "error": error}).encode() + b"\n"


async def receive_line(stream: trio.SocketStream) -> bytes:
    """A line of at most REQUEST_OCTETS_MAX octets; a client that hangs up ends its line too."""
    line = bytearray()
    while b"\n" not in line:
        if len(line) > REQUEST_OCTETS_MAX:
            raise ControlError(f"the request is longer than {REQUEST_OCTETS_MAX} octets")
        octets = await stream.receive_some(REQUEST_OCTETS_MAX + 1 - len(line))
        if not octets:
            break
        line += octets
    return bytes(line).partition(b"\n")[0]


def parse(line: bytes) -> tuple[str, dict[str, Any]]:
    try:
        request = json.loads(line)
        word, args = request["word"], request.get("args") or {}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        word, args = None, None
    if not isinstance(word, str) or not isinstance(args, dict):
        raise ControlError('a request is one line of JSON: {"word": "status", "args": {}}')
    return word, args
