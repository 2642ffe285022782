"""A request sent again after a lost ack is one request (TMTP revision 1, section 4, "Sent twice")."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from unittest.mock import ANY

import pytest

from appliance import wire
from tests.kit import Box, Client, Frame, People, fresh, mentions, nothing_more_for, settle, without_sender


@dataclass
class Scene:
    """Alice and Bob, two nodes each, in a group to which Carol is invited."""

    box: Box
    alice: Client
    tablet: Client
    bob: Client
    phone: Client
    carol: Client
    gid: str

    @property
    def clients(self) -> tuple[Client, ...]:
        return self.alice, self.tablet, self.bob, self.phone, self.carol


@pytest.fixture
def scene(people: People) -> Scene:
    return make_scene(people)


def make_scene(people: People) -> Scene:
    alice, bob, carol = people.members("alice", "bob", "carol")
    gid = people.group(alice, bob)
    alice.invite(carol, gid)
    scene = Scene(people.box, alice, people.node(alice, "tablet"), bob, people.node(bob, "phone"), carol, gid)
    settle(*scene.clients)
    return scene


Request = Callable[[Scene], Frame]

LARGE = random.Random(7).randbytes(300_000)

REQUESTS: dict[str, Request] = {
    "post": lambda s: s.alice.post(b"hello", to=s.bob),
    "post to oneself": lambda s: s.alice.post(b"hello", to=[s.alice, s.bob]),
    "post to a group": lambda s: s.alice.post(b"hello", to=without_sender(s.gid)),
    "post to nobody": lambda s: s.alice.post(b"hello", to=[]),
    "large post": lambda s: s.alice.post(LARGE, to=s.bob),
    "post notify": lambda s: s.alice.post_notify(b"note", b"message", to=s.bob, noteto=s.carol),
    "large post notify": lambda s: s.alice.post_notify(LARGE[:100_000], LARGE, to=s.bob, noteto=s.carol),
    "ping": lambda s: s.alice.ping("hello", to=s.bob),
    "new node": lambda s: s.alice.edit_user(newnode="watch"),
    "new alias": lambda s: s.alice.edit_user(newalias=fresh("also alice")),
    "new group": lambda s: s.alice.invite(s.bob, fresh("another group"), "hello"),
    "invite again": lambda s: s.alice.invite(s.carol, s.gid, "hello"),
    "join": lambda s: s.carol.join(s.gid),
    "drop": lambda s: s.alice.drop(s.bob, s.gid),
    "drop oneself": lambda s: s.bob.drop(s.bob, s.gid),
    "join again": lambda s: s.alice.join(s.gid),
}


def sender_of(scene: Scene) -> Client:
    return next(client for client in scene.clients if client.last_request)


@pytest.fixture(params=REQUESTS)
def request_(request: pytest.FixtureRequest, scene: Scene) -> Iterator[tuple[Client, Frame]]:
    """A request that was made once and is delivered, and whose ack was then lost with the link."""
    for client in scene.clients:
        client.last_request = b""
    ack = REQUESTS[request.param](scene)
    sender = sender_of(scene)
    settle(*scene.clients)
    yield sender, ack


def again(sender: Client, ack: Frame, way: str = "hang_up") -> None:
    """Sends the request again on a new link, and gets the first ack."""
    octets = sender.last_request
    getattr(sender, way)()
    sender.login()
    assert sender.send_again(octets).header == ack.header


def test_it_gets_the_first_ack_again_and_does_nothing_more(
    scene: Scene, request_: tuple[Client, Frame]
) -> None:
    sender, ack = request_
    for way in ("hang_up", "log_out"):
        again(sender, ack, way)
        for client in scene.clients:
            if client.uid == sender.uid:
                client.expect("login", from_=sender, node="tbd")
        nothing_more_for(*scene.clients)


def test_it_is_one_request_over_kill_9_and_restart_too(new_box: Callable[..., Box]) -> None:
    box = new_box()
    people = People(box)
    scenes, made = [], []
    for make in REQUESTS.values():
        scene = make_scene(people)
        for client in scene.clients:
            client.last_request = b""
        ack = make(scene)
        scenes.append(scene)
        made.append((sender_of(scene), ack))
        settle(*scene.clients)
    for stop in (box.kill9, box.terminate):
        stop()
        box.start()
        for scene, (sender, ack) in zip(scenes, made, strict=True):
            for client in scene.clients:
                client.login()
            settle(*scene.clients)
            assert sender.send_again(sender.last_request).header == ack.header
            nothing_more_for(*scene.clients)
    people.close()


def test_sent_twice_on_one_link_it_is_two(people: People) -> None:
    alice, bob = people.members("alice", "bob")
    first = alice.post(b"hello", to=bob)
    second = alice.send_again(alice.last_request)
    assert second["msgid"] > first["msgid"]
    for ack in (first, second):
        bob.expect("delivery", id=ack["msgid"], posted=ack["posted"], from_=alice, data=b"hello")
    nothing_more_for(alice, bob)


def test_an_id_may_be_used_again_for_another_request(people: People) -> None:
    alice, bob = people.members("alice", "bob")
    alice.post(b"hello", to=bob)
    other = alice.last_request.replace(b"hello", b"howdy")
    alice.send_again(other)
    alice.hang_up()
    alice.login()
    alice.send_again(other.replace(b"howdy", b"adieu"))
    for text in (b"hello", b"howdy", b"adieu"):
        bob.expect("delivery", from_=alice, data=text)
    nothing_more_for(bob)


def test_the_same_octets_from_another_node_are_another_request(people: People) -> None:
    alice, bob = people.members("alice", "bob")
    tablet = people.node(alice, "tablet")
    first = alice.post(b"hello", to=bob)
    tablet.expect("delivery", from_=alice, data=b"hello")
    second = tablet.send_again(alice.last_request)
    assert second["msgid"] != first["msgid"]
    bob.expect("delivery", from_=alice, data=b"hello")
    bob.expect("delivery", from_=alice, data=b"hello")
    alice.expect("delivery", from_=alice, data=b"hello")


def test_other_octets_with_the_same_meaning_are_another_request(people: People) -> None:
    alice, bob = people.members("alice", "bob")
    first = alice.post(b"hello", to=bob)
    alice.hang_up()
    alice.login()
    octets = alice.last_request
    longer = b"%04x" % (int(octets[:4], 16) + 1) + octets[4:].replace(b'"op":7', b'"op": 7')
    assert alice.send_again(longer)["msgid"] != first["msgid"]
    bob.expect("delivery", from_=alice, data=b"hello")
    bob.expect("delivery", from_=alice, data=b"hello")


def test_a_refused_request_is_judged_anew(people: People) -> None:
    alice, bob = people.members("alice", "bob")
    also = fresh("also bob")
    alice.ping("hello", to=also, error=mentions(also))
    octets = alice.last_request
    alice.hang_up()
    alice.login()
    alice.send_again(octets, error=mentions(also))
    bob.edit_user(newalias=also)
    bob.expect("user", from_=bob, newalias=also)
    alice.send_again(octets)
    bob.expect("ping", from_=alice, alias=alice.alias, to=also, data=b"hello")
    nothing_more_for(bob)


def test_a_request_is_told_again_when_it_would_be_refused_by_now(people: People) -> None:
    alice, bob = people.members("alice", "bob")
    gid = people.group(alice, bob)
    ack = bob.post(b"hello", to=without_sender(gid))
    octets = bob.last_request
    alice.drop(bob, gid)
    bob.hang_up()
    bob.login()
    assert bob.send_again(octets).header == ack.header
    bob.post(b"hello", to=without_sender(gid), error=mentions(gid))
    settle(alice, bob)


def test_a_request_whose_ack_nobody_read_is_one_request(people: People) -> None:
    alice, bob = people.members("alice", "bob")
    for n in range(10):
        alice.send(wire.Post(alice.request_id(), [wire.Target(bob.uid, 1)], 1, 0, None), b"%d" % n)
        octets = alice.last_request
        alice.reset()
        alice.login()
        msgid = alice.send_again(octets)["msgid"]
        bob.expect("delivery", id=msgid, from_=alice, data=b"%d" % n)
        settle(alice)
        nothing_more_for(bob)


def test_a_new_node_asked_for_twice_is_one_node_with_one_password(people: People) -> None:
    alice = people.member("alice")
    tablet = people.node(alice, "tablet")
    ack = alice.edit_user(newnode="watch")
    told = tablet.expect("user", from_=alice, newnode="watch", nodeid=ANY)
    again(alice, ack)
    watch = alice.other_node(told["nodeid"])
    watch.login()
    watch.close()
    members = people.box.control("member.show", member=alice.uid)
    assert members["devices"] == 3


def test_presence_may_be_announced_again(people: People) -> None:
    alice, bob = people.members("alice", "bob")
    ack = alice.edit_ohi("init", bob)
    bob.expect("ohi", from_=alice, status=1)
    octets = alice.last_request
    alice.hang_up()
    bob.expect("ohi", from_=alice, status=2)
    alice.login()
    assert alice.send_again(octets).header == ack.header


def test_a_large_request_is_known_again_though_the_disk_is_low(new_box: Callable[..., Box]) -> None:
    """Else its sender would send it anew when there is room, and it would exist twice."""
    box = new_box(config="[disk]\nreserve_percent = 0\n")
    alice, bob = Client.register(box, alias=fresh("alice")), Client.register(box, alias=fresh("bob"))
    sent: list[tuple[Frame, bytes]] = []
    for post in (
        lambda: alice.post(LARGE, to=bob),
        lambda: alice.post_notify(LARGE[:100_000], LARGE, to=bob),
        lambda: alice.post_notify(b"note", LARGE, to=bob),
    ):
        sent.append((post(), alice.last_request))
    alice.hang_up()
    bob.close()
    (box.folder / "config.toml").write_text('[disk]\nreserve_percent = 50\nreserve_octets = "1 TiB"\n')
    box.restart()
    disk = box.control("status")["disk"]
    if disk["free"] >= disk["reserve"]:
        pytest.skip("half of this disk is free")
    alice.come_back()
    for ack, octets in sent:
        assert alice.send_again(octets).header == ack.header
    alice.post(LARGE[1:], to=bob, error=mentions("disk full"))
    alice.close()
