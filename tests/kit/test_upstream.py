"""The scripted site judged: to a plain client it is a TMTP site, and it does wrong when it is told."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from appliance import wire

from . import Client, HungUp, Quit, before_curtain, head_of, mentions, settle, with_sender, without_sender
from .plug import Plug
from .upstream import Cut, Deaf, Delay, Endless, Hold, Ignore, Refuse, Say, Upstream, hostile


@pytest.fixture
def club() -> Iterator[Upstream]:
    with Upstream("The club") as site:
        yield site


@pytest.fixture
def ann(club: Upstream) -> Iterator[Client]:
    client = Client.register(club, alias="Ann at the club")
    yield client
    client.close()


@pytest.fixture
def bob(club: Upstream) -> Iterator[Client]:
    client = Client.register(club, alias="Bob at the club")
    yield client
    client.close()


def test_a_post_comes_to_the_recipient_and_the_senders_other_nodes(
    club: Upstream, ann: Client, bob: Client
) -> None:
    tablet = ann.add_node("tablet")
    tablet.login()
    settle(ann, tablet, bob)
    ack = ann.post(b"hello", bob, datahead=2)
    for client in (tablet, bob):
        frame = client.expect("delivery", from_=ann, data=b"hello", datahead=2)
        assert (frame["id"], frame["posted"]) == (ack["msgid"], ack["posted"])
    assert before_curtain(ann, tablet, bob) == [[], [], []]
    assert "unknown uid" in ann.post(b"hello", [bob, "nobody"], error=mentions())["error"]
    for client in (tablet, bob):
        client.close()


def test_each_op_says_to_each_what_the_protocol_says(club: Upstream, ann: Client, bob: Client) -> None:
    gid = "chess on Fridays"
    ann.invite(bob, gid, "do come")
    bob.expect("invite", from_=ann, alias=ann.alias, gid=gid, to=bob.alias, data=b"do come")
    ann.expect("member", from_=ann, act="invite", alias=bob.alias, gid=gid)
    bob.join(gid)
    for client in (ann, bob):
        client.expect("member", from_=bob, act="join", alias=bob.alias, gid=gid)
    ann.post(b"all", with_sender(gid))
    ann.post(b"the others", without_sender(gid))
    ann.expect("delivery", from_=ann, data=b"all")
    bob.expect("delivery", from_=ann, data=b"all")
    bob.expect("delivery", from_=ann, data=b"the others")
    ack = ann.post_notify(b"note", b"message", bob)
    bob.expect("delivery", from_=ann, notify=2, data=b"message")
    bob.expect("notify", from_=ann, postid=ack["msgid"], data=b"note")
    ann.ping("psst", bob)
    bob.expect("ping", from_=ann, alias=ann.alias, to=bob.alias, data=b"psst")
    ann.edit_ohi("add", bob)
    bob.expect("ohi", from_=ann, status=1)
    ann.expect("ohiedit", from_=ann, **{"for": [{"Id": bob.uid, "Type": 0}]}, type="add")
    ann.edit_user(newalias="Ann the great")
    ann.expect("user", from_=ann, newalias="Ann the great")
    ann.rename_in(gid, "Ann the great")
    ann.drop(bob, gid)
    bob.expect("member", from_=ann, act="alias", alias=ann.alias, newalias="Ann the great", gid=gid)
    bob.expect("member", from_=ann, act="drop", alias=bob.alias, gid=gid)
    ann.close()
    bob.expect("ohi", from_=ann, status=2)


def test_one_message_is_in_flight_and_it_comes_again_until_it_is_acknowledged(
    club: Upstream, ann: Client, bob: Client
) -> None:
    club.resend_s = 0.2
    bob.auto_ack = False
    ann.post(b"first", bob)
    ann.post(b"second", bob)
    first = bob.expect("delivery", from_=ann, data=b"first")
    again = bob.expect("delivery", from_=ann, data=b"first")
    assert first["id"] == again["id"]
    bob.edit_user(newnode="phone")
    phone = club.waiting(club.accounts.members[bob.uid], "phone")
    assert [m.body.octets for m in phone if m.op == "delivery"] == [b"first", b"second"]
    bob.ack(again)
    while (frame := bob.next()).data != b"second":
        bob.ack(frame)
    bob.hang_up()
    club.record.wait(lambda: not club.linked(bob.uid), 5, "Bob is gone")
    bob.auto_ack = True
    bob.login()
    assert bob.next().data == b"second"
    bob.expect("login", from_=bob, node="tbd")


def test_a_request_sent_again_is_delivered_twice_as_by_the_deployed_site(
    club: Upstream, ann: Client, bob: Client
) -> None:
    rule = club.on("taken", Cut(), op="Post")
    with pytest.raises(HungUp):
        ann.post(b"twice", bob)
    assert rule.hits == 1 and club.asked("Post") == 1
    octets = ann.last_request
    ann.login()
    ann.send_again(octets)
    assert bob.expect("delivery", from_=ann, data=b"twice")["id"] != bob.next()["id"]


def test_a_site_that_remembers_requests_does_them_once(club: Upstream, ann: Client, bob: Client) -> None:
    club.remembers = True
    club.on("taken", Cut(), op="Post")
    with pytest.raises(HungUp):
        ann.post(b"once", bob)
    octets = ann.last_request
    ann.login()
    assert ann.send_again(octets)["msgid"] == bob.expect("delivery", from_=ann, data=b"once")["id"]
    assert before_curtain(bob) == [[]]


def test_a_link_that_is_cut_before_a_request_was_taken_has_delivered_nothing(
    club: Upstream, ann: Client, bob: Client
) -> None:
    club.on("request", Cut(reset=True), op="Post")
    with pytest.raises(HungUp):
        ann.post(b"never", bob)
    assert before_curtain(bob) == [[]]
    ann.login()
    ann.post(b"then", bob)
    bob.expect("delivery", from_=ann, data=b"then")


def test_a_held_step_waits_until_it_is_let_go(club: Upstream, ann: Client, bob: Client) -> None:
    hold = Hold()
    rule = club.on("taken", hold, op="Post")
    request = ann.send(wire.Post("1", [wire.Target(bob.uid, 1)], 4), b"held")
    rule.wait()
    bob.expect("delivery", from_=ann, data=b"held")
    ann.expect_nothing(0.1)
    hold.open()
    ann.answer(request)


def test_acks_are_lost_delayed_refused_or_replaced(club: Upstream, ann: Client, bob: Client) -> None:
    club.on("taken", Ignore(), op="Post")
    club.on("taken", Delay(0.2), op="Post")
    club.on("request", Refuse("not today"), op="Post", skip=2)
    club.on("taken", Say(wire.encode_ack("mine", 1, 1)), op="Post")
    lost = ann.send(wire.Post("lost", [], 1), b"x")
    began = time.monotonic()
    assert ann.answer(ann.send(wire.Post("late", [], 1), b"x"))["id"] == "late"
    assert time.monotonic() - began >= 0.2
    ann.post(b"x", error="not today")
    ann.send(wire.Post("other", [], 1), b"x")
    assert ann.answer("mine")["msgid"] == f"{1:016x}"
    assert not ann._answers[lost]


def test_a_node_is_connected_once_and_for_a_while_after_it_was_cut(club: Upstream, ann: Client) -> None:
    twin = ann.other_node(ann.node)
    with pytest.raises(Quit, match="node already connected"):
        twin.login()
    club.lingers_s = 0.3
    ann.hang_up()
    ends = club.record.ends
    club.record.wait(lambda: {"broken", "client closed"} & {why for _, why in ends}, 5, "the link's end")
    with pytest.raises(Quit, match="node already connected"):
        twin.login()
    time.sleep(0.4)
    twin.login()
    club.lingers_s = 0
    twin.close()
    with pytest.raises(Quit, match="login failed"):
        Client(club, uid=ann.uid, node="B" * 40).login()
    club.on("login", Refuse("we are closed"))
    with pytest.raises(Quit, match="we are closed"):
        ann.login()


def test_who_does_not_log_in_in_time_is_cut_off_without_a_word(club: Upstream) -> None:
    club.login_timeout_s = 0.2
    with socket.create_connection(club.address, 5) as sock:
        assert sock.recv(1) == b""


def test_a_killed_site_is_there_again_with_its_queues_and_perhaps_another_certificate(
    club: Upstream, ann: Client, bob: Client
) -> None:
    bob.close()
    ann.post(b"waits", bob)
    club.stop()
    assert not ann.alive
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(club.address, 5)
    club.start()
    bob.login()
    bob.expect("delivery", from_=ann, data=b"waits")
    before = club.fingerprint
    club.renew_certificate()
    assert club.fingerprint != before
    ann.login()
    ann.close()


def test_large_data_goes_through_a_file(club: Upstream, ann: Client, bob: Client) -> None:
    data = bytes(range(256)) * 4096
    rule = club.on("data", Delay(0), where=lambda spool: spool.size >= len(data) // 2)
    ann.post(data, bob)
    assert rule.hits and bob.next().data == data
    ack = ann.post_notify(b"note", data, bob)
    assert bob.next().data == data
    bob.expect("notify", from_=ann, postid=ack["msgid"], data=b"note")


def test_it_stops_listening_or_talks_without_end(club: Upstream, ann: Client, bob: Client) -> None:
    club.on("request", Deaf(), op="Ping")
    ann.send(wire.Ping("1", ann.alias, bob.alias, 0), b"")
    bob.post(b"still comes", ann)
    ann.expect("delivery", from_=bob, data=b"still comes")
    club.on("message", Endless(wire.encode_ohi(ann.uid, 1)), op="delivery", uid=bob.uid)
    bob.post(b"x", with_sender("nobody"), error=mentions())
    club.post(club.accounts.members[ann.uid], [club.accounts.members[bob.uid]], b"x")
    bob.take(1000)
    bob.close()


def test_members_without_links_post_and_are_looked_at(club: Upstream, ann: Client) -> None:
    carol = club.member("Carol at the club", "laptop", "phone")
    (number,) = club.post(carol, [club.accounts.members[ann.uid]], b"from nowhere")
    assert ann.expect("delivery", from_=carol.uid, data=b"from nowhere")["id"] == number
    ann.post(b"to nowhere", carol.uid)
    assert [m.body.octets for m in club.waiting(carol, "phone")] == [b"to nowhere"]


def test_a_pulled_plug_cuts_links_and_a_stalled_one_says_nothing(club: Upstream) -> None:
    with Plug(club.address) as plug:
        real, club.address = club.address, plug.address
        ann = Client.register(club, alias="Ann at the club")
        plug.stall()
        ann.send(wire.Post("1", [], 1), b"x")
        ann.expect_nothing(0.1)
        plug.flow()
        ann.answer("1")
        plug.pull()
        assert not ann.alive
        with pytest.raises((OSError, HungUp)):
            ann.login()
        plug.put_back()
        ann.login()
        ann.close()
        club.address = real


def test_hostile_octets_are_what_their_names_say() -> None:
    def read(octets: bytes) -> list[object]:
        link = wire.ClientLink()
        link.encode(wire.TmtpRev("1"))
        link.encode(wire.Login("B" * 32, "B" * 40))
        link.receive_data(head_of({"id": "1", "op": "tmtprev"}))
        link.receive_data(head_of({"info": "login ok", "op": "info"}) + octets)
        events: list[object] = []
        try:
            while (event := link.next_event()) is not wire.NEED_DATA:
                events.append(event)
        except wire.RemoteProtocolError as error:
            events.append(error.reason)
        return events[2:]

    told = {name: read(octets()) for name, octets in hostile.ONCE.items()}
    assert told["a wrong headsum"] == [wire.reasons.WRONG_HEADSUM]
    assert told["garbage"] == told["no hex"] == told["an empty header"] == ["invalid header length"]
    for name in ("an id that is none", "nested lists", "an endless number"):
        assert told[name] == ["invalid header"], name
    for name in ("a second tmtprev", "a second login", "a new account"):
        assert told[name] == [wire.reasons.UNEXPECTED_MESSAGE], name
    assert told["data too short"] == []
    ids = [m.id for m in told["repeated ids"] if isinstance(m, wire.Message)]
    assert len(ids) == 20 and len(set(ids)) == 1
    ids = [m.id for m in told["falling ids"] if isinstance(m, wire.Message)]
    assert len(ids) == 20 and ids == sorted(ids, reverse=True)
    (huge,) = told["a huge header"]
    assert isinstance(huge, wire.Message) and len(huge.head) > 65500
    assert [m.id for m in told["ids at the ends"] if isinstance(m, wire.Message)][-1] == (1 << 64) - 1
