"""How the scripted site is made to do wrong, at which step of which link.

| step | when |
|---|---|
| connect | TCP is up, TLS has yet to begin |
| greet | a TmtpRev came |
| register | a Register came |
| login | a Login came, and would be taken |
| data | a piece of a request's data came |
| request | a request is there, its data too; nothing has been done for it |
| taken | it was done, and others may have got it; the ack is not sent |
| acked | its ack was sent |
| message | a queued message is about to be sent |
| sent | it was sent |
| ack | an ack came; the message is still in the queue |
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, Self, TypeVar

STEPS = (
    "connect",
    "greet",
    "register",
    "login",
    "data",
    "request",
    "taken",
    "acked",
    "message",
    "sent",
    "ack",
)


class Action:
    """What to do at a step in place of, or before, what is right."""


A = TypeVar("A", bound=Action)


@dataclass(frozen=True)
class Cut(Action):
    """The link is gone without a word; `reset`: with a TCP reset."""

    reset: bool = False


@dataclass(frozen=True)
class Ignore(Action):
    """What came was not heard, what goes is not sent; the link stays."""


@dataclass(frozen=True)
class Delay(Action):
    """It takes so long, then all is as usual."""

    seconds: float


@dataclass(frozen=True)
class Say(Action):
    """These octets go out in place of the answer or the message; `cut`: and then the link is gone. After a
    `connect`, `greet`, `register` or `login` that was answered so, the site listens to nothing more."""

    octets: bytes
    cut: bool = False


@dataclass(frozen=True)
class Refuse(Action):
    """A request's ack has this error; a login or registration is quit with it."""

    error: str


@dataclass(frozen=True)
class Deaf(Action):
    """Nothing more is read from the link, which stays; messages still go out."""


@dataclass(frozen=True)
class Endless(Action):
    """`before`, and then `again` without end."""

    again: bytes
    before: bytes = b""


@dataclass(eq=False)
class Hold(Action):
    """Waits there until it is opened."""

    _open: bool = False
    _waiting: list[Callable[[], None]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def open(self) -> None:
        """Let go of all who wait there, and hold nobody any more."""
        with self._lock:
            self._open = True
            for go in self._waiting:
                go()

    def when_open(self, go: Callable[[], None]) -> None:
        """Call `go` at once, or then."""
        with self._lock:
            if not self._open:
                self._waiting.append(go)
                return
        go()


@dataclass(eq=False)
class Rule(Generic[A]):
    """`do` at `step`, the first `times` times (None: always) after `skip`, where it is about this op, member
    and whatever `where` says of the request, message or octets."""

    step: str
    do: A
    op: str = ""
    uid: str = ""
    skip: int = 0
    times: int | None = 1
    where: Callable[[Any], bool] = lambda what: True
    hits: int = 0
    _seen: int = 0
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def meets(self, step: str, op: str, uid: str, what: Any) -> bool:
        """Whether it is to be done now; counts."""
        if step != self.step or self.op not in ("", op) or self.uid not in ("", uid) or not self.where(what):
            return False
        self._seen += 1
        if self._seen <= self.skip or (self.times is not None and self.hits >= self.times):
            return False
        with self._changed:
            self.hits += 1
            self._changed.notify_all()
        return True

    def wait(self, hits: int = 1, within_s: float = 20.0) -> Self:
        """Until it was done so many times; AssertionError if that does not happen."""
        with self._changed:
            met = self._changed.wait_for(lambda: self.hits >= hits, within_s)
        assert met, f"not within {within_s} s: {self}"
        return self
