"""The octets of a link: any cut of the stream is the same stream, and no stream grows the buffer."""

import itertools
import json
import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from appliance import wire
from appliance.wire import reasons

from .conversation import (
    GREETING,
    LOGIN,
    PULSE,
    REGISTER,
    UID,
    client_logged_in,
    frame,
    happenings,
    logged_in,
    pieces_of,
    read,
    requests,
    write_wildly,
)

POST = '{"op":7,"id":"%d","datalen":%d,"for":[{"id":"U","type":1}]}'
GARBAGE = st.one_of(
    st.just(b""),
    st.binary(max_size=40),
    st.sampled_from(
        [b"zzzz", b"0007{}", b"0009{op:11}", frame('{"op":0,"id":"1"}'), frame('{"op":12}') + PULSE]
    ),
)


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """A session from the greeting on, written by a client or by hand, and how it ends."""
    client = wire.ClientLink()
    parts = [client.encode(wire.TmtpRev("1")), draw(st.sampled_from([LOGIN, REGISTER]))]
    client = client_logged_in()
    chance = random.Random(draw(st.integers(0, 9999)))
    for request, data in draw(st.lists(requests, max_size=5)):
        octets = client.encode_frame(request, data)
        if chance.random() < 0.5:
            head = octets[: len(octets) - len(data)]
            octets = frame(write_wildly(json.loads(head[4:]), chance), data)
        parts.append(octets)
    parts.append(draw(GARBAGE))
    return b"".join(parts)


@given(streams(), st.lists(st.integers(0, 2000)), st.sampled_from([0, 10, 65536]))
@example(GREETING + LOGIN + frame(POST % (1, 11), b"12345678901") + PULSE, [70], 10)
def test_any_cut_of_a_stream_gives_the_same_events(stream: bytes, cuts: list[int], inline_max: int) -> None:
    whole = read(wire.ServerLink(inline_max), [stream])
    assert read(wire.ServerLink(inline_max), pieces_of(stream, cuts)) == whole
    assert read(wire.ServerLink(inline_max), pieces_of(stream, range(len(stream)))) == whole


@given(streams(), st.lists(st.integers(0, 2000)))
def test_a_link_need_not_be_drained_before_more_is_received(stream: bytes, cuts: list[int]) -> None:
    whole = read(wire.ServerLink(), [stream])
    late = wire.ServerLink()
    found: list[object] = []
    for piece in pieces_of(stream, cuts):
        late.receive_data(piece)
        found += itertools.islice(happenings(late), 1)
    found += happenings(late)
    assert found[: len(whole)] == whole


@given(st.lists(st.tuples(st.integers(0, 120), st.integers(1, 300)), max_size=8), st.integers(0, 50))
def test_any_cut_of_what_a_server_sends_gives_the_same_messages(
    sizes: list[tuple[int, int]], inline_max: int
) -> None:
    stream = b""
    for number, (size, cut) in enumerate(sizes):
        stream += wire.encode_message("delivery", UID, number, cut, size) + b"x" * size
        stream += wire.encode_ack(f"{number}", number, cut)
        stream += wire.encode_message("member", UID, number, cut, 0, act="join", gid="g" * cut)
    cuts = [sum(cut for _, cut in sizes[:n]) for n in range(len(sizes))]
    whole = read(client_logged_in(inline_max), [stream])
    assert sum(not isinstance(event, wire.Data) for event in whole) == 3 * len(sizes)
    assert read(client_logged_in(inline_max), pieces_of(stream, cuts)) == whole
    assert read(client_logged_in(inline_max), pieces_of(stream, range(len(stream)))) == whole


def test_the_buffer_of_the_caller_may_be_used_again() -> None:
    link = logged_in(inline_max=0)
    stream = frame(POST % (1, 6), b"abc") + b"def" + PULSE
    buffer = bytearray(7)
    found: list[object] = []
    for start in range(0, len(stream), 7):
        size = len(stream[start : start + 7])
        buffer[:size] = stream[start : start + 7]
        link.receive_data(memoryview(buffer)[:size])
        buffer[:] = b"???????"
        found += happenings(link)
    assert b"".join(event.octets for event in found if isinstance(event, wire.Data)) == b"abcdef"
    assert found[-1] == wire.Pulse()


def test_large_data_goes_through_as_it_arrives_and_uncopied() -> None:
    link = logged_in(inline_max=10)
    link.receive_data(frame(POST % (1, 30)))
    request = link.next_event()
    assert isinstance(request, wire.Post) and not request.inline and request.data == b""
    assert link.next_event() is wire.NEED_DATA
    for size, last in ((10, False), (19, False), (1, True)):
        piece = b"x" * size
        link.receive_data(piece)
        event = link.next_event()
        assert event == wire.Data(piece, last)
        assert isinstance(event, wire.Data) and event.octets is piece
        assert link.next_event() is wire.NEED_DATA
    assert read(link, [PULSE]) == [wire.Pulse()]


@pytest.mark.parametrize(("inline_max", "inline"), [(4, False), (5, True)])
def test_data_up_to_the_bound_comes_with_its_request(inline_max: int, inline: bool) -> None:
    events = read(logged_in(inline_max), [frame(POST % (1, 5), b"hello") + PULSE])
    request = events[0]
    assert isinstance(request, wire.Post) and request.inline is inline
    assert request.data == (b"hello" if inline else b"")
    assert events[1:] == [wire.Pulse()] if inline else [wire.Data(b"hello", True), wire.Pulse()]


def test_a_request_with_data_inline_waits_for_the_last_octet() -> None:
    link = logged_in()
    assert read(link, [frame(POST % (1, 5), b"hell")]) == []
    (request,) = read(link, [b"o"])
    assert isinstance(request, wire.Post) and request.data == b"hello"


def test_what_is_wrong_with_a_request_is_said_before_its_data_is_there() -> None:
    assert read(logged_in(), [frame(POST.replace('"U"', '""') % (1, 5))]) == [reasons.INVALID_HEADER]
    assert read(wire.ServerLink(), [frame(POST % (1, 5))]) == [reasons.TMTPREV_OMITTED]


@pytest.mark.parametrize("step", [1, 2, 3, 4, 5, 1000, 70_000, 200_000])
@pytest.mark.parametrize("inline_max", [100, 30_000])
def test_the_buffer_holds_one_header_its_inline_data_and_one_receive(step: int, inline_max: int) -> None:
    header = POST % (1, 30_000)
    header = header[:-1] + ',"x":"' + "y" * (0xFFFF - len(header) - 7) + '"}'
    assert len(header) == 0xFFFF
    stream = frame(header, bytes(30_000)) + PULSE * 30 + frame(header)
    link = logged_in(inline_max)
    bound = 4 + 65535 + inline_max + step
    highest = posts = 0
    for start in range(0, len(stream), step):
        link.receive_data(stream[start : start + step])
        highest = max(highest, link.buffered)
        assert highest <= bound
        posts += sum(isinstance(event, wire.Post) for event in happenings(link))
    assert posts == (1 if inline_max == 30_000 else 2)
    assert link.buffered == 0
    assert highest >= min(step, 4 + 65535)


def test_a_link_that_waits_holds_on_to_no_more_than_what_is_incomplete() -> None:
    link = logged_in()
    assert len(read(link, [PULSE * 5000 + b"000"])) == 5000
    assert link.buffered == 3
    assert link._octets == b"000"


def test_what_was_waited_for_is_forgotten_when_it_has_come() -> None:
    link = logged_in()
    link.receive_data(frame(POST % (1, 1000)))
    assert link.next_event() is wire.NEED_DATA
    link.receive_data(bytes(1000) + PULSE + PULSE[:5])
    assert isinstance(link.next_event(), wire.Post)
    link.receive_data(PULSE[5:6])
    assert link.next_event() == wire.Pulse()
    assert link.next_event() is wire.NEED_DATA
    assert read(link, [PULSE[6:]]) == [wire.Pulse()]


def test_a_link_that_is_over_holds_nothing() -> None:
    link = logged_in()
    link.receive_data(PULSE[:5])
    assert link.next_event() is wire.NEED_DATA
    link.receive_data(PULSE[5:] + PULSE)
    link.encode_quit()
    assert link.buffered == 0
    assert link.next_event() is wire.NEED_DATA
    link = logged_in()
    link.receive_data(frame('{"op":12}') + PULSE)
    assert link.next_event() == wire.Quit()
    assert link.buffered == 0
    assert link.next_event() is wire.NEED_DATA


def test_many_small_frames_in_one_receive_and_one_octet_a_receive_take_linear_time() -> None:
    """Counted in octets copied, not in seconds: what a bytearray or a slice of the buffer would make
    quadratic.
    """
    link = logged_in()
    stream = PULSE * 20_000
    link.receive_data(stream)
    assert link._octets is stream
    for _ in range(19_999):
        assert link.next_event() == wire.Pulse()
        assert link._octets is stream
    link = logged_in()
    joined = 0
    before = link._octets
    longest = POST % (1, 65_536)
    longest = longest[:-1] + " " * (0xFFFF - len(longest)) + "}"
    for octet in frame(longest, bytes(65_536)):
        link.receive_data(bytes([octet]))
        list(happenings(link))
        if link._octets is not before:
            before = link._octets
            joined += len(before)
    assert joined <= 3 * (4 + 65_535 + 65_536)


@given(st.binary(max_size=300), st.booleans())
def test_any_octets_are_events_or_a_broken_protocol(octets: bytes, first: bool) -> None:
    for link in (
        wire.ServerLink() if first else logged_in(),
        wire.ClientLink() if first else client_logged_in(),
    ):
        events = read(link, [octets])
        assert all(isinstance(event, str) for event in events[-1:]) or link.buffered <= len(octets)
