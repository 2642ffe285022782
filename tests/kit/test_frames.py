"""The judge judged: the kit's own reading of frames, on vectors made by hand."""

from __future__ import annotations

import pytest

from .frames import Frame, Splitter, canonical, crc32c, head_of

BARE = {
    "datalen": 3,
    "from": "U",
    "id": "0123456789abcdef",
    "op": "delivery",
    "posted": "2006-01-02T15:04:05.000Z",
}


def queued(**changes: object) -> bytes:
    bare = {key: value for key, value in {**BARE, **changes}.items() if value is not None}
    return head_of({"headsum": crc32c(head_of(bare)), **bare})


def read(octets: bytes) -> Frame:
    splitter = Splitter()
    splitter.feed(octets)
    frame = splitter.next()
    assert frame is not None and not splitter.rest
    return frame


def test_crc32c_has_the_published_check_value() -> None:
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA


def test_canonical_json_escapes_what_section_1_lists_and_nothing_else() -> None:
    value = {"b": '<&>\u2028\u2029\n\r\t\b\f\x01\x7f/é\U0001f600"\\', "a": [1, {"Type": 0, "Id": "x"}]}
    assert canonical(value) == (
        r'{"a":[1,{"Id":"x","Type":0}],"b":"\u003c\u0026\u003e\u2028\u2029\n\r\t\u0008\u000c\u0001'
        + '\x7f/é\U0001f600\\"\\\\"}'
    )


def test_a_right_frame_is_read_whatever_the_chunks() -> None:
    octets = queued() + b"abc"
    assert read(octets).data == b"abc"
    splitter = Splitter()
    for octet in octets[:-1]:
        splitter.feed(bytes([octet]))
        assert splitter.next() is None
    splitter.feed(octets[-1:])
    assert splitter.next() == read(octets)


@pytest.mark.parametrize(
    "octets",
    [
        queued().replace(b'"headsum":', b'"headsum":1') + b"abc",
        queued().replace(b"delivery", b"notabene") + b"abc",
        queued(datahead=0) + b"abc",
        queued(datasum=0) + b"abc",
        queued(postid="0123456789abcdef") + b"abc",
        queued(posted="2006-01-02T15:04:05Z") + b"abc",
        queued(id="0123456789ABCDEF") + b"abc",
        queued(datalen=None),
        head_of(BARE) + b"abc",
        b'001a{"op":"ack","id":"1" }   ',
        b'0015{"op":"ack","id":"1"}',
        b'002D{"id":"1","msgid":"0123456789abcdef","op":"ack"}',
    ],
)
def test_a_wrong_frame_is_told(octets: bytes) -> None:
    with pytest.raises((AssertionError, ValueError)):
        read(octets)


def test_a_key_that_may_be_there_but_was_not_expected_is_a_difference() -> None:
    frame = read(queued(notify=2) + b"abc")
    assert frame.differs("delivery", {"data": b"abc", "notify": 2}) == ""
    assert "notify" in frame.differs("delivery", {"data": b"abc"})
    assert "notify=3" in frame.differs("delivery", {"notify": 3})
    assert "data" in frame.differs("delivery", {"data": b"abd", "notify": 2})
    assert "op ping" in frame.differs("ping", {})
