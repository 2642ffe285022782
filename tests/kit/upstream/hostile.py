"""Octets that no proper site sends, for the links of one member who is logged in."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from appliance import wire

from ..frames import crc32c, head_of
from .script import Action, Endless, Say

TEBIOCTET: Final = 1 << 40
POSTED: Final = "2026-01-02T03:04:05.678Z"


def message(
    op: str = "delivery", number: int | str = 0, data: bytes = b"x", *, sum_off: int = 0, **fields: Any
) -> bytes:
    """A queued message with whatever fields, and the right headsum (or off by `sum_off`). `number`: its id,
    as text if it is to be none."""
    named: dict[str, Any] = {
        "datalen": len(data),
        "from": "B" * 32,
        "id": number if isinstance(number, str) else wire.format_id(number),
        "op": op,
        "posted": POSTED,
    }
    named.update((name.rstrip("_"), value) for name, value in fields.items())
    return head_of({**named, "headsum": crc32c(head_of(named)) + sum_off}) + data


def _later(seconds: int = 0) -> int:
    return time.time_ns() + seconds * 10**9


def _repeated_ids() -> bytes:
    number = _later()
    return b"".join(message(number=number, data=b"%d" % n) for n in range(20))


def _falling_ids() -> bytes:
    first = _later()
    return b"".join(message(number=first - n, data=b"falling") for n in range(20))


def _ids_at_the_ends() -> bytes:
    ends = (0, 1, (1 << 63) - 1, 1 << 63, (1 << 63) + 1, (1 << 64) - 1)
    return b"".join(message(number=number, data=b"%d" % number) for number in ends)


def _huge_header() -> bytes:
    """The longest that there can be, with a right headsum."""
    bare = len(message(number=1, data=b"", from_="", headsum=0)) + 20
    return message(number=_later(), from_="B" * (0xFFFF - bare), data=b"")


def _huge_names() -> bytes:
    """What a member may be shown: an alias, a group and a text, each as long as it goes."""
    return message("invite", _later(), b"y" * 400, alias="a" * 20000, gid="g" * 20000, to="t" * 20000)


def _nested() -> bytes:
    head = b'{"op":"delivery","x":' + b"[" * 30000 + b"]" * 30000 + b"}"
    return b"%04x" % len(head) + head


def _numbers() -> bytes:
    head = b'{"datalen":' + b"9" * 60000 + b',"op":"delivery"}'
    return b"%04x" % len(head) + head


def _unknown_targets() -> bytes:
    listed = [{"Id": "B" * 32, "Type": 0} for _ in range(1000)]
    return message("ohiedit", _later(), b"", for_=listed, type="add")


ONCE: Final[Mapping[str, Callable[[], bytes]]] = {
    "garbage": lambda: random.Random(5).randbytes(100_000),
    "no hex": lambda: b"zzzz",
    "an empty header": lambda: b"0000",
    "a wrong headsum": lambda: message(number=_later(), sum_off=1),
    "repeated ids": _repeated_ids,
    "falling ids": _falling_ids,
    "ids at the ends": _ids_at_the_ends,
    "an id that is none": lambda: message(number="an id"),
    "a huge header": _huge_header,
    "huge names": _huge_names,
    "nested lists": _nested,
    "an endless number": _numbers,
    "a second tmtprev": lambda: head_of({"id": "1", "name": "x", "op": "tmtprev"}),
    "a second login": lambda: head_of({"info": "login ok", "op": "info"}),
    "a new account": lambda: head_of({"nodeid": "B" * 40, "op": "registered", "uid": "B" * 32}),
    "acks of nothing": lambda: b"".join(wire.encode_ack(f"{n:016x}", n, 0) for n in range(1000)),
    "refusals of nothing": lambda: b"".join(wire.encode_ack(f"{n:016x}", error="no") for n in range(1000)),
    "an ack without a msgid": lambda: wire.encode_ack("0" * 16),
    "a time that is none": lambda: message(number=_later(), posted="tomorrow"),
    "many targets": _unknown_targets,
    "a quit": lambda: head_of({"error": "go away\x1b[2J" * 50, "op": "quit"}),
    "a password for a node": lambda: message("user", _later(), b"", newnode="mine", nodeid="B" * 40),
    "data too short": lambda: message(number=_later(), data=b"x" * 100)[:-50],
}
"""What is said once, in a session."""


def _terabytes() -> Action:
    head = message(number=_later(), data=b"", datalen=TEBIOCTET)
    return Endless(os.urandom(1 << 16), head)


def _presence() -> Action:
    """Of ever the same hundred thousand members, which is as many as one block holds."""
    some = random.Random(5)
    uids = (wire.b32encode(some.randbytes(20)) for _ in range(100_000))
    return Endless(b"".join(wire.encode_ohi(uid, 1) for uid in uids))


def _small_ones() -> Action:
    return Endless(b"".join(message(number=n, data=b"") for n in range(1, 5000)))


WITHOUT_END: Final[Mapping[str, Callable[[], Action]]] = {
    "presence": _presence,
    "terabytes": _terabytes,
    "half a frame": lambda: Say(b"ffff{"),
    "messages": _small_ones,
    "garbage without end": lambda: Endless(os.urandom(1 << 16)),
}
"""What is said for as long as the other end takes it, in place of a message."""
