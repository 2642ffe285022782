"""A box asks, with the key that it had, to be another one from now on."""

from __future__ import annotations

from functools import partial

import pytest
import trio

from appliance.replication import Source, anew, events
from appliance.replication.engine import TAG_ANEW, PeerLink
from appliance.replication.errors import BadFrame, Code, Impostor, Refused
from appliance.replication.frames import Op, encode
from appliance.site.boxes import replace_box, revoke_box
from appliance.store.journal import box_id
from tests.replication.fakes import Signer
from tests.replication.household import Home
from tests.replication.test_stores import first_box, home, two_boxes

__all__ = ["home"]

NEW = bytes(range(32))


def linked(purpose: events.Purpose = "anew") -> tuple[PeerLink, PeerLink]:
    """A dialer and an acceptor that know where both stand."""
    old, peer = Signer(1), Signer(2)
    dialer, acceptor = PeerLink.dialer(old, peer.box, peer.public, purpose), PeerLink.acceptor(peer)
    acceptor.receive_data(dialer.hello())
    acceptor.next_event()
    dialer.receive_data(acceptor.challenge(old.public))
    dialer.next_event()
    acceptor.receive_data(dialer.prove())
    acceptor.next_event()
    dialer.receive_data(acceptor.welcome())
    dialer.next_event()
    for one, other in ((dialer, acceptor), (acceptor, dialer)):
        other.receive_data(one.say_state({}, 0, False, "", 0))
        other.next_event()
    return dialer, acceptor


def test_what_is_asked_and_answered_arrives() -> None:
    dialer, acceptor = linked()
    acceptor.receive_data(dialer.say_anew(NEW))
    assert acceptor.next_event() == events.Anew(NEW)
    dialer.receive_data(acceptor.say_taken(7))
    assert dialer.next_event() == events.Taken(7)


def test_only_the_old_key_can_ask_and_for_this_link_only() -> None:
    first, _ = linked()
    asked = first.say_anew(NEW)
    _, acceptor = linked()
    acceptor.receive_data(asked)
    with pytest.raises(Impostor):
        acceptor.next_event()
    _, acceptor = linked()
    forged = Signer(3).sign(TAG_ANEW + NEW)
    acceptor.receive_data(encode(Op.ANEW, {"proof": forged, "public": NEW}))
    with pytest.raises(Impostor):
        acceptor.next_event()


def test_it_is_asked_once_by_who_called_on_a_link_for_that() -> None:
    dialer, acceptor = linked()
    acceptor.receive_data(dialer.say_anew(NEW))
    acceptor.next_event()
    acceptor.receive_data(dialer.say_anew(NEW))
    with pytest.raises(BadFrame):
        acceptor.next_event()
    for purpose in ("sync", "copy"):
        dialer, acceptor = linked(purpose)
        acceptor.receive_data(dialer.say_anew(NEW))
        with pytest.raises(BadFrame):
            acceptor.next_event()
        dialer, acceptor = linked(purpose)
        dialer.receive_data(acceptor.say_taken(1))
        with pytest.raises(BadFrame):
            dialer.next_event()
    dialer, acceptor = linked()
    dialer.receive_data(acceptor.say_anew(NEW))
    with pytest.raises(BadFrame):
        dialer.next_event()


def source_of(box) -> Source:
    return Source(box.id, box.identity.public, (box.address,))


def test_a_box_is_taken_over_a_real_link_and_no_journal_goes_over_it(home: Home) -> None:
    async def main() -> None:
        async with two_boxes(home) as (a, b):
            asked: list[tuple[str, bytes]] = []

            async def take(old: str, public: bytes) -> int:
                asked.append((old, public))
                await trio.sleep(4)  # longer than a silent box would be waited for
                return 5

            object.__setattr__(a.hub._site, "anew", take)
            slot, address = await anew.ask(b.identity, NEW, source_of(a))
            assert (slot, address) == (5, a.address) and asked == [(b.id, NEW)]
            assert a.status(b).problem is None and a.status(b).state == "in sync", "the old box's link stays"

    trio.run(main)


def test_who_is_revoked_unknown_or_asks_where_nobody_is_let_in_is_refused(home: Home) -> None:
    async def main() -> None:
        async with two_boxes(home) as (a, b):
            with pytest.raises(Refused) as refused:
                await anew.ask(b.identity, NEW, source_of(a))
            assert refused.value.said == Code.NOT_NOW
            with pytest.raises(Refused) as refused:
                await anew.ask(Signer(9), NEW, source_of(a))  # type: ignore[arg-type]
            assert refused.value.said == Code.UNKNOWN
            await a.store.perform(partial(revoke_box, box=b.id, seq=0))
            with pytest.raises(Refused) as refused:
                await anew.ask(b.identity, NEW, source_of(a))
            assert refused.value.said == Code.REVOKED
            assert box_id(NEW) not in a.store.site.boxes

    trio.run(main)


def test_a_box_that_has_become_another_one_is_neither_called_nor_waited_for(home: Home) -> None:
    async def main() -> None:
        async with first_box(home) as (a, _):
            gone = Signer(4)
            decision = await a.store.perform(
                lambda scene: replace_box(scene, a.id, gone.box, gone.public)  # any box will do
            )
            assert decision.error is None
            object.__setattr__(a.hub._site, "gone", lambda: {gone.box})
            with trio.fail_after(1):
                await a.hub.settle(30)

    trio.run(main)
