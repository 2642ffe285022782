"""The data of frames, as MessagePack. Whatever comes is held to types, sizes and counts before anybody sees
it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from appliance.replication.errors import BadFrame
from appliance.replication.frames import (
    ADDRESSES_MAX,
    BOX_CHARS,
    BOXES_MAX,
    CLOCK_MAX,
    ENTRIES_MAX,
    ENTRIES_OCTETS_MAX,
    HASH_OCTETS,
    ID_MAX,
    LIST_MAX,
    SHOWN_MAX,
    SIGNATURE_OCTETS,
)
from appliance.replication.interface import Arrival, Octets, Position
from appliance.site import TRAFFIC, decode_facts
from appliance.site.facts import Acked

_Box = Annotated[str, Meta(min_length=BOX_CHARS, max_length=BOX_CHARS)]
_Number = Annotated[int, Meta(ge=0, le=ID_MAX)]
_Hash = Annotated[bytes, Meta(min_length=HASH_OCTETS, max_length=HASH_OCTETS)]

_encode = msgspec.msgpack.Encoder().encode
_positions: Final = msgspec.msgpack.Decoder(
    Annotated[
        dict[_Box, tuple[_Number, Annotated[bytes, Meta(max_length=HASH_OCTETS)]]], Meta(max_length=BOXES_MAX)
    ]
)
_have: Final = msgspec.msgpack.Decoder(
    tuple[
        Annotated[dict[_Box, _Number], Meta(max_length=BOXES_MAX)],
        Annotated[list[_Hash], Meta(max_length=LIST_MAX)],
    ]
)
_numbers: Final = msgspec.msgpack.Decoder(Annotated[list[_Number], Meta(max_length=LIST_MAX)])
_entries: Final = msgspec.msgpack.Decoder(Annotated[list[Arrival], Meta(max_length=ENTRIES_MAX)])
_messages: Final = msgspec.msgpack.Decoder(Annotated[list[Octets], Meta(max_length=LIST_MAX)])

_shown: Final = msgspec.msgpack.Decoder(
    tuple[
        Annotated[list[Arrival], Meta(max_length=SHOWN_MAX)],
        Annotated[list[Annotated[str, Meta(max_length=300)]], Meta(max_length=ADDRESSES_MAX)],
    ]
)

ENTRY_OVERHEAD: Final = 160
"""Octets of an entry beside its body, at most; and of a message beside its head and data."""
LIST_OVERHEAD: Final = 16


def weight(arrival: Arrival) -> int:
    """Octets that an entry takes in a frame, at most."""
    return ENTRY_OVERHEAD + len(arrival.body) + sum(map(message_weight, arrival.octets))


def message_weight(message: Octets) -> int:
    return 32 + len(message.head) + len(message.data or b"")


def encode_positions(positions: Mapping[str, Position]) -> bytes:
    return _encode(dict(positions))


def decode_positions(data: bytes) -> dict[str, Position]:
    found: dict[str, tuple[int, bytes]] = _decode(_positions, data)
    for seq, digest in found.values():
        if len(digest) not in ((0, HASH_OCTETS) if seq else (0,)):
            raise BadFrame("a position with half a digest")
    return {box: Position(seq, digest) for box, (seq, digest) in found.items()}


def encode_have(positions: Mapping[str, int], blobs: Iterable[bytes]) -> bytes:
    return _encode((dict(positions), list(blobs)))


def decode_have(data: bytes) -> tuple[dict[str, int], list[bytes]]:
    found: tuple[dict[str, int], list[bytes]] = _decode(_have, data)
    return found


def encode_numbers(numbers: Sequence[int]) -> bytes:
    return _encode(list(numbers))


def decode_numbers(data: bytes) -> list[int]:
    found: list[int] = _decode(_numbers, data)
    return found


def is_light(arrival: Arrival) -> bool:
    """Whether an entry has nothing but acknowledgements by nodes, for which nobody waits."""
    if arrival.kind != TRAFFIC or arrival.octets:
        return False
    try:
        return all(isinstance(fact, Acked) for fact in decode_facts(arrival.body))
    except ValueError:
        return False


def encode_entries(arrivals: Sequence[Arrival]) -> bytes:
    return _encode(list(arrivals))


def decode_entries(data: bytes) -> list[Arrival]:
    found: list[Arrival] = _decode(_entries, data)
    _check_entries(found)
    return found


def encode_shown(arrivals: Sequence[Arrival], addresses: Sequence[str]) -> bytes:
    return _encode((list(arrivals), list(addresses)))


def decode_shown(data: bytes) -> tuple[list[Arrival], list[str]]:
    found: tuple[list[Arrival], list[str]] = _decode(_shown, data)
    _check_entries(found[0])
    return found


def _check_entries(found: Sequence[Arrival]) -> None:
    for entry in found:
        if (
            len(entry.box) != BOX_CHARS
            or not 1 <= entry.seq <= ID_MAX
            or not 0 <= entry.clock <= CLOCK_MAX
            or not 0 <= entry.kind <= 0xFF
            or len(entry.prev) != HASH_OCTETS
            or len(entry.signature) != SIGNATURE_OCTETS
        ):
            raise BadFrame("an entry that can be none")
        _check_messages(entry.octets)


def encode_messages(messages: Sequence[Octets]) -> bytes:
    return _encode(list(messages))


def decode_messages(data: bytes) -> list[Octets]:
    found: list[Octets] = _decode(_messages, data)
    _check_messages(found)
    return found


def split_octets(arrival: Arrival, room: int) -> tuple[Arrival, list[list[Octets]]]:
    """An entry with as many of its messages' octets as fit into ``room`` beside it, and the rest in parts of
    at most ``room`` each.
    """
    parts: list[list[Octets]] = [[]]
    left = room - weight(arrival) + sum(map(message_weight, arrival.octets))
    for message in arrival.octets:
        size = message_weight(message)
        if size > left or len(parts[-1]) == LIST_MAX:
            parts.append([])
            left = room
        parts[-1].append(message)
        left -= size
    return msgspec.structs.replace(arrival, octets=tuple(parts[0])), parts[1:]


def _check_messages(messages: Sequence[Octets]) -> None:
    for message in messages:
        if not 0 < message.msgid <= ID_MAX or not message.head:
            raise BadFrame("a message that can be none")


def _decode(decoder: msgspec.msgpack.Decoder[Any], data: bytes) -> Any:
    try:
        return decoder.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise BadFrame("data that is not what its header says") from None


assert LIST_OVERHEAD < ENTRIES_OCTETS_MAX
