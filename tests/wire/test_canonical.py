"""The canonical form of headers, and the sums over it: TMTP revision 1, section 1."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance import wire
from appliance.wire.canonical import headsum_holds

from .conversation import UID, crc32c, json_values


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("plain", '"plain"'),
        ("<b>&</b>", r'"\u003cb\u003e\u0026\u003c/b\u003e"'),
        ("\u2028 \u2029", r'"\u2028 \u2029"'),
        ("\n\r\t", r'"\n\r\t"'),
        ("\x00\x08\x0c\x0b\x1f", r'"\u0000\u0008\u000c\u000b\u001f"'),
        ("\x7f\x80", '"\x7f\x80"'),
        ('"\\/', r'"\"\\/"'),
        ("Zoë \U0001f600 \ufffd", '"Zoë \U0001f600 \ufffd"'),
        ("\ud800x\udfff", '"\ufffdx\ufffd"'),
    ],
)
def test_text_is_written_in_the_canonical_form(text: str, written: str) -> None:
    assert wire.canonical_json({"k": text}) == '{"k":' + written + "}"


def test_keys_are_sorted_and_nothing_is_spaced() -> None:
    header = {
        "op": "ohiedit",
        "for": [{"Type": 0, "Id": "U"}, {}],
        "b": True,
        "a": None,
        "Z": [1, "x"],
        "n": False,
    }
    assert wire.canonical_json(header) == (
        '{"Z":[1,"x"],"a":null,"b":true,"for":[{"Id":"U","Type":0},{}],"n":false,"op":"ohiedit"}'
    )


@given(st.dictionaries(st.text(max_size=5), json_values.filter(lambda v: "." not in json.dumps(v))))
def test_canonical_json_is_json_of_the_same_value(header: dict[str, object]) -> None:
    try:
        written = wire.canonical_json(header)
    except wire.LocalProtocolError:
        assert "e" in json.dumps(header)
        return
    assert json.loads(written) == header
    assert not any(c in written for c in "<>&\u2028\u2029\n")


@pytest.mark.parametrize("value", [1.5, b"x", object(), {1, 2}])
def test_what_headers_cannot_hold_is_our_own_error(value: object) -> None:
    with pytest.raises(wire.LocalProtocolError):
        wire.canonical_json({"k": value})


def test_the_bitwise_sum_of_these_tests_is_the_castagnoli_sum() -> None:
    assert crc32c(b"123456789") == 0xE3069283


DELIVERY = (
    b'00a5{"datahead":2,"datalen":5,"datasum":4294967295,"from":"%+123456789BCDFGHJKLMNPQRSTVWXYZ",'
    b'"id":"17d0a1b2c3d4e5f6","op":"delivery","posted":"2006-01-02T15:04:05.000Z"}'
)
MEMBER = (
    '00b1{"act":"join","alias":"Zoë \\u003c\\u0026\\u003e\\u2028","datalen":0,"from":"%+12",'
    '"gid":"friends of ☕","id":"0000000000000001","op":"member","posted":"1970-01-01T00:00:00.001Z"}'
).encode()


def with_sum(head: bytes, before: bytes) -> bytes:
    """The frame head with its headsum, worked out by hand, ahead of the key `before`."""
    body = head[4:].replace(before, b'"headsum":%d,%b' % (crc32c(head), before), 1)
    return b"%04x%b" % (len(body), body)


def test_the_vectors_are_frames() -> None:
    for head in (DELIVERY, MEMBER):
        assert int(head[:4], 16) == len(head) - 4
        assert json.loads(head[4:])


def test_a_delivery_has_the_headsum_of_its_head_without_it() -> None:
    made = wire.encode_message("delivery", UID, 0x17D0A1B2C3D4E5F6, 1136214245000, 5, 2, 0xFFFFFFFF)
    assert made == with_sum(DELIVERY, b'"id"')


def test_a_message_with_fields_of_its_own_is_written_sorted_and_summed() -> None:
    alias = "Zoë <&>\u2028"
    made = wire.encode_message("member", "%+12", 1, 1, 0, act="join", gid="friends of ☕", alias=alias)
    assert made == with_sum(MEMBER, b'"id"')


@pytest.mark.parametrize("extra", [{}, {"notify": 1}])
def test_a_datahead_or_datasum_of_0_is_left_out_and_a_datalen_of_0_is_not(extra: dict[str, int]) -> None:
    head = wire.encode_message("delivery", UID, 1, 1, 0, 0, 0, **extra)
    assert {"datalen", "datahead", "datasum"} & set(json.loads(head[4:])) == {"datalen"}


def test_the_headsum_is_where_it_sorts_whatever_the_other_keys() -> None:
    made = wire.encode_message("ohiedit", "%+12", 1, 1, 0, for_=[{"Id": "U", "Type": 0}], type="add")
    assert made[4:].startswith(b'{"datalen":0,"for":[{"Id":"U","Type":0}],"from":"%+12","headsum":')
    keys = list(json.loads(made[4:]))
    assert keys == sorted(keys)


EXTRAS = st.fixed_dictionaries(
    {},
    optional={
        **{
            name: st.text(max_size=6)
            for name in (
                "node",
                "newalias",
                "newnode",
                "nodeid",
                "alias",
                "to",
                "gid",
                "act",
                "postid",
                "type",
            )
        },
        "notify": st.integers(0, 200),
        "for_": st.lists(st.fixed_dictionaries({"Id": st.text(max_size=4), "Type": st.just(0)}), max_size=2),
    },
)
LENGTHS = st.integers(0, (1 << 63) - 1)


@given(
    st.text(max_size=40),
    st.integers(0, (1 << 64) - 1),
    st.integers(0, 4102444800000),
    LENGTHS,
    LENGTHS,
    st.none() | LENGTHS,
    EXTRAS,
)
def test_every_message_is_canonical_and_its_headsum_holds(
    from_: str,
    msgid: int,
    posted_ms: int,
    datalen: int,
    datahead: int,
    datasum: int | None,
    extra: dict[str, object],
) -> None:
    head = wire.encode_message("delivery", from_, msgid, posted_ms, datalen, datahead, datasum, **extra)  # type: ignore[arg-type]
    assert int(head[:4], 16) == len(head) - 4
    header = json.loads(head[4:])
    assert head[4:].decode() == wire.canonical_json(header)
    headsum = header.pop("headsum")
    bare = wire.canonical_json(header).encode()
    assert headsum == crc32c(b"%04x%b" % (len(bare), bare))
    assert headsum_holds(head)
    assert header["datalen"] == datalen and ("datahead" in header) is bool(datahead)
    assert ("datasum" in header) is bool(datasum)
    assert header["id"] == f"{msgid:016x}" and header["from"] == from_
    assert {name.rstrip("_") for name in extra} <= set(header)


def test_a_headsum_holds_where_it_is_the_last_key() -> None:
    bare = b'0014{"a":"x, \\"}","b":1}'
    written = bare[4:-1] + b',"headsum":%d}' % crc32c(bare)
    assert headsum_holds(b"%04x%b" % (len(written), written))


def test_a_changed_or_missing_headsum_does_not_hold() -> None:
    head = wire.encode_message("delivery", UID, 1, 1, 5)
    assert not headsum_holds(head.replace(b'"datalen":5', b'"datalen":6'))
    assert not headsum_holds(DELIVERY)


def test_what_does_not_fit_in_a_header_is_our_own_error() -> None:
    with pytest.raises(wire.LocalProtocolError, match="does not fit"):
        wire.encode_message("member", UID, 1, 1, 0, alias="&" * 11000)
    assert wire.encode_message("member", UID, 1, 1, 0, alias="&" * 10000)


def test_an_ack_says_when_and_as_what_a_message_was_taken() -> None:
    ack = b'{"id":"a\\u003cb","msgid":"000000000000002a","op":"ack","posted":"2006-01-02T15:04:05.678Z"}'
    assert wire.encode_ack("a<b", 42, 1136214245678) == b"%04x%b" % (len(ack), ack)
    assert wire.encode_ack("7") == b'0015{"id":"7","op":"ack"}'
    assert (
        wire.encode_ack("7", error="no <such> uid")
        == b'0037{"error":"no \\u003csuch\\u003e uid","id":"7","op":"ack"}'
    )


def test_an_ack_with_a_msgid_needs_a_time() -> None:
    with pytest.raises(wire.LocalProtocolError):
        wire.encode_ack("7", 42)


def test_an_error_text_is_cut_so_that_its_ack_fits_with_the_longest_id() -> None:
    ack = wire.encode_ack("\x01" * 10_000, error="\x02" * 100_000)
    assert json.loads(ack[4:])["error"] == "\x02" * 800


def test_presence_is_told_by_uid() -> None:
    assert wire.encode_ohi("U", 2) == b'0022{"from":"U","op":"ohi","status":2}'
