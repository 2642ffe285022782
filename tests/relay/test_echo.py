"""What the other devices get is what a site would have given them: our own site judges, octet for octet."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance import wire
from appliance.relay.echo import copies, sent_as, trace_in, trace_of, traced_part
from tests.site.house import House

NOW_MS = 1_790_000_000_000
ITEM = 0x77
NOTE, BODY = b"note<&>", b"and the message"


def read(head: bytes, data: bytes) -> wire.Message:
    link = wire.ClientLink()
    link._state, link._greeted = wire.State.LOGGED_IN, True
    link.receive_data(head + data)
    event = link.next_event()
    assert isinstance(event, wire.Message)
    return event


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
counts = st.integers(0, len(BODY))
sums = st.none() | st.integers(0, (1 << 64) - 1)
targets = st.lists(st.builds(wire.Target, texts, st.integers(1, 3)), max_size=3)
posts = st.builds(wire.Post, st.just("1"), targets, st.just(len(BODY)), counts, sums)
notes = st.builds(
    wire.PostNotify,
    st.just("1"),
    targets,
    st.just(len(NOTE) + len(BODY)),
    counts,
    sums,
    st.just(len(NOTE)),
    st.integers(0, len(NOTE)),
    sums,
    targets,
    st.booleans(),
)
pings = st.builds(wire.Ping, st.just("1"), texts, texts, st.just(len(BODY)), counts, sums)
invites = st.builds(wire.GroupInvite, st.just("1"), texts, texts, texts, st.just(len(BODY)), counts, sums)
requests = st.one_of(posts, notes, pings, invites)


def data_of(request: Any) -> bytes:
    return NOTE + BODY if isinstance(request, wire.PostNotify) else BODY


@given(requests)
def test_each_copy_has_the_form_of_section_4_and_the_right_part_of_the_data(request: Any):
    data = data_of(request)
    made = copies(request, "ANN", ITEM, 0x1234, NOW_MS)
    ops = []
    for copy in made:
        part = data[copy.part.start : copy.part.start + copy.part.size]
        message = read(copy.head, part)
        assert (message.from_, message.posted) == ("ANN", wire.format_posted(NOW_MS))
        assert message.id == copy.upid == (ITEM if copy.op == "notify" else 0x1234)
        assert message.op == copy.op and message.datalen == copy.part.size
        assert sent_as(message) == 0x1234
        assert part == (NOTE if copy.op == "notify" else BODY)
        ops.append(copy.op)
    expected: dict[type, list[str]] = {
        wire.Post: ["delivery"],
        wire.PostNotify: ["delivery", "notify"],
        wire.Ping: ["ping"],
        wire.GroupInvite: ["invite"],
    }
    wanted = expected[type(request)]
    if isinstance(request, wire.PostNotify) and request.fornotself:
        wanted = ["notify"]
    assert ops == wanted


@given(requests)
def test_a_copy_is_known_by_what_it_has_of_its_request(request: Any):
    data = data_of(request)
    made = copies(request, "ANN", ITEM, 0x1234, NOW_MS)
    part = traced_part(request)
    messages = [read(c.head, data[c.part.start : c.part.start + c.part.size]) for c in made]
    known = [message for message in messages if trace_in(message) == trace_of(request)]
    assert len(known) == 1
    assert known[0].data == data[part.start : part.start + part.size]


@pytest.mark.parametrize(
    "request_",
    [
        wire.UserEdit("1", newalias="an alias of mine"),
        wire.OhiEdit("1", ["BOB"], "add"),
        wire.GroupEdit("1", "join", "a group of ours"),
    ],
)
def test_of_other_requests_the_site_tells_by_itself(request_: wire.Request):
    assert copies(request_, "ANN", ITEM, 0, NOW_MS) == []
    assert trace_of(request_) is None


def test_our_own_site_gives_the_other_devices_the_same():
    house = House()
    ann, bob = house.member("Ann of the house"), house.member("Bob of the house")
    phone = ann.add_node()
    to = [wire.Target(bob.uid, 1)]
    size = len(NOTE) + len(BODY)
    for request in (
        wire.Post("1", to, len(BODY), 3, 7),
        wire.PostNotify("2", to, size, 2, None, len(NOTE), 1, 9, [], False),
        wire.PostNotify("3", to, size, 2, 5, len(NOTE), 1, 9, [], True),
        wire.Ping("4", ann.alias, bob.alias, len(BODY), 3, 7),
        wire.GroupInvite("5", "chess on Fridays", ann.alias, bob.alias, len(BODY)),
    ):
        data = (NOTE, BODY) if isinstance(request, wire.PostNotify) else (BODY,)
        decision = ann.asks(request, *data).decision
        given = [m for m in decision.messages if phone.node.number in m.nodes and b'"member"' not in m.head]
        ours = copies(request, ann.uid, ITEM, decision.msgid, decision.posted_ms)
        assert len(ours) == len(given)
        for copy, message in zip(ours, given, strict=True):
            if copy.op == "notify":
                theirs = read(message.head, message.data or b"")
                mine = read(copy.head, message.data or b"")
                mine.id, mine.head, mine.headsum = theirs.id, theirs.head, theirs.headsum
                assert mine == theirs
            else:
                assert (copy.head, copy.part.size) == (message.head, message.size)
