"""How a JSON header is read: TMTP revision 1, section 1. All by way of a link, as a client would find it."""

import json
from typing import Any

import pytest

from appliance import wire
from appliance.wire import reasons

from .conversation import frame, greeted, logged_in, read

BAD = [reasons.INVALID_HEADER]


def outcome(header: str | bytes, data: bytes = b"") -> Any:
    """What one request makes on a link with a session."""
    events = read(logged_in(), [frame(header, data)])
    return events[0] if len(events) == 1 else events


@pytest.mark.parametrize(
    "header",
    [
        '{"Op":7,"Id":"1","Datalen":2,"For":[{"Id":"U","Type":1}]}',
        '{"OP":7,"ID":"1","DATALEN":2,"FOR":[{"ID":"U","TYPE":1}]}',
        '{"op":7,"iD":"1","dataLen":2,"fOr":[{"iD":"U","tyPe":1}]}',
        '{"op":7,"\\u0069d":"1","d\\u0061talen":2,"for":[{"id":"U","\\u0054ype":1}]}',
        ' {\t"op" :\n7 ,\r"id": "1", "datalen":2,"for" : [ { "id":"U","type":1 } ] }\n',
        '{"for":[{"type":1,"id":"U"}],"datalen":2,"id":"1","op":7}',
        '{"op":7,"id":"1","datalen":2,"for":[{"id":"U","type":1,"x":{"id":""}}],"y":[1e400,-0.0,{}],"":null}',
        '{"op":7,"id":"1","datalen":2,"for":[{"id":"U","type":1}],"uid":"","to":"","notelen":0,"datahead":null}',
    ],
)
def test_keys_in_any_case_and_what_means_nothing_make_no_difference(header: str) -> None:
    request = outcome(header, b"hi")
    assert isinstance(request, wire.Post)
    assert (request.id, request.to, request.datalen, request.data) == ("1", [wire.Target("U", 1)], 2, b"hi")
    assert request.head == frame(header)


def test_a_key_may_have_a_long_s() -> None:
    request = outcome('{"op":7,"id":"1","datalen":1,"data\u017fum":5,"for":[]}', b"x")
    assert isinstance(request, wire.Post) and request.datasum == 5


@pytest.mark.parametrize(
    ("header", "label"),
    [
        ('{"op":3,"id":"1","newnode":"a","newnode":"b"}', "b"),
        ('{"op":3,"id":"1","newnode":"a","NewNode":"b","Newnode":"c"}', "c"),
        ('{"op":10,"Op":3,"id":"1","ID":"2","newnode":"a"}', "a"),
        ('{"op":3,"id":"1","newnode":null,"newnode":"a","newalias":"b","newalias":null}', "a"),
        ('{"op":3,"for":[{"id":""}],"id":"1","newnode":"a","for":[]}', "a"),
    ],
)
def test_of_a_key_given_twice_the_last_counts(header: str, label: str) -> None:
    request = outcome(header)
    assert isinstance(request, wire.UserEdit) and request.newnode == label and request.newalias is None


def test_the_last_counts_also_across_cases_for_op() -> None:
    assert outcome('{"op":1,"OP":2,"op":11}') == wire.Pulse()
    (request,) = read(greeted(), [frame('{"op":1,"OP":2,"op":1,"newnode":"x"}')])
    assert request == wire.Register("x")


@pytest.mark.parametrize(
    "header",
    [
        '{"op":10,"id":"1","type":"n","type":null}',
        '{"op":11,"op":null}',
        '{"op":null}',
        '{"id":"1"}',
        '{"op":7,"id":"1","datalen":1,"for":[],"for":null}',
        '{"op":7,"id":"1","datalen":null,"for":[]}',
    ],
)
def test_null_counts_as_absent(header: str) -> None:
    assert outcome(header) == reasons.INVALID_HEADER


ACK = '{"op":10,"id":"1","type":"n"'

WRONG_TYPES = [
    *(f'{{"op":{op}}}' for op in ("11.0", "true", '"11"', "[11]", "{}", "-1", "13", "1e1", "1" * 400, "256")),
    *(
        f'{ACK},"datalen":{n}}}'
        for n in ("false", '"0"', "0.0", "-1", "1" * 20, "1" * 5000, "9223372036854775808")
    ),
    *(f'{ACK},"datasum":{n}}}' for n in ("false", '"0"', "0.0", "-1", "18446744073709551616")),
    *(
        f'{ACK},"{key}":{value}}}'
        for key in ("uid", "node", "newalias", "gid", "from", "to")
        for value in ("1", "[]")
    ),
    *(
        f'{ACK},"{key}":{value}}}'
        for key in ("for", "NoteFor")
        for value in ('"x"', "{}", '["x"]', "[[]]", "[null]")
    ),
    *(
        f'{ACK},"for":[{{"id":"x","type":{value}}}]}}'
        for value in ("1.0", "true", '"1"', "9223372036854775808")
    ),
    *(f'{ACK},"for":[{{"type":1,"id":{value}}}]}}' for value in ("1", "true", "[]", "null")),
    *(f'{ACK},"{key}":-1}}' for key in ("datahead", "notelen", "NoteHead", "notesum")),
    *(f'{ACK},"fornotself":{value}}}' for value in ("1", "0", '"true"')),
    *(f'{ACK},"oidc":{value}}}' for value in ("1", "[]", '"x"')),
    '{"op":10,"id":1,"id":"1","type":"n"}',
    '{"op":"x","op":11}',
]


@pytest.mark.parametrize("header", WRONG_TYPES)
def test_a_wrong_type_is_an_invalid_header_in_any_op_and_also_where_it_does_not_count(header: str) -> None:
    assert outcome(header) == reasons.INVALID_HEADER


def test_a_long_or_odd_number_where_nobody_looks_is_ignored() -> None:
    assert outcome('{"op":11,"x":' + "1" * 5000 + ',"y":-0,"z":1.5e-7}') == wire.Pulse()


NO_JSON = [
    b"\x00" * 8,
    b'"op":11}',
    b'{"op":11',
    b'{"op":11} x',
    b'{"op":11}{}',
    b'{"op":11,}',
    b'{"op":11,"x":NaN}',
    b'{"op":11,"x":Infinity}',
    b'{"op":11,"x":-Infinity}',
    b'{"op":NaN}',
    b'{"op":011}',
    b'{"op":+11}',
    b'{"op":0xb}',
    b"{'op':11}",
    b"{op:11}  ",
    b'{"op":11,"x":"\x01"}',
    b'{"op":11,"x":"\n"}',
    b'{"op":11,"x":"\\x"}',
    b'{"op":11,"x":"\\u00g0"}',
    b'{"op":11,"x":"\\u 123"}',
    b'{"op":11,"x":1.}',
    b'{"op":11,"x":.5}',
    b'{"op":11,"x":True}',
    b'{"op":11} // x',
    b'\x0c{"op":11}',
    b'\xa0{"op":11}',
    b'\xef\xbb\xbf{"op":11}',
    '{"op":11}'.encode("utf-16"),
    '{"op":11}'.encode("utf-32-le"),
    b'{"op":11,"x":' + b"[" * 30_000 + b"]" * 30_000 + b"}",
    b'{"op":11,"x":' + b'{"a":' * 10_000 + b"1" + b"}" * 10_000 + b"}",
    b"[" * 60_000,
    b"[11]    ",
    b"11      ",
    b'"op:11" ',
    b"null    ",
]


@pytest.mark.parametrize("header", NO_JSON, ids=lambda header: repr(header[:24]))
def test_what_is_no_json_object_is_an_invalid_header(header: bytes) -> None:
    assert outcome(header) == reasons.INVALID_HEADER


@pytest.mark.parametrize("depth", range(100, 1000, 3))
def test_no_depth_of_nesting_gets_through_the_reader_and_breaks_what_comes_after(depth: int) -> None:
    nested = '{"op":1,"newnode":"x","oidc":{"x":' + '{"a":' * depth + "1" + "}" * depth + "}}"
    (event,) = read(greeted(), [frame(nested)])
    assert event == reasons.INVALID_HEADER or isinstance(event, wire.Register)


@pytest.mark.parametrize(
    ("written", "seen"),
    [
        (b"a\xffb", "a\ufffdb"),
        (b"\xed\xa0\x80", "\ufffd\ufffd\ufffd"),
        (b"\\ud800", "\ufffd"),
        (b"x\\udc00y\\uD800", "x\ufffdy\ufffd"),
        (b"\\ud83d\\ude00", "\U0001f600"),
        (b"\\ud83d\xf0\x9f\x98\x80", "\ufffd\U0001f600"),
        ("Zoë".encode(), "Zoë"),
        (b"\\u0000\\/\\b\x7f", "\x00/\b\x7f"),
    ],
)
def test_bad_utf8_and_lone_surrogates_are_read_as_fffd(written: bytes, seen: str) -> None:
    ack = outcome(b'{"op":10,"id":"' + written + b'","type":"n"}')
    edit = outcome(b'{"op":4,"id":"1","type":"add","for":[{"id":"' + written + b'"}]}')
    assert isinstance(ack, wire.Ack) and ack.id == seen
    assert isinstance(edit, wire.OhiEdit) and edit.to == [seen]


def test_bad_utf8_in_what_is_ignored_is_ignored() -> None:
    assert outcome(b'{"op":11,"\xff":"\xff","\\ud800":1}') == wire.Pulse()


def test_what_oidc_holds_is_plain_and_folded_to_lower_case() -> None:
    token = (
        '{"Token_Type":"x","expires_in":3.5,"scope":null,"more":[{"A":1,"a":null,"B":"\\ud800"}],"big":'
        + "9" * 30
        + "}"
    )
    (request,) = read(greeted(), [frame('{"op":1,"newnode":"x","OIDC":' + token + "}")])
    assert isinstance(request, wire.Register) and request.oidc is not None
    assert request.oidc.pop("big") >= 1 << 64
    assert request.oidc == {"token_type": "x", "expires_in": 3.5, "more": [{"b": "\ufffd"}]}


def test_a_length_may_have_digits_of_either_case() -> None:
    header = '{"op":11,"x":"' + "y" * (0xABCD - 16) + '"}'
    for digits in (b"abcd", b"ABCD", b"aBcD"):
        assert read(logged_in(), [digits + header.encode()]) == [wire.Pulse()]


@pytest.mark.parametrize(
    "digits",
    [
        b"0007",
        b"0000",
        b"+009",
        b"-009",
        b" 009",
        b"009 ",
        b"0_09",
        b"0x09",
        b"00g9",
        b"\x00\x00\x00\x09",
        b"9\n\n\n",
        "\uff109".encode(),
    ],
)
def test_any_other_length_is_an_invalid_header_length(digits: bytes) -> None:
    assert read(logged_in(), [digits[:4] + b'{"op":11}']) == [reasons.INVALID_HEADER_LENGTH]


def test_a_length_is_judged_when_it_is_there() -> None:
    assert read(logged_in(), [b"000"]) == []
    assert read(logged_in(), [b"0007"]) == [reasons.INVALID_HEADER_LENGTH]


def test_the_shortest_and_the_longest_header_are_read() -> None:
    assert read(logged_in(), [frame('{"op":1}')]) == [reasons.INVALID_HEADER]
    longest = json.dumps({"op": 11, "x": "y" * (0xFFFF - 16)}, separators=(",", ":"))
    assert len(longest) == 0xFFFF
    assert read(logged_in(), [frame(longest)]) == [wire.Pulse()]
