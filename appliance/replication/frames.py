"""The frames between two boxes: TMTP's framing (revision 1, section 1), a table of what may be in them.

A header is canonical JSON. A frame of a newer version than ours may have fields and ops that we do not know:
they are left out. Of our own version it has to be exactly as we would write it.
"""

from __future__ import annotations

from binascii import Error as NotHex
from binascii import unhexlify
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Struct

from appliance import wire
from appliance.replication.errors import BadFrame

VERSION: Final = 1
HEADER_MAX: Final = 0xFFFF
HEADER_MAX_UNPROVEN: Final = 512
"""Of who has yet to prove which box it is."""

ENTRIES_OCTETS_MAX: Final = 4 << 20
ENTRIES_MAX: Final = 1000
CHUNK_OCTETS_MAX: Final = 64 << 10
RANGE_OCTETS_MAX: Final = 512 << 10
LIST_MAX: Final = 1000
BOXES_MAX: Final = 256
TELL_OCTETS_MAX: Final = 64 << 10
SHOWN_OCTETS_MAX: Final = 64 << 10
"""From who has not proven which box it is."""

SHOWN_MAX: Final = 20
ADDRESSES_MAX: Final = 8
BLOB_OCTETS_MAX: Final = 1 << 40
ID_MAX: Final = (1 << 63) - 1
CLOCK_MAX: Final = 7_258_118_400 * 10**9
"""The year 2200 in ns: one peer's wrong clock must not take everybody's to the end of what can be counted."""

BOX_CHARS: Final = 8
HASH_OCTETS: Final = 32
SIGNATURE_OCTETS: Final = 64
TEXT_CHARS_MAX: Final = 300


class Op(StrEnum):
    HELLO = "hello"
    CHALLENGE = "challenge"
    PROOF = "proof"
    WELCOME = "welcome"
    STATE = "state"
    ENTRIES = "entries"
    REACHED = "reached"
    HAVE = "have"
    GAP = "gap"
    BAR = "bar"
    WANTS = "wants"
    MESSAGES = "messages"
    WANT = "want"
    CHUNK = "chunk"
    LACKING = "lacking"
    BEAT = "beat"
    TELL = "tell"
    ANEW = "anew"
    TAKEN = "taken"
    SHOW = "show"
    QUIT = "quit"


class Kind(NamedTuple):
    """What a field holds: a str of ``low`` to ``high`` characters, an int from ``low`` to ``high``, a bool,
    or ``high`` octets in base32.
    """

    type: type
    low: int = 0
    high: int = 0


BOX: Final = Kind(str, BOX_CHARS, BOX_CHARS)
WORD: Final = Kind(str, 1, 32)
TEXT: Final = Kind(str, 0, TEXT_CHARS_MAX)
FLAG: Final = Kind(bool)
COUNT_MAX: Final = 1000
COUNT: Final = Kind(int, 0, COUNT_MAX)
CLOCK: Final = Kind(int, 0, CLOCK_MAX)
OFFSET: Final = Kind(int, 0, BLOB_OCTETS_MAX)
HASH: Final = Kind(bytes, 0, HASH_OCTETS)


class Row(NamedTuple):
    """``data_max``: octets of data that may come with the frame."""

    fields: Mapping[str, Kind]
    data_max: int = 0


FRAMES: Final[Mapping[str, Row]] = {
    Op.HELLO: Row({"box": BOX, "nonce": HASH, "purpose": WORD, "version": Kind(int, 1, 1000)}),
    Op.CHALLENGE: Row({"nonce": HASH, "version": Kind(int, 1, 1000)}),
    Op.PROOF: Row({"proof": Kind(bytes, 0, SIGNATURE_OCTETS)}),
    Op.WELCOME: Row({}),
    Op.STATE: Row(
        {"clock": CLOCK, "complete": FLAG, "epoch": Kind(int, 0, 1 << 32), "program": TEXT}, 64 << 10
    ),
    Op.ENTRIES: Row({"epoch": Kind(int, 0, 1 << 32), "follow": COUNT, "live": FLAG}, ENTRIES_OCTETS_MAX),
    Op.REACHED: Row({"epoch": Kind(int, 0, 1 << 32)}, 64 << 10),
    Op.HAVE: Row({"absent": COUNT}, 64 << 10),
    Op.GAP: Row({"box": BOX}),
    Op.BAR: Row({"box": BOX}),
    Op.WANTS: Row({}, 16 << 10),
    Op.MESSAGES: Row({"part": FLAG}, ENTRIES_OCTETS_MAX),
    Op.WANT: Row({"octets": Kind(int, 1, RANGE_OCTETS_MAX), "offset": OFFSET, "sha": HASH}),
    Op.CHUNK: Row({"offset": OFFSET, "sha": HASH}, CHUNK_OCTETS_MAX),
    Op.LACKING: Row({"sha": HASH}),
    Op.BEAT: Row({"absent": COUNT, "clock": CLOCK}),
    Op.TELL: Row({"topic": WORD}, TELL_OCTETS_MAX),
    Op.ANEW: Row({"proof": Kind(bytes, 0, SIGNATURE_OCTETS), "public": HASH}),
    Op.TAKEN: Row({"slot": COUNT}),
    Op.SHOW: Row({"box": BOX, "version": Kind(int, 1, 1000)}, SHOWN_OCTETS_MAX),
    Op.QUIT: Row({"code": WORD, "error": TEXT}),
}
UNKNOWN: Final = Row({}, ENTRIES_OCTETS_MAX)


class Frame(Struct, frozen=True):
    """``op`` is none of ``Op`` in a frame that is to be left out."""

    op: str
    fields: dict[str, Any]
    data: bytes = b""


def encode(op: Op, fields: Mapping[str, Any] | None = None, data: bytes = b"") -> bytes:
    """A frame. Octets among the fields go as base32."""
    return _head(op, fields or {}, len(data)) + data


class Reader:
    """Cuts what comes into frames. Holds at most one frame, as large as its row allows, and one receive.

    ``newer``: the other side's version is above ours.
    """

    def __init__(self) -> None:
        self.newer = False
        self.header_max = HEADER_MAX_UNPROVEN
        self._octets = bytearray()
        self._begun: tuple[Frame, int, int] | None = None

    @property
    def held(self) -> int:
        return len(self._octets)

    def receive_data(self, octets: bytes) -> None:
        self._octets += octets

    def next_head(self) -> Frame | None:
        """The next frame without its data; None if it is not there yet. The same again until ``take``. Raises
        ``BadFrame``.
        """
        if self._begun is not None:
            return self._begun[0]
        octets = self._octets
        if len(octets) < 4:
            return None
        try:
            size = int.from_bytes(unhexlify(octets[:4]), "big")
        except NotHex:
            raise BadFrame("that is no frame of a box") from None
        if not 0 < size <= self.header_max:
            raise BadFrame(f"a header of {size} octets")
        end = 4 + size
        if len(octets) < end:
            return None
        frame, data_size = _read(bytes(octets[:end]), self.newer)
        self._begun = frame, end, data_size
        return frame

    def take(self) -> Frame | None:
        """The frame that ``next_head`` gave, with its data; None if that is not there yet."""
        assert self._begun is not None
        head, start, size = self._begun
        if len(self._octets) < start + size:
            return None
        data = bytes(self._octets[start : start + size])
        del self._octets[: start + size]
        self._begun = None
        return Frame(head.op, head.fields, data)


def _head(op: str, fields: Mapping[str, Any], data_size: int) -> bytes:
    header: dict[str, Any] = {
        key: wire.b32encode(value) if type(value) is bytes else value for key, value in fields.items()
    }
    header["op"] = str(op)
    if data_size:
        header["datalen"] = data_size
    octets = wire.canonical_json(header).encode()
    return b"%04x" % len(octets) + octets


def _read(head: bytes, newer: bool) -> tuple[Frame, int]:
    """A frame without its data, and how many octets of data follow."""
    try:
        header = msgspec.json.decode(head[4:], type=dict[str, Any])
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise BadFrame("a header that is no JSON object") from None
    op = header.get("op")
    if not isinstance(op, str):
        raise BadFrame("a header without an op")
    row = FRAMES.get(op)
    if row is None:
        if not newer:
            raise BadFrame(f"an op that version {VERSION} has not")
        row = UNKNOWN
    size = header.get("datalen", 0)
    if type(size) is not int or not 0 <= size <= row.data_max:
        raise BadFrame(f"{op} with too much data, or none of a size")
    theirs = header.get("version")
    if op in (Op.HELLO, Op.CHALLENGE, Op.SHOW) and type(theirs) is int and theirs > VERSION:
        newer = True
    fields = {key: _value(op, key, header.get(key), kind) for key, kind in row.fields.items()}
    if not newer and _head(op, fields, size) != head:
        raise BadFrame(f"{op} is not written as it should be")
    return Frame(op, fields), size


def _value(op: str, key: str, value: Any, kind: Kind) -> Any:
    """The value of a field, if it is of its kind. Raises ``BadFrame``."""
    if kind.type is bytes:
        if type(value) is str:
            try:
                octets = wire.b32decode(value)
            except ValueError:
                octets = b""
            if len(octets) == kind.high:
                return octets
    elif type(value) is kind.type and isinstance(value, str | int):
        measure: int = len(value) if isinstance(value, str) else value if kind.type is int else 0
        if kind.low <= measure <= kind.high:
            return value
    raise BadFrame(f"{op} without a proper {key}")
