"""Octets of blobs and messages go over the link that entries go over, within limits."""

from __future__ import annotations

import hashlib

import pytest

from appliance.replication.errors import BadFrame
from appliance.replication.interface import Octets
from tests.replication.ends import linked, move, settle, two


def test_tells_and_beats_and_blobs_come_as_they_were_sent():
    a, b, boxes = two()
    x, y = linked(a, b, boxes)
    x.outgoing.say_tell("presence", b"\x00\xff")
    x.outgoing.say_beat(10**18)
    x.blobs[bytes(32)] = blob = bytes(range(256)) * 1000
    y.outgoing.say(y.link.say_want(bytes(32), 1000, 200_000))
    y.outgoing.say(y.link.say_want(bytes(31) + b"x", 0, 200_000))
    settle(x, y)
    names = [type(event).__name__ for event in y.events]
    assert {"Beat", "Told", "Lacking"} <= set(names)
    assert next(e for e in y.events if type(e).__name__ == "Told").payload == b"\x00\xff"
    chunks = [event for event in y.events if type(event).__name__ == "Chunk"]
    assert b"".join(chunk.data for chunk in chunks) == blob[1000:201_000]
    assert [chunk.offset for chunk in chunks] == [1000, 66536, 132072, 197608]


def test_entries_never_wait_for_more_than_a_chunk():
    a, b, boxes = two()
    x, y = linked(a, b, boxes)
    x.blobs[bytes(32)] = bytes(500_000)
    y.outgoing.say(y.link.say_want(bytes(32), 0, 500_000))
    y.send()
    move(y, x)
    x.send()
    a.add()
    x.wire.clear()
    x.send()
    assert b'"op":"entries"' in x.wire[0]


def test_a_stream_of_entries_leaves_room_for_chunks():
    a, b, boxes = two()
    x, y = linked(a, b, boxes)
    x.blobs[bytes(32)] = bytes(500_000)
    y.outgoing.say(y.link.say_want(bytes(32), 0, 500_000))
    y.send()
    move(y, x)
    ops = []
    for _ in range(30):
        a.add()
        x.send()
        ops.append(b'"op":"chunk"' in x.wire[-1])
    assert sum(ops) >= 5


def test_more_questions_than_allowed_are_a_breach():
    a, b, boxes = two()
    x, y = linked(a, b, boxes)
    with pytest.raises(BadFrame):
        for _ in range(10):
            y.receive(x.link.say_want(bytes(32), 0, 1))
    x, y = linked(a, b, boxes)
    with pytest.raises(BadFrame):
        for _ in range(10):
            y.receive(x.link.say_wants([1]))


def test_octets_are_answered_as_many_as_fit_and_at_least_one():
    a, b, boxes = two()
    x, y = linked(a, b, boxes)
    for i in range(1, 21):
        x.replica.messages[i] = Octets(i, b"head", bytes(60_000))
        y.replica.due_messages[i] = hashlib.sha256(b"head" + bytes(60_000)).hexdigest()
    rounds = 0
    while missing := y.replica.absent_messages():
        y.outgoing.say(y.link.say_wants(missing))
        settle(x, y)
        rounds += 1
    assert 1 < rounds <= 6
