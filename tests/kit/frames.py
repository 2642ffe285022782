"""Frames as a client sees them, checked without appliance.wire.

The tests would prove little if the code that reads a frame were the code that wrote it. So the octets are
split and judged here with plain json and a CRC-32C of our own: canonical form, `headsum`, and the exact keys
of each kind of message (TMTP revision 1, sections 1 and 4).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

HEADER_MIN = 8
HEADER_MAX = 65535

STD = frozenset({"op", "from", "id", "posted", "headsum", "datalen"})
"""What every queued message has."""

DATA = frozenset({"datahead", "datasum"})

SHAPES: dict[str, tuple[frozenset[str], frozenset[str]]] = {
    "tmtprev": (frozenset({"op", "id", "name"}), frozenset({"auth", "authby"})),
    "registered": (frozenset({"op", "uid", "nodeid"}), frozenset({"error"})),
    "info": (frozenset({"op", "info"}), frozenset({"ohi"})),
    "quit": (frozenset({"op", "error"}), frozenset()),
    "ack": (frozenset({"op", "id"}), frozenset({"error", "msgid", "posted"})),
    "ohi": (frozenset({"op", "from", "status"}), frozenset()),
    "login": (STD | {"node"}, frozenset()),
    "user": (STD, frozenset({"newalias", "newnode", "nodeid"})),
    "ohiedit": (STD | {"for", "type"}, frozenset()),
    "ping": (STD | {"alias", "to"}, DATA),
    "invite": (STD | {"alias", "gid", "to"}, DATA),
    "member": (STD | {"act", "alias", "gid"}, frozenset({"newalias"})),
    "delivery": (STD, DATA | {"notify"}),
    "notify": (STD | {"postid"}, DATA),
}
"""Kind of message -> the keys it always has, the keys it may have."""

QUEUED = frozenset(op for op, (always, _) in SHAPES.items() if always >= STD)
WITH_DATA = frozenset({"ping", "invite", "delivery", "notify"})

ID = re.compile(r"[0-9a-f]{16}")
POSTED = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
UID = re.compile(r"[%+1-9BCDFGHJKLMNPQRSTVWXYZ]{32}")
NODEID = re.compile(r"[%+1-9BCDFGHJKLMNPQRSTVWXYZ]{40}")

_ESCAPES = {chr(c): f"\\u{c:04x}" for c in (*range(32), ord("<"), ord(">"), ord("&"), 0x2028, 0x2029)}
_ESCAPES |= {"\n": "\\n", "\r": "\\r", "\t": "\\t", '"': '\\"', "\\": "\\\\"}


def _crc_table() -> list[int]:
    table = []
    for octet in range(256):
        crc = octet
        for _ in range(8):
            crc = crc >> 1 ^ 0x82F63B78 if crc & 1 else crc >> 1
        table.append(crc)
    return table


_CRC = _crc_table()


def crc32c(octets: bytes) -> int:
    """CRC-32C (Castagnoli), an octet at a time: slow, and independent of the one under test."""
    crc = 0xFFFFFFFF
    for octet in octets:
        crc = crc >> 8 ^ _CRC[(crc ^ octet) & 0xFF]
    return crc ^ 0xFFFFFFFF


def canonical(value: Any) -> str:
    """JSON as the server must write it: keys sorted, no spaces, the escapes of section 1 and no others."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{canonical(k)}:{canonical(value[k])}" for k in sorted(value)) + "}"
    if isinstance(value, list):
        return "[" + ",".join(canonical(element) for element in value) + "]"
    if isinstance(value, str):
        return '"' + "".join(_ESCAPES.get(char, char) for char in value) + '"'
    return json.dumps(value)


def head_of(header: dict[str, Any]) -> bytes:
    """The frame head of a header in canonical form: four hex digits and the JSON."""
    octets = canonical(header).encode()
    return b"%04x" % len(octets) + octets


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    assert len(result) == len(pairs), f"a key is there twice: {pairs}"
    return result


@dataclass(frozen=True)
class Frame:
    """One frame from the server. `frame["id"]` reads its header."""

    head: bytes
    header: dict[str, Any]
    data: bytes

    def __getitem__(self, key: str) -> Any:
        return self.header[key]

    def __contains__(self, key: str) -> bool:
        return key in self.header

    def __repr__(self) -> str:
        data = f" + {len(self.data)} octets {self.data[:40]!r}" if self.data else ""
        return f"<{canonical(self.header)}{data}>"

    @property
    def op(self) -> str:
        return str(self.header["op"])

    def check(self) -> None:
        """AssertionError unless the head is what the protocol says a server writes."""
        assert self.op in SHAPES, f"no such message: {self}"
        always, maybe = SHAPES[self.op]
        keys = set(self.header)
        assert always <= keys <= always | maybe, (
            f"missing {always - keys}, too many {keys - always - maybe}: {self}"
        )
        assert self.head == (right := head_of(self.header)), f"not canonical: {self.head!r}, not {right!r}"
        if self.op in QUEUED:
            self._check_queued()
        if self.op == "ack":
            assert keys in ({"op", "id"}, {"op", "id", "error"}, {"op", "id", "msgid", "posted"}), self
        for key in ("id", "msgid", "postid"):
            if key in keys and (self.op in QUEUED or key == "msgid"):
                assert ID.fullmatch(self[key]), f"{key} is no 16 lower-case hex digits: {self}"
        if "posted" in keys:
            assert POSTED.fullmatch(self["posted"]), f"posted is no UTC time in ms: {self}"

    def _check_queued(self) -> None:
        bare = {key: value for key, value in self.header.items() if key != "headsum"}
        assert self["headsum"] == crc32c(head_of(bare)), f"headsum is not that of {head_of(bare)!r}: {self}"
        assert self.header.get("datahead") != 0, f"a datahead of 0 is left out: {self}"
        assert self.header.get("datasum") != 0, f"a datasum of 0 is left out: {self}"
        if self.op not in WITH_DATA:
            assert self["datalen"] == 0, self

    def differs(self, op: str, fields: dict[str, Any]) -> str:
        """How this frame differs from the one expected; "" if it does not.

        `data` in `fields` is compared with the data octets. A key that a message of this kind may have, and
        that `fields` does not name, must not be there.
        """
        if self.op != op:
            return f"expected op {op}"
        for key, value in fields.items():
            if key == "data":
                if self.data != value:
                    return f"expected {len(value)} octets of data {value[:40]!r}"
            elif key not in self.header:
                return f"expected {key}={value!r}, which is not there"
            elif value != self.header[key]:
                return f"expected {key}={value!r}"
        surprising = (set(self.header) & SHAPES[op][1]) - set(fields)
        return f"not expected: {sorted(surprising)}" if surprising else ""


class Splitter:
    """Octets in, frames out."""

    def __init__(self) -> None:
        self._octets = bytearray()
        self._pending: tuple[bytes, dict[str, Any]] | None = None

    def feed(self, octets: bytes) -> None:
        self._octets += octets

    @property
    def rest(self) -> bytes:
        """What has come of a frame that is not complete."""
        return (self._pending[0] if self._pending else b"") + bytes(self._octets)

    def next(self) -> Frame | None:
        """The next complete frame; AssertionError if the octets are none."""
        if self._pending is None:
            if len(self._octets) < 4:
                return None
            digits = bytes(self._octets[:4])
            assert re.fullmatch(rb"[0-9a-f]{4}", digits), f"no four lower-case hex digits: {digits!r}"
            length = int(digits, 16)
            assert HEADER_MIN <= length <= HEADER_MAX, digits
            if len(self._octets) < 4 + length:
                return None
            head = bytes(self._octets[: 4 + length])
            del self._octets[: 4 + length]
            self._pending = head, json.loads(head[4:].decode(), object_pairs_hook=_without_duplicates)
        head, header = self._pending
        datalen = header.get("datalen", 0)
        if len(self._octets) < datalen:
            return None
        data = bytes(self._octets[:datalen])
        del self._octets[:datalen]
        self._pending = None
        frame = Frame(head, header, data)
        frame.check()
        return frame
