"""The order of an outbox: over any cuts of the link each request is carried out once, in order."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.relay.flow import Flow
from appliance.store import Item

PIPELINE = 4


def item(msgid: int, node: int = 16) -> Item:
    return Item(msgid, 1, node, b"key", f"id {msgid}")


def opened(*items: Item, tried: bool = False) -> Flow:
    flow = Flow(PIPELINE)
    flow.closed = False
    for one in items:
        flow.add(one, tried)
    return flow


def send(flow: Flow, may_send=lambda item: True) -> list[int]:
    sent = []
    while (found := flow.next(may_send)) is not None:
        flow.sent(found.msgid)
        sent.append(found.msgid)
    return sent


def test_a_closed_flow_sends_nothing():
    flow = opened(item(16))
    flow.closed = True
    assert send(flow) == []


def test_as_many_are_in_flight_as_the_pipeline_takes():
    flow = opened(*(item(16 * n) for n in range(1, 10)))
    assert send(flow) == [16, 32, 48, 64]
    assert flow.answer(32) == item(32)
    assert send(flow) == [80]


def test_what_was_not_answered_is_sent_again_in_order_on_the_next_link():
    flow = opened(*(item(16 * n) for n in range(1, 7)))
    send(flow)
    flow.answer(32)
    flow.broke()
    assert send(flow) == []
    flow.closed = False
    assert send(flow) == [16, 48, 64, 80]


def test_an_answer_that_could_not_be_recorded_counts_as_none():
    flow = opened(item(16))
    send(flow)
    flow.answer(16)
    flow.unrecorded(16)
    assert send(flow) == [16]


def test_a_device_waits_for_what_another_box_is_to_send_and_other_devices_do_not():
    flow = opened(item(17, node=32), item(32, node=32), item(48, node=64))
    assert send(flow, lambda item: item.msgid % 16 == 0) == [48]
    assert send(flow) == [17, 32]


def test_an_item_whose_octets_are_missing_holds_up_its_device_alone():
    flow = opened(item(16, node=32), item(32, node=32), item(48, node=64))
    flow.absent(16)
    assert send(flow) == [48]
    flow.here(32)
    assert send(flow) == []
    flow.here(16)
    assert send(flow) == [16, 32]


def test_an_outcome_from_elsewhere_ends_an_item_wherever_it_is():
    flow = opened(*(item(16 * n) for n in range(1, 7)))
    send(flow)
    flow.answer(16)
    for msgid in (16, 32, 96):
        flow.settled(msgid)
    assert len(flow) == 3 and flow.answer(32) is None
    assert send(flow) == [80]


def test_an_answer_nobody_asked_for_is_none():
    flow = opened(item(16), item(32))
    assert flow.answer(16) is None and flow.answer(7) is None
    send(flow)
    assert flow.answer(16) == item(16) and flow.answer(16) is None


def test_only_what_may_have_been_sent_is_doubtful():
    flow = opened(item(16), tried=True)
    flow.add(item(32), tried=False)
    assert [one.msgid for one in flow.doubtful()] == [16]
    send(flow)
    assert [one.msgid for one in flow.doubtful()] == [16, 32]
    flow.answer(16)
    assert [one.msgid for one in flow.doubtful()] == [32]


class Site:
    """A site that knows a repeated request by its id, as ours do, over a link that is cut anywhere."""

    def __init__(self) -> None:
        self.done: dict[int, int] = {}
        self.order: list[int] = []
        self.inbox: list[int] = []
        self.outbox: list[int] = []

    def read(self) -> None:
        msgid = self.inbox.pop(0)
        if msgid not in self.done:
            self.done[msgid] = 1000 + len(self.done)
            self.order.append(msgid)
        self.outbox.append(msgid)

    def cut(self) -> None:
        self.inbox.clear()
        self.outbox.clear()


@settings(max_examples=300)
@given(st.lists(st.integers(1, 3), min_size=1, max_size=12), st.lists(st.integers(0, 6), max_size=120))
def test_over_any_cuts_each_request_is_carried_out_once_and_in_order(nodes: list[int], steps: list[int]):
    """Steps: send, the site reads, an answer comes, its outcome gets to the disk or does not, the link is
    cut, the box is killed. Whatever they were, a calm end comes to each request once, in order.
    """
    items = [item(16 * n, node) for n, node in enumerate(nodes, 1)]
    outcomes: dict[int, int] = {}
    site = Site()
    flow = opened(*items)
    calm = [0, 1, 2, 3] * (4 * len(items))

    for step in [*steps, 5, *calm]:
        if step == 0 and (found := flow.next(lambda item: True)) is not None:
            flow.sent(found.msgid)
            site.inbox.append(found.msgid)
        elif step == 1 and site.inbox:
            site.read()
        elif step == 2 and site.outbox:
            assert flow.answer(site.outbox.pop(0)) is not None
        elif step == 3 and flow.answered:
            msgid = next(iter(flow.answered))
            assert msgid not in outcomes
            outcomes[msgid] = site.done[msgid]
            flow.settled(msgid)
        elif step == 4 and flow.answered:
            flow.unrecorded(next(iter(flow.answered)))
            flow.broke()
            site.cut()
            flow.closed = False
        elif step == 5:
            flow.broke()
            site.cut()
            flow.closed = False
        elif step == 6:
            site.cut()
            flow = opened(*(one for one in items if one.msgid not in outcomes), tried=True)
    assert outcomes == site.done and len(outcomes) == len(items)
    assert site.order == [one.msgid for one in items]
    assert not len(flow)
