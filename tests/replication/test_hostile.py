"""Boxes of the site that lie, flood, hammer or are not what they were: each is refused and told of, and harms
nothing else.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress

import msgspec
import pytest
import trio

from appliance.replication import dial, fetching
from appliance.replication.engine import PeerLink
from appliance.replication.errors import Refused
from appliance.replication.frames import Op, encode
from appliance.replication.identity import dial_context
from appliance.replication.interface import Octets, Position
from appliance.session import LinkLost
from tests.replication.fakes import FakeReplica
from tests.replication.guest import Guest, attacked
from tests.replication.household import Home, Known, identity_of, until


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path)


def run(main):
    trio.run(main)


def test_entries_with_a_bad_signature_are_refused_and_told_of(home):
    async def main():
        async with attacked(home) as (a, _, guest):
            entry = guest.replica.add()
            await guest.enter(a, {})
            forged = msgspec.structs.replace(entry, signature=bytes(64))
            await guest.send(guest.link.say_entries([forged], True, 0))
            said, text = await guest.end()
            assert said == "bad entries" and "bad signature" in text
            assert guest.id not in a.replica.heads
            await until(lambda: "bad signature" in a.warnings.get(f"peer {guest.id}", ""))
            assert a.status(guest).state == "refused" and "bad signature" in a.status(guest).problem

    run(main)


def test_entries_of_a_box_nobody_knows_are_refused(home):
    async def main():
        async with attacked(home) as (a, _, guest):
            stranger = FakeReplica(77, {})
            await guest.enter(a)
            await guest.send(guest.link.say_entries([stranger.add()], True, 0))
            assert (await guest.end())[0] == "bad entries"

    run(main)


def test_entries_with_holes_or_out_of_order_are_refused(home):
    async def main():
        async with attacked(home) as (a, _, guest):
            entries = [guest.replica.add() for _ in range(3)]
            await guest.enter(a, {})
            await guest.send(guest.link.say_entries(entries[1:], True, 0))
            assert (await guest.end())[0] == "bad entries"

    run(main)


def test_a_peer_whose_journal_is_not_what_it_was_is_refused_and_shown_why(home):
    async def main():
        async with attacked(home) as (a, _, guest):
            await guest.enter(a)
            await guest.send(guest.link.say_entries([guest.replica.add(1)], True, 0))
            await until(lambda: guest.id in a.replica.heads)
            guest.stream.close()
            for size, count in ((2, 1), (2, 3), (0, 0)):
                other = FakeReplica(9, {})
                for _ in range(count):
                    other.add(size)
                guest.replica = other
                await guest.enter(a)
                events = []
                with pytest.raises(Refused, match="cloned"):
                    if count == 3:
                        await guest.send(
                            guest.link.say_entries(other.read_now({other.own: 1}, 1000), True, 0)
                        )
                    while True:
                        events.append(await guest.event())
                guest.stream.close()
                shown = [e for event in events for e in getattr(event, "arrivals", []) if e.box == guest.id]
                assert [e.seq for e in shown] == [1]
            assert "cloned" in a.warnings[f"peer {guest.id}"]

    run(main)


def test_a_third_boxs_second_history_is_left_out_and_the_rest_goes_on(home):
    async def main():
        async with attacked(home) as (a, b, guest):
            good, bad = FakeReplica(8, home.keys), FakeReplica(8, home.keys)
            home.boxes[good.own] = Known(home.keys[good.own], "two-faced")
            a.replica.absorb_now([good.add(1)])
            await guest.enter(a)
            entries = [bad.add(2), bad.add(3)]
            await guest.send(guest.link.say_entries(entries[1:], True, 0))
            await until(lambda: a.warnings.get(f"fork {guest.id} {good.own}"))
            await guest.send(guest.link.say_entries([guest.replica.add()], True, 0))
            await until(lambda: guest.id in a.replica.heads)
            assert a.replica.heads[good.own].seq == 1
            await until(lambda: good.own in b.replica.heads)
            guest.stream.close()
            await guest.enter(a, {good.own: bad.heads[good.own], guest.id: guest.replica.heads[guest.id]})
            guest.stream.close()

    run(main)


def test_a_box_gives_itself_up_only_when_its_own_signature_shows_that_it_was_cloned(home):
    async def main():
        async with attacked(home) as (a, _, guest):
            a.replica.add()
            for position in (Position(1000, bytes(32)), Position(1, bytes(32))):
                await guest.enter(a, {a.id: position})
                await guest.send(guest.link.say_have({a.id: 1 << 40}, []))
                await trio.sleep(0.2)
                guest.stream.close()
            forged = msgspec.structs.replace(FakeReplica(1, {}).add(99), signature=bytes(64))
            await guest.enter(a)
            await guest.send(guest.link.say_entries([forged], True, 0))
            assert (await guest.end())[0] == "bad entries"
            assert a.copies.seqs[guest.id] == a.replica.heads[a.id].seq
            assert not a.restored
            twin = FakeReplica(1, {})
            await guest.enter(a)
            await guest.send(guest.link.say_entries([twin.add(5)], True, 0))
            assert (await guest.end())[0] == "forked"
            await until(lambda: a.restored)

    run(main)


def test_a_clone_finds_out_that_it_is_one(home):
    async def main():
        a, b = home.box(1), home.box(2)
        for _ in range(3):
            a.replica.add(1)
        b.replica.absorb_now(a.replica.read_now({}, 1000))
        a.replica.heads.clear()
        a.replica.journals.clear()
        async with home.running(a, b):
            await until(lambda: a.restored and "cloned" in (b.status(a).problem or ""))
            assert not b.restored

    run(main)


@pytest.mark.parametrize("own_entries", [1, 3, 5])
def test_a_restored_card_finds_out_however_much_it_has_written_since(home, own_entries):
    async def main():
        a, b = home.box(1), home.box(2)
        for _ in range(3):
            a.replica.add(1)
        b.replica.absorb_now(a.replica.read_now({}, 1000))
        a.replica.heads.clear()
        a.replica.journals.clear()
        for _ in range(own_entries):
            a.replica.add(2)
        async with home.running(a, b):
            await until(lambda: a.restored and not b.restored)

    run(main)


def test_wrong_octets_of_a_blob_are_found_and_another_box_is_asked(home, monkeypatch):
    monkeypatch.setattr(fetching, "ASK_AGAIN_S", 0.3)
    monkeypatch.setattr(fetching, "LOOK_EVERY_S", 0.1)

    async def main():
        a, b, c = home.box(1), home.box(2), home.box(3)
        octets = os.urandom(300_000)
        sha = a.put_blob(octets)
        a.blobs.path(sha).write_bytes(octets[:-1] + b"x")
        async with home.running(a, b, c):
            await until(lambda: all(c.copies.reached.get(x.id) for x in (a, b)))
            a.replica.add(blobs={sha: len(octets)})
            await until(lambda: "disk may be dying" in c.warnings.get(f"peer {a.id} octets", ""))
            assert sha not in c.replica.blobs and not c.blobs.path(sha).exists()
            b.put_blob(octets)
            await until(lambda: sha in c.replica.blobs)
            assert c.blobs.path(sha).read_bytes() == octets

    run(main)


def test_wrong_octets_of_messages_end_the_link(home):
    async def main():
        async with attacked(home) as (a, b, guest):
            a.replica.due_messages[5] = b.replica.due_messages[5] = hashlib.sha256(b"right").hexdigest()
            await guest.enter(a)
            while type(event := await guest.event()).__name__ != "Wants":
                pass
            assert event.msgids == [5]
            await guest.send(guest.link.say_messages([Octets(5, b"wrong", None)], False))
            said, text = await guest.end()
            assert said == "bad frame" and "wrong octets" in text
            a.replica.messages[5] = b.replica.messages[5] = Octets(5, b"right", None)

    run(main)


def flood(name, link):
    entry = FakeReplica(9, {}).add()
    return {
        "octets nobody asked for": link.say_messages([Octets(1, b"head", None)], False),
        "parts of nothing": link.say_messages([Octets(1, b"head", None)], True),
        "many questions": link.say_want(bytes(32), 0, 1000) * 5000,
        "many questions for octets": link.say_wants([1, 2, 3]) * 5000,
        "an entry too large": b"%04x" % 63
        + b'{"datalen":4194305,"epoch":0,"follow":0,"live":true,"op":"entries"}'[:63],
        "follow and nothing": link.say_entries([entry], True, 0, 5) + link.say_entries([entry], True, 0, 5),
        "garbage": os.urandom(200_000),
        "a clock at the end of time": b'0029{"clock":9223372036854775807,"op":"beat"}',
        "a second hello": encode(
            Op.HELLO, {"box": "x" * 8, "nonce": bytes(32), "purpose": "sync", "version": 1}
        ),
    }[name]


@pytest.mark.parametrize(
    "name",
    [
        "octets nobody asked for",
        "parts of nothing",
        "many questions",
        "many questions for octets",
        "an entry too large",
        "follow and nothing",
        "garbage",
        "a clock at the end of time",
        "a second hello",
    ],
)
def test_what_breaks_the_protocol_ends_that_link_only(home, name):
    async def main():
        async with attacked(home) as (a, _, guest):
            await guest.enter(a)
            try:
                await guest.send(flood(name, guest.link))
            except LinkLost:
                return
            ended = await guest.end()
            flooded = name.startswith("many") or name == "garbage"
            assert (ended is None and flooded) or ended[0] == "bad frame", ended

    run(main)


def test_floods_that_keep_to_the_protocol_slow_nobody_else(home):
    async def main():
        async with attacked(home) as (a, b, guest):
            await guest.enter(a)
            link = guest.link
            beat, tell = link.say_beat(1), link.say_tell("x", bytes(60_000))
            state = link.say_state({}, 1, True, "evil", 1)
            chunk = link.say_chunk(bytes(32), 0, bytes(60_000))

            async def pour():
                with suppress(LinkLost):
                    while True:
                        await guest.send(beat * 500 + tell + state * 3 + chunk * 3)

            async def drain():
                with suppress(LinkLost):
                    while await guest.stream.receive():
                        pass

            async with trio.open_nursery() as nursery:
                nursery.start_soon(pour)
                nursery.start_soon(drain)
                slowest = 0.0
                for _ in range(30):
                    entry = a.replica.add()
                    began = trio.current_time()
                    await until(lambda: a.copies.seqs.get(b.id, 0) >= entry.seq)  # noqa: B023
                    slowest = max(slowest, trio.current_time() - began)
                    await trio.sleep(0.05)
                nursery.cancel_scope.cancel()
            assert slowest < 0.5
            guest.stream.close()

    run(main)


def test_who_proves_nothing_gets_nothing(home):
    async def main():
        async with attacked(home) as (a, _, guest):
            await guest.connect(a)
            await guest.event()
            thief = PeerLink.dialer(identity_of(55), a.id, a.identity.public)
            thief.state = guest.link.state
            await guest.send(thief.prove())
            assert (await guest.end())[0] == "bad proof"
            assert not a.calls[-1].is_proven
            assert a.status(guest).problem is None, "anybody can say that it is that box"
            stranger = Guest(home, 56)
            del home.boxes[stranger.id]
            await stranger.connect(a)
            said, text = await stranger.end()
            assert said == "unknown box" and "pair it" in text

    run(main)


def test_who_calls_and_says_nothing_is_let_go_of(home, monkeypatch):
    monkeypatch.setattr("appliance.replication.link.GONE_S", 0.3)

    async def main():
        a = home.box(1)
        async with home.running(a):
            stream, _ = await dial.dial([a.address], a.identity.public, dial_context())
            with trio.fail_after(3):
                assert await stream.receive() == b""
            stream.close()

    run(main)


def test_a_revoked_box_is_cut_off_at_once_and_told(home):
    async def main():
        a, b = home.box(1), home.box(2)
        async with home.running(a, b):
            await until(lambda: a.copies.reached.get(b.id) and b.copies.reached.get(a.id))
            a.boxes = {**home.boxes, b.id: Known(b.identity.public, "box 2", (b.address,), cut=0)}
            a.replica.add()
            await until(lambda: not a.copies.reached[b.id], 1)
            await until(lambda: b.revoked)
            assert a.status(b).state == "revoked"
            late = b.replica.add()
            await trio.sleep(1)
            assert b.id not in a.replica.heads and late.seq == 1
            assert "put out" in b.status(a).problem and b.status(a).state == "refused"

    run(main)


def test_entries_of_a_revoked_box_that_another_one_had_are_taken_from_that(home):
    async def main():
        async with attacked(home) as (a, _, guest):
            dead = FakeReplica(8, home.keys)
            home.boxes[dead.own] = Known(home.keys[dead.own], "stolen", cut=2)
            entries = [dead.add() for _ in range(4)]
            await guest.enter(a)
            await guest.send(guest.link.say_entries([*entries, guest.replica.add()], True, 0))
            await until(lambda: guest.id in a.replica.heads)
            assert a.replica.heads[dead.own].seq == 4
            guest.stream.close()

    run(main)


def test_somebody_in_between_is_no_peer(home):
    async def main():
        a, b = home.box(1), home.box(2)
        stranger = home.box(3)
        async with home.running(b, stranger):
            b.published = [stranger.address]
            home.boxes[b.id].addresses = (stranger.address,)
            del home.boxes[stranger.id]
            b.boxes = stranger.boxes = {}
            async with trio.open_nursery() as nursery:
                await nursery.start(a.run)
                await until(lambda: a.warnings.get(f"peer {b.id}"))
                assert "another box answered" in a.status(b).problem
                assert a.status(b).state == "refused"
                nursery.cancel_scope.cancel()

    run(main)


def test_a_box_that_hammers_is_called_back_ever_more_rarely(home):
    async def main():
        a, b = home.box(1), home.box(2)
        b.replica.failure = None
        for _ in range(3):
            a.replica.add(1)
        b.replica.absorb_now(a.replica.read_now({}, 1000))
        a.replica.heads.clear()
        a.replica.journals.clear()
        async with home.running(a, b):
            await trio.sleep(4)
            assert len(a.calls) + len(b.calls) < 16

    run(main)
