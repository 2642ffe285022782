"""What was sent when the link broke, at a site that takes a request that comes again for a new one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from appliance import wire
from appliance.relay import barrier, doubts
from tests.kit.upstream import Cut, Delay, Hold, Ignore, Upstream
from tests.kit.upstream.accounts import Body, Group
from tests.relay.house import Device, House, house, until
from tests.store.kit import run

ALIAS, GID = "Ann at the club", "choir of the club"


@pytest.fixture
def club() -> Iterator[Upstream]:
    with Upstream("The club") as site:
        yield site


async def choir(home: House, club: Upstream) -> tuple[int, Device, Device]:
    """A membership of Ann, who is in the choir with Bob, and two devices."""
    number = await home.membership("club", club, alias=ALIAS)
    phone, laptop = await home.device(number), await home.device(number, "laptop")
    bob = club.member("Bob at the club")
    club.member("Eve at the club")
    standing = {home.uid(number): (ALIAS, "joined"), bob.uid: ("Bob at the club", "joined")}
    club.accounts.groups[GID] = Group(GID, standing)
    await home.online(number)
    return number, phone, laptop


REQUESTS = {
    "alias": wire.UserEdit("1", newalias="Ann the second"),
    "join": wire.GroupEdit("1", "join", GID),
    "name": wire.GroupEdit("1", "alias", GID, newalias=ALIAS),
    "drop": wire.GroupEdit("1", "drop", GID, to="Bob at the club"),
    "leave": wire.GroupEdit("1", "drop", GID, to=ALIAS),
    "invite": wire.GroupInvite("1", GID, ALIAS, "Eve at the club", 2),
    "note": wire.PostNotify("1", [wire.Target(GID, 3)], 6, notelen=4),
    "note, not for oneself": wire.PostNotify("1", [wire.Target(GID, 3)], 6, notelen=4, fornotself=True),
    "post to a group": wire.Post("1", [wire.Target(GID, 3)], 2),
    "post to a group and oneself": wire.Post("1", [wire.Target(GID, 2)], 2),
    "post to nobody": wire.Post("1", [], 2),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_what_shows_at_the_nodes_of_the_member_is_not_done_twice(club: Upstream, tmp_path: Path, name: str):
    request = REQUESTS[name]
    data = b"noteme"[-getattr(request, "datalen", 0) :] if wire.has_data(request) else b""

    async def body():
        async with house(tmp_path) as home:
            number, phone, laptop = await choir(home, club)
            ann = club.accounts.members[home.uid(number)]
            if name == "join":
                club.accounts.groups[GID].standing[ann.uid] = (ALIAS, "invited")
            rule = club.on("taken", Cut(), op=request.name)
            outcome = await home.outcome(await phone.ask(request, data))
            assert not outcome.error and rule.hits == 1
            assert club.asked(request.name) == 1
            await home.outcome(await phone.post(b"later"))
            await until(lambda: not club.waiting(ann))
            at_laptop = [f.op for f in [await home.frame(m) for m in await laptop.queue()]]
            at_phone = [f.op for f in [await home.frame(m) for m in await phone.queue()]]
            for_all = {"alias": ["user"], "invite": ["member"]}.get(name, [])
            for_all += ["member"] if isinstance(request, wire.GroupEdit) else []
            others = {"invite": ["invite"], "note": ["delivery", "notify"]}.get(name, [])
            others += ["notify"] if "not for" in name else []
            others += ["delivery"] if request.name == "Post" else []
            own = ["delivery"] if name == "post to a group and oneself" else []
            assert sorted(at_phone) == sorted(for_all + own)
            assert sorted(at_laptop) == sorted([*for_all, *others, "delivery"])

    run(body)


def test_what_shows_nowhere_is_done_again(club: Upstream, tmp_path: Path):
    async def body():
        async with house(tmp_path) as home:
            _, phone, _ = await choir(home, club)
            eve = club.accounts.aliases["Eve at the club"]
            club.on("taken", Cut(), op="Ping")
            await home.outcome(await phone.ask(wire.Ping("1", ALIAS, "Eve at the club", 2), b"hi"))
            assert [message.op for message in club.waiting(eve)] == ["ping", "ping"]

    run(body)


def test_the_copy_of_an_own_post_is_never_too_large(club: Upstream, tmp_path: Path):
    async def body():
        async with house(tmp_path, changes={"message_octets": 100_000}) as home:
            _, phone, laptop = await choir(home, club)
            club.on("taken", Cut(), op="Post")
            data = bytes(200_000)
            await home.outcome(await phone.post(data))
            assert club.asked("Post") == 1
            (frame,) = await laptop.got(1)
            assert frame.data == data and await phone.queue() == []

    run(body)


def test_of_two_posts_that_look_the_same_one_waits_for_the_other(club: Upstream, tmp_path: Path):
    async def body():
        async with house(tmp_path) as home:
            number, phone, _ = await choir(home, club)
            people = [club.accounts.aliases[f"{name} at the club"] for name in ("Bob", "Eve")]
            lost, cut = club.on("request", Ignore(), op="Post"), club.on("taken", Cut(), op="Post")
            posts = [await phone.post(b"yes", person.uid) for person in people]
            await until(lambda: lost.hits)
            other = await phone.post(b"something else")
            await trio.sleep(0.1)
            assert not cut.hits, "the second would be taken for the first"
            club.cut(home.uid(number))
            for item in (*posts, other):
                await home.outcome(item)
            for person in people:
                assert [m.body.octets for m in club.waiting(person)] == [b"yes"]

    run(body)


def test_a_post_does_not_go_before_one_that_looks_the_same_and_has_yet_to_go(club: Upstream, tmp_path: Path):
    """A box that starts does not know which of the two it had sent."""

    async def body():
        async with house(tmp_path) as home:
            _, phone, laptop = await choir(home, club)
            people = [club.accounts.aliases[f"{name} at the club"] for name in ("Bob", "Eve")]
            lost = club.on("request", Ignore(), op="Post")
            hold = club.on("taken", Hold(), op="Post", where=lambda post: post.datalen == 3)
            items = [await phone.post(b"ok", person.uid) for person in people]
            items.append(await phone.post(b"yes", people[0].uid))
            items.append(await laptop.post(b"yes", people[1].uid))
            items.append(await laptop.post(b"something else"))
            await until(lambda: lost.hits)
            with trio.move_on_after(0.3):
                await until(lambda: hold.hits)
            club.stop()
        hold.do.open()
        club.start()
        async with house(tmp_path) as home:
            for item in items:
                await home.outcome(item)
            for person in people:
                assert [m.body.octets for m in club.waiting(person)] == [b"ok", b"yes"]

    run(body)


def test_a_site_that_recognises_repeated_requests_tells_of_each_mark(
    club: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(barrier, "NUMBERS", 1)
    club.remembers = True

    async def body():
        async with house(tmp_path) as home:
            _, phone, _ = await choir(home, club)
            for data in (b"one", b"two"):
                club.on("request", Cut(), op="Post")
                await home.outcome(await phone.post(data), barrier.SILENT_S / 4)

    run(body)


def test_a_site_that_ends_links_because_of_marks_gets_what_waits_all_the_same(
    club: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(barrier, "QUIET_S", 0.3)

    async def body():
        async with house(tmp_path) as home:
            _, phone, _ = await choir(home, club)
            marks = club.on("request", Cut(), op="OhiEdit", times=None)
            club.on("request", Cut(), op="Post")
            await home.outcome(await phone.post(b"once"))
            assert marks.hits == barrier.UNHEARD_MAX

    run(body)


def test_what_another_client_said_before_is_not_taken_for_what_waits(
    club: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(doubts, "CLOCKS_APART_MS", -1)

    async def body():
        async with house(tmp_path) as home:
            number, phone, _ = await choir(home, club)
            ann, bob = club.accounts.members[home.uid(number)], club.accounts.aliases["Bob at the club"]
            await until(lambda: not club.waiting(ann))
            club.stop()
            club.do(lambda: club.accounts.send("delivery", ann, ann.nodes, Body(3, b"yes")))
            item = await phone.post(b"yes", bob.uid)
        club.start()
        async with house(tmp_path) as home:
            await home.outcome(item)
            assert [message.body.octets for message in club.waiting(bob)] == [b"yes"]

    run(body)


def test_a_site_whose_clock_is_far_behind_gets_each_post_once(club: Upstream, tmp_path: Path):
    """Or ours is ahead: it never goes back."""
    now_ms = club.accounts.now_ms
    club.accounts.now_ms = lambda: now_ms() - 2 * doubts.CLOCKS_APART_MS  # type: ignore[method-assign]

    async def body():
        async with house(tmp_path) as home:
            number, phone, _ = await choir(home, club)
            ann, bob = club.accounts.members[home.uid(number)], club.accounts.aliases["Bob at the club"]
            await home.outcome(await phone.post(b"first", bob.uid))
            club.on("taken", Cut(), op="Post")
            await home.outcome(await phone.post(b"second", bob.uid))
            await until(lambda: not club.waiting(ann))
            assert [message.body.octets for message in club.waiting(bob)] == [b"first", b"second"]
            assert await phone.queue() == []

    run(body)


def test_a_copy_that_comes_before_the_answer_is_no_news_whatever_the_clocks_say(
    club: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(doubts, "CLOCKS_APART_MS", -3_600_000)

    async def body():
        async with house(tmp_path) as home:
            _, phone, _ = await choir(home, club)
            hold, sent = club.on("taken", Hold(), op="Post"), club.on("sent", Delay(0), op="delivery")
            item = await phone.post(b"once")
            await until(lambda: hold.hits and sent.hits)
            await trio.sleep(0.1)
            hold.do.open()
            await home.outcome(item)
            assert await phone.queue() == []

    run(body)


def test_what_is_known_to_be_new_waits_for_nothing_after_a_break(club: Upstream, tmp_path: Path):
    async def body():
        async with house(tmp_path) as home:
            number, phone, _ = await choir(home, club)
            club.stop()
            await until(lambda: not home.relay.state(number)["online"])
            item = await phone.post(b"new")
            marks = club.asked("OhiEdit")
            club.start()
            await home.outcome(item)
            assert club.asked("OhiEdit") == marks

    run(body)
