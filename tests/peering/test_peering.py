"""What this box does about the others: whom it joins, when it stops serving, when it begins anew."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

import pytest
import trio

from appliance.health import Health
from appliance.peering import Peering, PeeringError, Settings, all_addresses, reachable
from appliance.peering import folder as joining
from appliance.peering.copying import told
from appliance.peering.identity import follow_identity, make_identity, write_identity
from appliance.peering.placing import place_of, tell_place
from appliance.replication.copying import CopyProgress
from appliance.session.certificate import server_context
from appliance.site import add_member, place_box, revoke_box, set_credential, set_identity
from tests.peering.kit import house
from tests.store.test_relay import membership, perform

FRESH = SimpleNamespace(uid="%+" * 16, secret=bytes(32))


class Box:
    """A box among others, and what it did."""

    def __init__(self, home, theirs=False):
        self.home = home
        self.health = Health()
        self.health.serving()
        self.restarts = self.cuts = 0
        settings = Settings(home.folder / "data", "own", lambda: ["=192.168.1.5:4433"], theirs)
        self.peering = Peering(home.service, home.links, self.health, settings, self._restart, self._cut)

    def _restart(self):
        self.restarts += 1

    def _cut(self):
        self.cuts += 1
        return 0


def run(test, folder, **how):
    async def main():
        async with house(folder) as home:
            box = Box(home, **how)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(box.peering.watch)
                await test(home, box)
                nursery.cancel_scope.cancel()

    trio.run(main)


async def look():
    await trio.sleep(0.6)


def test_health_says_how_many_copies_there_are(tmp_path):
    async def test(home, box):
        await look()
        assert (box.health.copies, box.health.peer) == (1, "none")
        other = await home.other("kitchen")
        await look()
        assert (box.health.copies, box.health.peer) == (2, "in sync")
        home.links.says(other, state="catching up")
        await look()
        assert (box.health.copies, box.health.peer) == (1, "behind")
        home.leaves(other)
        await look()
        assert (box.health.copies, box.health.peer) == (1, "away")
        await home.store.perform(lambda scene: revoke_box(scene, other, 0))
        await look()
        assert (box.health.copies, box.health.peer) == (1, "none")
        assert other not in home.store.copies.boxes

    run(test, tmp_path)


def test_it_is_safe_to_unplug_when_another_box_has_everything(tmp_path):
    async def test(home, box):
        standing = box.peering.standing
        assert standing.safe() == (False, "there is no other box, everything is on this one alone")
        kitchen, attic = await home.other("kitchen"), await home.other("attic")
        assert standing.safe() == (True, "kitchen and attic have everything, too")
        home.leaves(attic)
        assert standing.safe() == (True, "kitchen has everything, too")
        home.links.says(kitchen, state="catching up", lag_entries=1200)
        assert standing.safe() == (
            False,
            "kitchen has yet to get 1,200 entries, attic has yet to finish joining",
        )
        home.links.says(kitchen, state="in sync", lag_entries=0, absent=3)
        assert standing.safe()[1].startswith("kitchen has yet to get what is in 3 messages")

    run(test, tmp_path)


def test_a_box_with_members_or_with_other_boxes_joins_nobody(tmp_path):
    async def test(home, box):
        await home.other("kitchen")
        with pytest.raises(PeeringError, match="with 1 other boxes"):
            await box.peering.join(["=127.0.0.1:1"], "1482-1396")
        await home.store.perform(lambda scene: add_member(scene, "ann smith", None, FRESH))
        with pytest.raises(PeeringError, match=r"with 1 members: .* pocket factory-reset"):
            await box.peering.join(["=127.0.0.1:1"], "1482-1396")

    run(test, tmp_path)


def test_a_code_with_a_slip_and_an_address_that_leads_nowhere_are_told(tmp_path):
    async def test(home, box):
        with pytest.raises(PeeringError, match="one of the code's digits is wrong"):
            await box.peering.join(["=127.0.0.1:1"], "1482-1397")
        with pytest.raises(PeeringError, match=r"cannot connect to =127\.0\.0\.1:1"):
            await box.peering.join(["=127.0.0.1:1"], "1482-1396")
        with pytest.raises(PeeringError, match="is no address"):
            await box.peering.join(["=:x"], "1482-1396")
        assert joining.find(tmp_path / "data") is None and not box.restarts

    run(test, tmp_path)


def test_a_box_that_was_put_out_serves_no_more(tmp_path):
    async def test(home, box):
        await home.other("kitchen")
        box.peering.put_out(box.peering.standing.own)
        await look()
        assert box.peering.out_of_service and box.cuts == 1
        assert box.health.state == "error" and "factory-reset" in box.health.reasons[0]

    run(test, tmp_path)


def test_what_one_box_says_is_not_believed_while_another_talks_to_us(tmp_path):
    async def test(home, box):
        stolen, kitchen = await home.other("stolen"), await home.other("kitchen")
        home.leaves(stolen)
        box.peering.put_out(stolen)
        await look()
        assert not box.peering.out_of_service
        home.leaves(kitchen)
        await look()
        assert box.peering.out_of_service

    run(test, tmp_path)


def test_what_a_revoked_box_says_is_not_believed(tmp_path):
    async def test(home, box):
        stolen = await home.other("stolen", in_sync=False)
        await home.store.perform(lambda scene: revoke_box(scene, stolen, 0))
        box.peering.put_out(stolen)
        await look()
        assert not box.peering.out_of_service

    run(test, tmp_path)


def test_a_restored_card_serves_no_more_and_is_told_why_it_is_not_a_new_box_yet(tmp_path):
    async def test(home, box):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(box.peering.renewal.run)
            box.peering.renewal.begin("box kitchen has entries of this one that are not here")
            assert box.peering.out_of_service and box.cuts == 1
            assert box.health.state == "error" and "is kept" in box.health.reasons[0]
            await look()
            assert "no address of another box is known" in box.health.reasons[0]
            assert not box.restarts and joining.find(tmp_path / "data") is None
            nursery.cancel_scope.cancel()

    run(test, tmp_path)


def test_a_box_that_was_away_for_too_long_begins_anew_when_the_other_has_its_tail(tmp_path):
    async def test(home, box):
        kitchen = await home.other("kitchen")
        home.store.copies.boxes[kitchen].seq = 0
        box.peering.copy_again(kitchen)
        await look()
        assert box.peering.out_of_service and box.cuts == 1 and not box.restarts
        assert joining.find(tmp_path / "data") is None
        home.store.copies.confirmed(kitchen, 1 << 40)
        await look()
        assert box.restarts == 1
        found = joining.find(tmp_path / "data")
        assert found is not None and found.again and found.host == kitchen
        assert found.own_seq == box.peering.standing.entries(box.peering.standing.own)
        assert {entry.name for entry in found.boxes} == {"own", "kitchen"}

    run(test, tmp_path)


def test_a_box_whose_source_is_gone_serves_what_it_has(tmp_path):
    async def test(home, box):
        kitchen = await home.other("kitchen")
        home.store.copies.boxes[kitchen].seq = 0
        box.peering.copy_again(kitchen)
        await look()
        assert box.peering.out_of_service
        home.leaves(kitchen)
        await look()
        assert not box.peering.out_of_service and box.health.state != "error" and not box.restarts
        assert not any("fetches everything anew" in reason for reason in box.health.reasons)

    run(test, tmp_path)


def test_revoking_gives_the_site_another_certificate(tmp_path):
    async def test(home, box):
        kitchen = await home.other("kitchen")
        before = home.store.site.identity
        entries = home.store.entries
        told = await box.peering.revoke(home.store.site.boxes[kitchen])
        assert home.store.entries == entries + 1, "a crash in between must not leave the old key in force"
        after = home.store.site.identity
        assert after.cert != before.cert and after.key != before.key and after.name == before.name
        assert told["fingerprint"].startswith("SHA256:") and told["to_do"] == []
        with pytest.raises(PeeringError, match="revoked already"):
            await box.peering.revoke(home.store.site.boxes[kitchen])

    run(test, tmp_path)


def test_who_has_a_box_that_was_put_out_is_still_let_in_at_other_sites(tmp_path):
    async def test(home, box):
        kitchen = await home.other("kitchen")
        number, _ = await membership(home.store, "club")
        await perform(home.store, set_credential, number, home.store.replica.own, b"sealed")
        await perform(home.store, set_credential, number, kitchen, b"sealed")
        told = await box.peering.revoke(home.store.site.boxes[kitchen])
        assert ["log in at club" in hint and "node pocket-kitchen" in hint for hint in told["to_do"]] == [
            True
        ]

    run(test, tmp_path)


def test_a_households_own_certificate_has_to_be_exchanged_by_hand(tmp_path):
    async def test(home, box):
        kitchen = await home.other("kitchen")
        before = home.store.site.identity
        told = await box.peering.revoke(home.store.site.boxes[kitchen])
        assert home.store.site.identity == before
        assert told["fingerprint"] is None and "tls.cert" in told["to_do"][0]

    run(test, tmp_path, theirs=True)


def test_a_new_identity_is_in_the_files_before_it_is_used(tmp_path):
    async def main():
        async with house(tmp_path) as home, trio.open_nursery() as nursery:
            known, folder, seen = home.identity, tmp_path / "used", []
            write_identity(folder, known)

            def changed(identity):
                server_context(folder / "cert.pem", folder / "key.pem")
                seen.append((identity, (folder / "cert.pem").read_text()))

            nursery.start_soon(follow_identity, home.store, known, changed, folder)
            new = await make_identity(home.store)
            assert home.store.site.identity == known, "nothing has changed yet"
            await home.store.perform(partial(set_identity, name=new.name, cert=new.cert, key=new.key))
            await trio.sleep(1)
            assert seen == [(home.store.site.identity, new.cert)]
            assert (folder / "key.pem").stat().st_mode & 0o077 == 0
            nursery.cancel_scope.cancel()

    trio.run(main)


def test_files_that_do_not_fit_each_other_are_written_anew(tmp_path):
    async def main():
        async with house(tmp_path) as home:
            identity, folder = home.identity, tmp_path / "used"
            assert write_identity(folder, identity)
            assert not write_identity(folder, identity)
            (folder / "key.pem").write_text("of another certificate")
            assert write_identity(folder, identity)
            server_context(folder / "cert.pem", folder / "key.pem")

    trio.run(main)


def test_an_identity_stays_that_of_the_site(tmp_path):
    async def main():
        async with house(tmp_path) as home:
            before = home.identity
            await home.store.perform(lambda scene: set_identity(scene, before.name, before.cert, before.key))
            assert home.identity == before

    trio.run(main)


def test_addresses_of_all_boxes_are_told_own_first(tmp_path):
    async def main():
        async with house(tmp_path) as home:
            kitchen = await home.other("kitchen")
            gone = await home.other("gone")
            await tell_place(home.store, "own", ("=192.168.1.5:4433",))
            for box, address in ((kitchen, "=192.168.1.6:4433"), (gone, "=192.168.1.7:4433")):
                await home.store.perform(partial(place_box, box=box, addresses=(address,), name="x"))
            await home.store.perform(lambda scene: revoke_box(scene, gone, 0))
            own = ["=192.168.1.5:4433", "=[fd00::5]:4433"]
            assert all_addresses(home.store, lambda: own) == [*own, "=192.168.1.6:4433"]
            assert place_of(home.store, lambda: []) == ("=192.168.1.5:4433",), "without a network: as before"

    trio.run(main)


def test_a_machines_own_name_is_told_to_nobody():
    found = ["=192.168.1.5:4433", "=[fd00::5]:4433", "=raspberrypi:4433", "=box.example.org:4433"]
    assert reachable(lambda: found)() == [found[0], found[1], found[3]]


@pytest.mark.parametrize(
    ("progress", "text"),
    [
        (CopyProgress("connecting", "", 0, 0, 0, 0, None, None), "joining: connecting"),
        (CopyProgress("connecting", "", 0, 0, 0, 0, None, "no answer"), "joining: connecting, no answer"),
        (
            CopyProgress("entries", "A", 120, 1000, 3 << 20, 30 << 20, 34.2, None),
            "joining: 12% of the journal, 3.0 MiB from kitchen, 34 s left",
        ),
        (
            CopyProgress("attachments", "A", 9, 9, 1 << 30, 2 << 30, 600.0, None),
            "joining: attachments, 1,024.0 MiB of 2,048.0 MiB from kitchen, 10 min left",
        ),
        (CopyProgress("complete", "A", 9, 9, 1, 1, 0.0, None), "joining: everything is here"),
    ],
)
def test_how_far_a_copy_is(progress, text):
    assert told(progress, {"A": "kitchen"}) == text
