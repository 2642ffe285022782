"""Two engines against each other, however the octets are cut, whatever is committed meanwhile."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance import replication
from appliance.replication import stream
from appliance.replication.engine import ON_FRAME, ON_SENT, LinkState, PeerLink
from appliance.replication.errors import BadFrame, Code, Impostor, PeerError, Refusal, Refused
from appliance.replication.frames import FRAMES, VERSION, Op, encode
from appliance.replication.interface import Octets
from appliance.wire import LocalProtocolError
from tests.replication.ends import End, linked, move, settle, two
from tests.replication.fakes import FakeReplica, Signer

quick = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


def test_boxes_that_differ_become_the_same_in_both_directions():
    a, b, boxes = two()
    for _ in range(30):
        a.add()
    for _ in range(20):
        b.add(300)
    x, y = linked(a, b, boxes)
    assert a.positions() == b.positions()
    assert x.reached and y.reached
    assert x.outgoing.stream.confirmed == y.outgoing.stream.confirmed == {a.own: 30, b.own: 20}


def test_what_is_committed_later_goes_out_at_once_and_once():
    a, b, boxes = two()
    x, y = linked(a, b, boxes)
    before = len(y.events)
    a.add()
    settle(x, y)
    b.add()
    settle(x, y)
    assert a.positions() == b.positions() and len(a.order) == 2
    live = [event for event in y.events[before:] if type(event).__name__ == "Entries"]
    assert [event.live for event in live] == [True]


STEPS = [f"{step}{box}" for step in ("add", "read", "done", "move", "absorb", "send") for box in "AB"]
actions = st.lists(
    st.tuples(st.sampled_from([*STEPS, "addC", "readC"]), st.integers(1, 3000)),
    max_size=150,
)


@quick
@given(st.lists(actions, min_size=1, max_size=4), st.integers(1, 2000), st.integers(1, 8))
def test_any_interleaving_with_lost_links_ends_in_the_same_journals_and_never_an_effect_before_its_cause(
    links, max_octets, queue_entries
):
    """The fake replica fails if an entry comes before what its maker had applied. A third box writes to
    both sides, as another link would.
    """
    a, b, boxes = two()
    c = FakeReplica(3, boxes)
    with mock.patch.object(stream, "QUEUE_ENTRIES", queue_entries):
        for actions in links:
            x, y = End.pair(a, b, (1, 2), boxes)
            ends = {"A": x, "B": y}
            for _ in range(len(actions) % 7):
                move(x, y)
                move(y, x)
            for action, number in actions:
                if action.startswith("add"):
                    {"A": a, "B": b, "C": c}[action[3]].add(number % 500)
                elif action == "readC":
                    for source, target in itertools.permutations((a, b, c) if number % 2 else (a, c), 2):
                        after = {box: at.seq for box, at in target.heads.items()}
                        target.absorb_now(source.read_now(after, number))
                else:
                    end, other = ends[action[-1]], ends["B" if action[-1] == "A" else "A"]
                    if action.startswith("read"):
                        end.begin_read(number % 2 == 0, max_octets)
                    elif action.startswith("done"):
                        end.end_read(max_octets)
                    elif action.startswith("move"):
                        move(end, other, number)
                    elif action.startswith("absorb"):
                        end.absorb()
                    else:
                        end.send()
            x.close()
            y.close()
    x, y = linked(a, b, boxes)
    assert a.positions() == b.positions()
    assert x.outgoing.stream.unconfirmed == y.outgoing.stream.unconfirmed == 0
    assert sorted(a.order) == sorted(set(a.order)) and sorted(a.order) == sorted(b.order)


@quick
@given(st.lists(st.integers(1, 400), min_size=1))
def test_the_events_are_the_same_however_the_stream_is_cut(cuts):
    def run(sizes):
        a, b, boxes = two()
        for _ in range(10):
            a.add(100)
        nonce = lambda: bytes(32)  # noqa: E731
        x = End(a, PeerLink.dialer(Signer(1), b.own, boxes[b.own], nonce=nonce), boxes)
        y = End(b, PeerLink.acceptor(Signer(2), nonce=nonce), boxes)
        x.wire.append(x.link.hello())
        for size in sizes:
            moved = move(x, y, size)
            moved |= move(y, x, size)
            if not moved and not any(
                [x.begin_read(), x.end_read(1000), y.begin_read(), y.end_read(9), y.absorb()]
            ):
                sent = [x.send(), y.send()]
                if not any(sent) and not x.wire and not y.wire:
                    break
        return [
            e
            for e in y.events
            if type(e).__name__ in ("Greeted", "Proven", "PeerState", "Entries", "Reached")
        ]

    assert run(itertools.cycle(cuts)) == run(itertools.repeat(1 << 20))


def test_a_stream_that_is_asked_to_begin_anew_goes_on_from_there():
    a, b, boxes = two()
    x, y = linked(a, b, boxes)
    for _ in range(5):
        a.add()
    while x.send():
        pass
    y.begin_anew()
    for _ in range(5):
        a.add()
    settle(x, y)
    assert b.positions() == a.positions()


@pytest.mark.parametrize("commits", [1, 5])
def test_what_is_committed_during_the_last_read_is_not_forgotten(commits):
    a, b, boxes = two()
    x, y = End.pair(a, b, (1, 2), boxes)
    while not x.begin_read(early=True):
        move(x, y)
        move(y, x)
    with mock.patch.object(stream, "QUEUE_ENTRIES", 3):
        for _ in range(commits):
            a.add()
        x.end_read(1 << 20)
        settle(x, y)
        a.add()
        settle(x, y)
    assert b.positions() == a.positions()


def test_who_had_to_let_entries_go_gets_them_again_and_takes_none_from_before_that():
    a, b, boxes = two()
    x, y = linked(a, b, boxes)
    a.add()
    x.send()
    move(x, y)
    assert y.intake.take(), "as if the disk were full"
    a.add()
    x.send()
    y.begin_anew()
    settle(x, y)
    assert b.positions() == a.positions()


def test_beginning_anew_in_the_middle_of_a_read_leaves_no_hole():
    a, b, boxes = two()
    for _ in range(20):
        a.add(200)
    x, y = End.pair(a, b, (1, 2), boxes)
    while not x.begin_read():
        move(x, y)
        move(y, x)
    x.end_read(2000)
    x.begin_read()
    y.begin_anew()
    move(y, x)
    settle(x, y, 2000)
    assert b.positions() == a.positions()


def test_a_peer_that_falls_behind_gets_the_rest_from_the_database():
    a, b, boxes = two()
    x, y = linked(a, b, boxes)
    for _ in range(5000):
        a.add(1)
    assert x.outgoing.stream.wants_read is False, "the queue is sent first"
    assert x.outgoing.stream.queued <= 4096
    settle(x, y)
    assert b.positions() == a.positions()


def test_no_more_goes_out_than_the_window_until_it_is_confirmed():
    a, b, boxes = two()
    x, y = linked(a, b, boxes)
    for _ in range(100):
        a.add(100_000)
    while x.send() or x.begin_read() or x.end_read(1 << 20):
        pass
    assert 1 << 20 < sum(map(len, x.wire)) <= 2 << 20
    settle(x, y)
    assert b.positions() == a.positions()


def test_an_entry_larger_than_a_frame_comes_with_its_octets_in_parts_and_is_confirmed_when_all_are_there():
    a, b, boxes = two()
    x, y = linked(a, b, boxes)
    octets = [Octets(i, b"head", bytes(60_000)) for i in range(1, 101)]
    a.messages.update({o.msgid: o for o in octets})
    a.add(10, octets)
    sent = []
    while x.send():
        sent.append(len(x.wire[-1]))
    assert sum(sent) > 6_000_000 and max(sent) < 300_000
    while len(x.wire) > 1:
        y.receive(x.wire.popleft())
        while y.absorb():
            pass
        assert not y.send(), "nothing is confirmed before the last part"
    settle(x, y)
    assert x.outgoing.stream.confirmed[a.own] == 1
    assert b.messages == a.messages


def test_a_gap_is_told_and_the_other_direction_goes_on():
    a, b, boxes = two()
    for _ in range(5):
        a.add()
    a.cut(a.own, 3)
    x, y = linked(a, b, boxes)
    b.add()
    settle(x, y)
    assert any(type(event).__name__ == "GapMet" and event.box == a.own for event in y.events)
    assert a.heads[b.own].seq == 1 and a.own not in b.heads


def test_a_barred_box_is_left_out_and_holds_nobody_up():
    boxes: dict[str, bytes] = {}
    a, b, c = (FakeReplica(seed, boxes) for seed in (1, 2, 3))
    c.add()
    a.absorb_now(c.read_now({}, 1000))
    x, y = End.pair(a, b, (1, 2), boxes)
    y.outgoing.stream.bar(c.own)
    x.outgoing.stream.bar(c.own)
    settle(x, y)
    assert c.own not in b.heads and x.reached and y.reached
    assert x.outgoing.stream.unconfirmed == 0


def test_nobody_takes_what_was_signed_for_another_link():
    a, b, boxes = two()
    first, y = End.pair(a, b, (1, 2), boxes)
    hello = first.wire[0]
    move(first, y)
    move(y, first)
    proof = first.wire[0]
    again = End(b, PeerLink.acceptor(Signer(2)), boxes)
    again.receive(hello)
    with pytest.raises(Impostor):
        again.receive(proof)
    other = End(b, PeerLink.acceptor(Signer(2), nonce=lambda: y.link._nonce), boxes)
    other.receive(encode(Op.HELLO, {"box": a.own, "nonce": bytes(32), "purpose": "sync", "version": VERSION}))
    with pytest.raises(Impostor):
        other.receive(proof)


def test_somebody_without_the_key_is_no_peer():
    a, b, boxes = two()
    x = End(a, PeerLink.dialer(Signer(3), b.own, boxes[b.own]), boxes)
    y = End(b, PeerLink.acceptor(Signer(2)), boxes)
    hello = encode(Op.HELLO, {"box": a.own, "nonce": bytes(32), "purpose": "sync", "version": VERSION})
    x.link.hello()
    y.receive(hello)
    move(y, x)
    with pytest.raises(Impostor):
        move(x, y)


def test_a_refusal_says_why_in_words_that_are_safe_to_print():
    a, b, boxes = two()
    x, y = End.pair(a, b, (1, 2), boxes)
    move(x, y)
    y.wire.clear()
    x.link.state = LinkState.AWAITING_WELCOME
    frame = y.link.refuse(Code.REVOKED, "this box was revoked\x1b[2J")
    with pytest.raises(Refused) as refused:
        x.receive(frame)
    assert refused.value.said == "revoked" and str(refused.value) == "this box was revoked?[2J"
    assert y.link.refuse(Code.STOPPING, "again") == b"" and x.link.next_event() is None


NEWER_BEAT = b'002b{"absent":0,"clock":7,"mood":1,"op":"beat"}'


def test_ops_and_fields_of_a_newer_version_are_left_out_those_of_ours_are_not():
    a, b, boxes = two()
    y = End(b, PeerLink.acceptor(Signer(2)), boxes)
    x = PeerLink.dialer(Signer(1), b.own, boxes[b.own])
    hello = x.hello().replace(b'"version":1', b'"version":2')
    y.receive(hello)
    x.receive_data(y.wire[0])
    x.next_event()
    y.receive(x.prove())
    y.receive(encode(Op.STATE, {"clock": 1, "complete": True, "epoch": 0, "program": ""}, b"\x80"))
    before = len(y.events)
    y.receive(b'0025{"datalen":5,"op":"scrub","what":"x"}hello' + NEWER_BEAT)
    assert [type(event).__name__ for event in y.events[before:]] == ["Beat"]
    a, b, boxes = two()
    x, y = linked(a, b, boxes)
    with pytest.raises(BadFrame):
        y.receive(NEWER_BEAT)


def test_a_link_for_an_unknown_purpose_is_refused_with_what_to_do():
    _, b, boxes = two()
    y = End(b, PeerLink.acceptor(Signer(2)), boxes)
    with pytest.raises(Refusal, match="update"):
        y.receive(encode(Op.HELLO, {"box": b.own, "nonce": bytes(32), "purpose": "scrub", "version": 1}))


def test_tables_are_whole_and_asking_out_of_turn_is_our_bug():
    for table in (ON_FRAME, ON_SENT):
        for row in table.values():
            assert set(row) <= set(Op)
    assert set(FRAMES) == set(Op)
    link = PeerLink.acceptor(Signer(2))
    for say in (link.welcome, link.prove, lambda: link.say_beat(1), lambda: link.say_gap("x" * 8)):
        with pytest.raises(LocalProtocolError):
            say()
    assert link.state is LinkState.AWAITING_HELLO


def test_who_is_not_proven_cannot_make_a_box_hold_much():
    link = PeerLink.acceptor(Signer(2))
    link.receive_data(b"ffff{")
    with pytest.raises(BadFrame):
        link.next_event()
    link = PeerLink.acceptor(Signer(2))
    link.receive_data(
        encode(Op.STATE, {"clock": 1, "complete": True, "epoch": 0, "program": ""}, bytes(60000))[:200]
    )
    with pytest.raises(BadFrame):
        link.next_event()
    assert link.held == 0


garbage = st.one_of(
    st.binary(max_size=200),
    st.builds(lambda n, b: b"%04x" % n + b, st.integers(0, 400), st.binary(max_size=300)),
    st.builds(
        lambda op, fields, data: _frame(op, fields, data),
        st.sampled_from([*Op, "other"]),
        st.dictionaries(
            st.sampled_from(
                ["box", "seq", "sha", "clock", "epoch", "live", "part", "offset", "octets", "follow"]
            ),
            st.one_of(st.integers(), st.booleans(), st.text(max_size=60), st.none(), st.lists(st.integers())),
        ),
        st.binary(max_size=100),
    ),
)


def _frame(op, fields, data):
    header = json.dumps({**fields, "op": op, "datalen": len(data)}).encode()
    return b"%04x" % len(header) + header + data


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(garbage, max_size=8), st.booleans(), st.integers(0, 12))
def test_no_octets_raise_anything_but_the_familys_errors(pieces, newer, steps):
    a, b, boxes = two()
    x, y = End.pair(a, b, (1, 2), boxes)
    for _ in range(steps):
        move(x, y)
        move(y, x)
        x.send()
    y.link._reader.newer = newer
    try:
        for piece in pieces:
            y.receive(piece)
    except PeerError:
        assert y.link.refuse(Code.BAD_FRAME, "no")
        assert y.link.next_event() is None


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_a_damaged_session_is_read_or_refused(data):
    a, b, boxes = two()
    for _ in range(3):
        a.add()
    x, y = End.pair(a, b, (1, 2), boxes)
    while not x.begin_read():
        move(x, y)
        move(y, x)
    x.end_read(1 << 20)
    while x.send():
        pass
    octets = bytearray(b"".join(x.wire))
    for _ in range(data.draw(st.integers(1, 4))):
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(PeerError):
        y.receive(bytes(octets))


def test_the_guide_shows_every_frame_as_it_is():
    """Each op is in the room's guide with the fields that it has."""
    shown = {}
    for header in re.findall(r"\{[^}]*\}", replication.__doc__ or ""):
        keys = re.findall(r'"(\w+)"', header)
        at = keys.index("op")
        op = keys.pop(at + 1)
        keys.remove("op")
        shown[op] = keys
    assert shown == {str(op): sorted(row.fields) for op, row in FRAMES.items()}
