"""The frames of a pairing. Each has one form only; anything else is refused."""

from __future__ import annotations

import json
from typing import Any, Final

from msgspec import Struct

from appliance import wire
from appliance.pairing.errors import BadFrame

PAIR, PROVE, TAKE, INTRODUCE = 100, 101, 102, 103
COMMIT, OPEN, AGREE, LEAVE = 104, 105, 106, 107
"""Ops of the guest's frames. TMTP's end at 12."""

HEADER_MAX: Final = 2048
GIFT_OCTETS_MAX: Final = 16384
"""Of an encrypted gift."""
BOX_GIFT_OCTETS_MAX: Final = 65536
"""Of one for a box: 16 boxes with their addresses are some 20 KiB, a certificate with its chain and key some
10.
"""
CARD_OCTETS_MAX: Final = 8192
"""Of what a box says about itself, encrypted."""
REASON_CHARS_MAX = 300
SHARE_OCTETS = 33
BUTTON_SHARE_OCTETS = 32
PROOF_OCTETS = 32

_KEYS: Final[dict[object, dict[str, type]]] = {
    PAIR: {"code": int, "kind": str, "op": int, "share": str, "version": int},
    PROVE: {"op": int, "proof": str},
    TAKE: {"op": int, "proof": str},
    INTRODUCE: {"datalen": int, "op": int},
    COMMIT: {"commit": str, "op": int, "version": int},
    OPEN: {"op": int, "share": str},
    AGREE: {"op": int, "proof": str},
    LEAVE: {"error": str, "op": int},
    "share": {"op": str, "share": str},
    "compare": {"op": str, "proof": str},
    "pair": {"op": str, "share": str},
    "proof": {"op": str, "proof": str},
    "gift": {"datalen": int, "op": str},
    "paired": {"op": str, "proof": str},
    "placed": {"op": str, "proof": str, "slot": int},
    "quit": {"error": str, "op": str},
}


class Frame(Struct, frozen=True):
    """``octets`` is all of it, head and data."""

    op: int | str
    fields: dict[str, Any]
    octets: bytes
    data: bytes = b""

    def binary(self, key: str, size: int) -> bytes:
        """The octets that a field holds in base32. Raises ``BadFrame`` if those are not ``size`` in the one
        form that they have.
        """
        text = self.fields[key]
        try:
            octets = wire.b32decode(text)
        except ValueError:
            octets = b""
        if len(octets) != size or wire.b32encode(octets) != text:
            raise BadFrame(f"the {key} is not {size} octets in base32")
        return octets


def encode(fields: dict[str, Any], data: bytes = b"") -> bytes:
    """A frame."""
    header = wire.canonical_json(fields).encode()
    return b"%04x" % len(header) + header + data


def encode_quit(reason: str, op: int | str = "quit") -> bytes:
    """The end, and why; a guest's has ``LEAVE`` for its op."""
    return encode({"error": reason[:REASON_CHARS_MAX], "op": op})


def reason_in(frame: Frame) -> str:
    """The other side's words in such a frame, made printable."""
    return "".join(c if c.isprintable() else "?" for c in frame.fields["error"])


def is_pairing(octets: bytes | bytearray) -> bool | None:
    """Whether what came first on a link begins a pairing; None while that cannot be said. Then at most
    4 + ``HEADER_MAX`` octets are there.
    """
    size = _size(octets)
    if size is None:
        return None
    if not 0 < size <= HEADER_MAX:
        return False
    if len(octets) < 4 + size:
        return None
    head = octets[4 : 4 + size]
    return any(b'"op":%d,' % op in head for op in (PAIR, COMMIT))


def is_by_button(octets: bytes | bytearray) -> bool:
    """Whether a pairing that begins so is one without a code."""
    size = _size(octets)
    return size is not None and b'"op":%d,' % COMMIT in octets[4 : 4 + size]


class Reader:
    """Cuts what comes into frames. Holds at most 4 + ``HEADER_MAX`` + ``data_max`` octets and one receive.

    ``data_max`` may be changed between two frames.
    """

    def __init__(self, data_max: int = 0) -> None:
        self.data_max = data_max
        self._octets = b""

    def receive_data(self, octets: bytes) -> None:
        self._octets += octets

    def next_frame(self) -> Frame | None:
        """The next frame; None if it is not there yet. Raises ``BadFrame``."""
        octets = self._octets
        size = _size(octets)
        if size is None:
            return None
        if not 0 < size <= HEADER_MAX:
            raise BadFrame("that is no frame of a pairing: is this the address of a box?")
        end = 4 + size
        if len(octets) < end:
            return None
        fields = _read(octets[:end])
        data_size = fields.get("datalen", 0)
        if not 0 <= data_size <= self.data_max:
            raise BadFrame(f"a frame has {data_size} octets of data, which is too much")
        if len(octets) < end + data_size:
            return None
        self._octets = octets[end + data_size :]
        return Frame(fields["op"], fields, octets[: end + data_size], octets[end : end + data_size])


def _size(octets: bytes | bytearray) -> int | None:
    """Octets of the header that begins here; None if that is not there yet, 0 if there is none."""
    if len(octets) < 4:
        return None
    try:
        return int.from_bytes(bytes.fromhex(octets[:4].decode("ascii")), "big")
    except ValueError:
        return 0


def _read(head: bytes) -> dict[str, Any]:
    """A frame's fields. Raises ``BadFrame`` if they are not those of its op, or not written so."""
    try:
        fields = json.loads(head[4:])
        keys = _KEYS.get(fields["op"])
        right = keys is not None and {key: type(value) for key, value in fields.items()} == keys
        right = right and encode(fields) == head
    except (ValueError, TypeError, LookupError, RecursionError):
        right = False
    if not right:
        raise BadFrame("that is no frame of a pairing: is this the address of a box?")
    found: dict[str, Any] = fields
    return found
