"""The quick reader and the careful one never differ: the quick one may only say that it does not know."""

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance import wire
from appliance.wire import fast
from appliance.wire.errors import RemoteProtocolError
from appliance.wire.header import BadHeader, read_header
from appliance.wire.rules import KINDS, build, judge

from .conversation import UID, client_logged_in, frame, logged_in, read, requests, write_wildly
from .test_header import NO_JSON, WRONG_TYPES
from .test_rules import FULL


def careful(octets: bytes) -> wire.Request | None:
    try:
        header = read_header(octets, KINDS)
        return build(judge(header), header)
    except (BadHeader, RemoteProtocolError):
        return None


def agree(octets: bytes) -> bool:
    """Whether the quick reader knew the answer; it is then the careful one's."""
    quick = fast.read(octets)
    if quick is None:
        return False
    assert quick == careful(octets)
    return True


USUAL = [
    '{"op":7,"id":"12","datalen":1024,"datasum":3735928559,"for":[{"id":"' + UID + '","type":1}]}',
    '{"Datahead":20,"Datalen":1024,"For":[{"Id":"' + UID + '","Type":3}],"Id":"12","Op":7}',
    '{"DataLen":1024,"For":[],"Id":"12","Op":7}',
    '{"op":10,"id":"17d0a1b2c3d4e5f6","type":"n"}',
    '{"Id":"17d0a1b2c3d4e5f6","Op":10,"Type":"n"}',
    '{"Op":10,"Id":"ABCDEF","Type":"Name"}',
    '{"op":8,"id":"3","datalen":9,"notelen":3,"notehead":2,"for":[],"notefor":[{"id":"U","type":1}]}',
    '{"op":11}',
    '{"Op":11}',
]


@pytest.mark.parametrize("header", USUAL)
def test_what_clients_send_all_the_time_is_read_quickly(header: str) -> None:
    assert agree(header.encode())


@pytest.mark.parametrize("extra", ['"data":"QUJD"', '"inline":false', '"head":"QUJD"'])
@pytest.mark.parametrize("op", ['"op":7,"datalen":9', '"op":8,"datalen":9,"notelen":3', '"op":10,"type":"n"'])
def test_a_client_cannot_write_what_is_the_link_s_to_set(op: str, extra: str) -> None:
    lists = "" if "10" in op else '"for":[],'
    agree(f'{{{op},"id":"1",{lists}{extra}}}'.encode())


@given(requests.filter(lambda pair: isinstance(pair[0], wire.Post | wire.PostNotify | wire.Ack | wire.Pulse)))
def test_what_our_client_sends_all_the_time_is_read_quickly(pair: tuple[wire.Request, bytes]) -> None:
    request, _ = pair
    head = client_logged_in().encode(request)
    big = any(
        value is not None and value >= 1 << 63
        for value in (getattr(request, n, 0) for n in ("datasum", "notesum"))
    )
    assert agree(head[4:]) is not big


@given(requests, st.integers(0, 1 << 30))
def test_the_readers_agree_on_requests_however_they_are_written(
    pair: tuple[wire.Request, bytes], seed: int
) -> None:
    header = json.loads(client_logged_in().encode(pair[0])[4:])
    agree(write_wildly(header, random.Random(seed)).encode())


SCALARS = [
    None,
    True,
    0,
    1,
    2,
    3,
    4,
    -1,
    7,
    8,
    10,
    11,
    1.0,
    7.0,
    1e300,
    1 << 63,
    1 << 64,
    "",
    "x",
    "n",
    "\ufffd",
]
KEYS = [
    *KINDS,
    "Op",
    "Id",
    "For",
    "Type",
    "Datalen",
    "DataLen",
    "notefOr",
    "data",
    "head",
    "inline",
    "x",
    "data\u017fum",
]
ELEMENTS = st.lists(
    st.one_of(
        st.dictionaries(
            st.sampled_from(["id", "type", "Id", "Type", "x"]), st.sampled_from(SCALARS), max_size=3
        ),
        st.fixed_dictionaries({"id": st.sampled_from(["x", ""]), "type": st.integers(0, 4)}),
        st.sampled_from(SCALARS),
    ),
    max_size=2,
)
PAIRS = st.tuples(st.sampled_from(KEYS), st.one_of(st.sampled_from(SCALARS), ELEMENTS, st.text(max_size=3)))
STARTS = [
    [("op", 7), ("id", "1"), ("datalen", 4), ("for", [])],
    [("op", 8), ("id", "1"), ("datalen", 4), ("for", []), ("notelen", 2)],
    [("op", 10), ("id", "1"), ("type", "n")],
    [("Op", 7), ("Id", "1"), ("Datalen", 4), ("For", [])],
    [("op", 11)],
    [],
]


@given(st.sampled_from(STARTS), st.lists(PAIRS, max_size=4), st.randoms(use_true_random=False))
def test_the_readers_agree_on_headers_that_are_nearly_right(
    start: list[tuple[str, object]], more: list[tuple[str, object]], chance: random.Random
) -> None:
    pairs = [*start, *more]
    if chance.random() < 0.5:
        chance.shuffle(pairs)
    agree(("{" + ",".join(f"{json.dumps(key)}:{json.dumps(value)}" for key, value in pairs) + "}").encode())


@given(st.sampled_from(USUAL), st.data())
def test_the_readers_agree_on_headers_with_some_octets_changed(header: str, data: st.DataObject) -> None:
    octets = bytearray(header.encode())
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(octets)))
        what = data.draw(
            st.sampled_from(
                [b"", b'"', b"\\", b".", b"0", b"e", b",", b" ", b"\x00", b"\xff", b"{", b"-", b":", b"A"]
            )
        )
        octets[place : place + data.draw(st.integers(0, 2))] = what
    agree(bytes(octets))


@pytest.mark.parametrize("header", [*WRONG_TYPES, *NO_JSON], ids=lambda header: repr(header[:60]))
def test_the_quick_reader_knows_nothing_of_what_is_wrong(header: str | bytes) -> None:
    assert not agree(header.encode() if isinstance(header, str) else header)


@pytest.mark.parametrize(
    "header",
    [
        '{"op":7,"id":"1","datalen":5,"datahead":6,"for":[]}',
        '{"op":8,"id":"1","datalen":5,"for":[]}',
        '{"op":8,"id":"1","datalen":5,"notelen":0,"for":[]}',
        '{"op":8,"id":"1","datalen":5,"notelen":5,"for":[]}',
        '{"op":8,"id":"1","datalen":5,"notelen":2,"notehead":3,"for":[]}',
        '{"op":8,"id":"1","datalen":5,"notelen":2,"datahead":4,"for":[]}',
        '{"op":8,"id":"1","datalen":5,"notelen":2,"fornotself":true,"for":[]}',
        '{"op":10,"id":"' + "x" * 8000 + '","type":"n"}',
    ],
)
def test_the_quick_reader_leaves_broken_rules_and_long_headers_to_the_other(header: str) -> None:
    assert not agree(header.encode())


def test_the_quick_reader_is_not_told_what_a_link_adds_to_a_request() -> None:
    link_adds = '"data":"aGk=","inline":false,"head":"aGk="'
    header = '{"op":7,"id":"1","datalen":2,"for":[],' + link_adds + "}"
    (request,) = read(logged_in(), [frame(header, b"yo")])
    assert isinstance(request, wire.Post)
    assert (request.data, request.inline, request.head) == (b"yo", True, frame(header))
    ack = '{"op":10,"id":"1","type":"n","head":"aGk="}'
    (request,) = read(logged_in(), [frame(ack)])
    assert isinstance(request, wire.Ack) and request.head == frame(ack)


@pytest.mark.parametrize("name", FULL)
def test_the_readers_agree_on_every_op(name: str) -> None:
    assert agree(json.dumps(FULL[name]).encode()) is (name in ("Post", "PostNotify", "Ack", "Pulse"))
