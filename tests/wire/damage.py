"""Valid conversations, and what can be done to them. See `fuzz`."""

from __future__ import annotations

import random
from typing import Any

from appliance import wire

from .conversation import UID, frame

HEADERS = [
    '{"op":7,"id":"12","datalen":9,"datasum":3735928559,"for":[{"id":"' + UID + '","type":1}]}',
    '{"Datahead":2,"Datalen":9,"For":[{"Id":"' + UID + '","Type":3}],"Id":"12","Op":7}',
    '{"op":8,"id":"3","datalen":9,"notelen":3,"notehead":2,"for":[],"notefor":[{"id":"U","type":1}]}',
    '{"op":5,"id":"4","gid":"a group","from":"somebody","to":"somebody else","datalen":9}',
    '{"op":9,"id":"5","from":"somebody","to":"somebody else","datalen":9}',
    '{"op":10,"id":"17d0a1b2c3d4e5f6","type":"n"}',
    '{"op":3,"id":"6","newnode":"tablet"}',
    '{"op":4,"id":"7","for":[{"id":"U"}],"type":"add"}',
    '{"op":6,"id":"8","act":"drop","gid":"a group","to":"somebody"}',
    '{"op":11}',
    '{"op":12}',
]
"""What a client may send. All that have a datalen have the same one, so that damage to a frame does not end
the stream.
"""


REFUSED = [
    '{"op":0,"id":"1"}',
    '{"op":2,"uid":"U","node":"N"}',
    '{"op":9,"id":"5","from":"a","to":"b","datalen":500}',
    '{"op":8,"id":"3","datalen":9,"notelen":9,"for":[]}',
    '{"op":8,"id":"3","datalen":9,"notelen":3,"for":[],"fornotself":true}',
]
"""What a client may not send in a session, one for each reason to quit that a well-formed header can give."""


def client_frames() -> list[bytes]:
    valid = [frame(header, b"some text" if "atalen" in header else b"") for header in HEADERS]
    bad_text = [frame(HEADERS[4], text) for text in (b"no \xff UTF8", "\ufffd\ufffd\ufffd".encode())]
    return valid * 4 + bad_text + [frame(header) for header in REFUSED]


def server_frames() -> list[bytes]:
    sent = [wire.encode_ack("1", 42, 42), wire.encode_ack("1", error="no"), wire.encode_ohi("U", 1)]
    extras: list[dict[str, Any]] = [
        {},
        {"notify": 3},
        {"for_": [{"Id": "U", "Type": 0}], "type": "add"},
        {"act": "join", "gid": "friends", "alias": "Zoë <&>"},
    ]
    for extra in extras:
        sent.append(wire.encode_message("delivery", UID, 7, 42, 9, 1, 5, **extra) + b"some text")
    early = [
        frame('{"id":"1","name":"s","op":"tmtprev"}'),
        frame('{"nodeid":"N","op":"registered","uid":"U"}'),
    ]
    return [
        *sent,
        *early,
        frame('{"info":"login ok","ohi":["U"],"op":"info"}'),
        frame('{"error":"x","op":"quit"}'),
    ]


WORDS = [
    *(
        b'"',
        b"\\",
        b"{",
        b"}",
        b"[",
        b"]",
        b":",
        b",",
        b"null",
        b"true",
        b"1e9",
        b"-1",
        b"12.0",
        b"NaN",
        b"\\ud800",
    ),
    *(b"\xff", b"\xc3", b"\x00", b"\n", b" ", b"0000", b"ffff", b"FFFF", b"+001", b"9" * 30, b"9" * 4400),
    *(
        b'"op":',
        b'"Op":7,',
        b'"id":""',
        b'"datalen":',
        b'"for":[]',
        b'"DataLen":0,',
        b'"oidc":{}',
        b'"headsum":1,',
    ),
    *(b"[" * 1200, b'{"a":' * 700, b"\xe2\x80\xa8", b"\xed\xa0\x80", b"\xef\xbf\xbd", b"9223372036854775808"),
]


def damage(octets: bytes, chance: random.Random) -> bytes:
    """One change, somewhere."""
    place = chance.randrange(len(octets) + 1)
    kind = chance.randrange(7)
    if kind == 0:
        return octets[:place] + bytes([chance.randrange(256)]) + octets[place + 1 :]
    if kind == 1:
        return octets[:place] + octets[place + chance.randrange(1, 9) :]
    if kind == 2:
        return octets[:place] + chance.choice(WORDS) + octets[place:]
    if kind == 3:
        end = place + chance.randrange(1, 30)
        return octets[:end] + octets[place:end] * chance.choice([1, 1, 1, 50]) + octets[end:]
    if kind == 4:
        return octets[:place] + octets[place : place + 8].swapcase() + octets[place + 8 :]
    if kind == 5:
        bit = octets[place : place + 1]
        return (
            octets[:place]
            + (bytes([bit[0] ^ 1 << chance.randrange(8)]) if bit else b"")
            + octets[place + 1 :]
        )
    end = place + chance.randrange(1, 12)
    return octets[:place] + chance.choice(WORDS) + octets[end:]


def damage_header(whole: bytes, chance: random.Random) -> bytes:
    """Damage within the header, whose length is put right again, so that what is behind it is still found."""
    size = int(whole[:4], 16)
    header = whole[4 : 4 + size]
    for _ in range(chance.choice([1, 1, 2, 5])):
        header = damage(header, chance)
    header = (header + b" " * 8 if len(header) < 8 else header)[:65535]
    return b"%04x%b%b" % (len(header), header, whole[4 + size :])


def large_header(chance: random.Random) -> bytes:
    """A header as long as may be, of whatever may take long to read."""
    filler = chance.choice(
        [b"[", b"[],", b'{"a":', b'"x":1,', b'"",', b"1", b"\\u0041", b'{"id":"U","type":1},', b"\xff"]
    )
    start = chance.choice(
        [
            b'{"op":7,"id":"1","datalen":1,"for":[',
            b'{"op":1,"newnode":"x","oidc":{"x":[',
            b'{"id":"',
            b'{"x":',
        ]
    )
    header = (start + filler * (65535 // len(filler)))[:65535]
    return b"%04x%b" % (len(header), header)


def stream(frames: list[bytes], opening: bytes, chance: random.Random) -> bytes:
    """A conversation with some of its frames damaged."""
    parts = [opening]
    for _ in range(chance.randrange(1, 12)):
        part = chance.choice(frames)
        fate = chance.random()
        if fate < 0.25:
            part = damage_header(part, chance)
        elif fate < 0.29:
            part = damage(part, chance)
        elif fate < 0.292:
            part = large_header(chance)
        elif fate < 0.30:
            part = chance.randbytes(chance.randrange(60))
        parts.append(part)
    return b"".join(parts)


def cut(octets: bytes, chance: random.Random) -> list[bytes]:
    """The stream as it may arrive: whole, in a few pieces, or in very small ones."""
    step = chance.choice([len(octets) + 1, len(octets) + 1, 600, 97, 13, chance.randrange(1, 6)])
    if len(octets) > 5000:
        step = max(step, 97)
    return [octets[start : start + step] for start in range(0, len(octets), step)]
