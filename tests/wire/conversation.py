"""What the tests of this room share: frames by hand, links that answer by themselves, requests at random.

Nothing in here is taken from the code under test but its public face.
"""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterable, Iterator
from typing import Any

from hypothesis import strategies as st

from appliance import wire

UID = "%+123456789BCDFGHJKLMNPQRSTVWXYZ"
GREETING = b'0011{"op":0,"id":"1"}'


def frame(header: str | bytes | dict[str, Any], data: bytes = b"") -> bytes:
    """A frame as a client that is not ours would write it."""
    if isinstance(header, dict):
        header = json.dumps(header)
    octets = header.encode() if isinstance(header, str) else header
    return b"%04x%b%b" % (len(octets), octets, data)


LOGIN = frame('{"op":2,"uid":"somebody","node":"1111"}')
REGISTER = frame('{"op":1,"newnode":"tablet"}')
PULSE = frame('{"op":11}')


def crc32c(octets: bytes) -> int:
    """CRC-32C, bit by bit, from its definition."""
    crc = 0xFFFFFFFF
    for octet in octets:
        crc ^= octet
        for _ in range(8):
            crc = crc >> 1 ^ 0x82F63B78 * (crc & 1)
    return crc ^ 0xFFFFFFFF


def answer(link: wire.ServerLink, event: object) -> bytes:
    """What has to be sent before the link goes on reading."""
    if isinstance(event, wire.TmtpRev):
        return link.encode_tmtprev("site")
    if isinstance(event, wire.Register):
        return link.encode_registered(UID, "1" * 40) + link.encode_login_ok()
    if isinstance(event, wire.Login):
        return link.encode_login_ok()
    return b""


Happening = wire.Request | wire.ServerMessage | wire.Data | str


def happenings(link: wire.ServerLink | wire.ClientLink) -> Iterator[Happening]:
    """All events that are there now, answered where that is needed; a broken protocol as its reason, last."""
    while True:
        try:
            event = link.next_event()
        except wire.RemoteProtocolError as error:
            yield error.reason
            return
        if event is wire.NEED_DATA:
            return
        assert not isinstance(event, wire.NeedData)
        if isinstance(link, wire.ServerLink):
            answer(link, event)
        yield event


def read(link: wire.ServerLink | wire.ClientLink, pieces: Iterable[bytes]) -> list[Happening]:
    """What a link makes of a stream. Neighbouring pieces of large data are put together, and `last` must be
    true.
    """
    found: list[Happening] = []
    for piece in pieces:
        link.receive_data(piece)
        for event in happenings(link):
            before = found[-1] if found else None
            if isinstance(event, wire.Data) and isinstance(before, wire.Data) and not before.last:
                event = wire.Data(before.octets + event.octets, event.last)
                found.pop()
            found.append(event)
        if found and isinstance(found[-1], str):
            break
    return found


def logged_in(inline_max: int = wire.INLINE_MAX) -> wire.ServerLink:
    """A server's link on which a session is open."""
    link = wire.ServerLink(inline_max)
    assert len(read(link, [GREETING + LOGIN])) == 2
    return link


def greeted() -> wire.ServerLink:
    link = wire.ServerLink()
    assert len(read(link, [GREETING])) == 1
    return link


def client_logged_in(inline_max: int = wire.INLINE_MAX) -> wire.ClientLink:
    """A client's link on which a session is open."""
    link, server = wire.ClientLink(inline_max), wire.ServerLink()
    for request in (wire.TmtpRev("1"), wire.Login(UID, "1" * 40)):
        server.receive_data(link.encode(request))
        event = server.next_event()
        assert len(read(link, [answer(server, event)])) == 1
    return link


def pieces_of(stream: bytes, cuts: Iterable[int]) -> list[bytes]:
    """`stream` cut at these places."""
    places = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    return [stream[start:end] for start, end in itertools.pairwise(places)]


texts = st.text(min_size=1, max_size=12)
uids = st.text(UID, min_size=32, max_size=32)
counts = st.one_of(st.integers(0, 300), st.integers(0, (1 << 63) - 1))
sums = st.one_of(st.none(), st.integers(1, (1 << 64) - 1))
targets = st.builds(wire.Target, st.one_of(uids, texts), st.integers(1, 3))
target_lists = st.lists(targets, max_size=4)


@st.composite
def with_data(draw: st.DrawFn) -> tuple[wire.Request, bytes]:
    """A request of op 5, 7, 8 or 9 and its data."""
    kind = draw(st.sampled_from([wire.Post, wire.PostNotify, wire.Ping, wire.GroupInvite]))
    if kind is wire.Ping or kind is wire.GroupInvite:
        plain = st.text(st.characters(exclude_characters="\ufffd", codec="utf-8"), max_size=70)
        data = draw(plain).encode()
        id, from_, to, gid = (draw(texts) for _ in range(4))
        body = (len(data), draw(st.integers(0, len(data))), draw(sums))
        return wire.Ping(id, from_, to, *body) if kind is wire.Ping else wire.GroupInvite(
            id, gid, from_, to, *body
        ), data
    data = draw(st.binary(min_size=2, max_size=200))
    recipients = draw(target_lists)
    if kind is wire.Post:
        return wire.Post(
            draw(texts), recipients, len(data), draw(st.integers(0, len(data))), draw(sums)
        ), data
    notelen = draw(st.integers(1, len(data) - 1))
    head, notehead = draw(st.integers(0, len(data) - notelen)), draw(st.integers(0, notelen))
    alone = bool(recipients) and draw(st.booleans())
    note = (notelen, notehead, draw(sums), draw(target_lists), alone)
    return wire.PostNotify(draw(texts), recipients, len(data), head, draw(sums), *note), data


without_data = st.one_of(
    st.builds(wire.UserEdit, texts, texts),
    st.builds(wire.UserEdit, texts, st.none(), texts),
    st.builds(
        wire.OhiEdit, texts, st.lists(texts, min_size=1, max_size=4), st.sampled_from(["add", "drop", "init"])
    ),
    st.builds(wire.GroupEdit, texts, st.just("join"), texts, st.none() | texts),
    st.builds(wire.GroupEdit, texts, st.just("alias"), texts, texts),
    st.builds(wire.GroupEdit, texts, st.just("drop"), texts, st.none(), texts),
    st.builds(wire.Ack, texts, texts),
    st.just(wire.Pulse()),
).map(lambda request: (request, b""))

requests = st.one_of(with_data(), without_data)
"""Any request of a session but Quit, and its data."""

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def write_wildly(header: dict[str, Any], chance: random.Random) -> str:
    """The JSON of a header as some client might write it: any case, order, spacing and escapes, with keys
    that mean nothing, and with others said before with another value of the same type.
    """

    def space() -> str:
        return chance.choice(["", "", "", " ", "\n", "\t \r"])

    def key(name: str) -> str:
        cased = "".join(chance.choice([c, c, c.upper()]) for c in name)
        return (
            json.dumps(cased)
            if chance.random() < 0.8
            else '"' + "".join(f"\\u{ord(c):04X}" for c in cased) + '"'
        )

    def value(it: Any) -> str:
        if isinstance(it, dict):
            pairs = [f"{space()}{key(k)}{space()}:{space()}{value(v)}{space()}" for k, v in it.items()]
            doubles = [f"{key(k)}:{value(v)}" for k, v in it.items() if chance.random() < 0.1]
            junk = ['"junk":[{"op":12,"Id":null},1.5e9]', '"":0', '"ops":7'] if chance.random() < 0.3 else []
            chance.shuffle(pairs)
            return "{" + ",".join(doubles + junk + pairs) + "}"
        if isinstance(it, list):
            return "[" + ",".join(space() + value(e) + space() for e in it) + "]"
        return json.dumps(it, ensure_ascii=chance.random() < 0.5)

    return space() + value(header) + space()
