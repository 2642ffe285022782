"""Clients of a real box that expect what the world says.

The driver makes one request at a time (or several that only post) and then lets every client that is online
read what it must have got by now. So all is in a known order, but for the messages of one request, and for
`user` messages, which overtake what has not been sent yet.

In doubt is only what a link's or the box's violent end leaves open: acknowledgements of moments before may
be lost, and their messages then come again.
"""

from __future__ import annotations

import time
from typing import Any
from unittest.mock import ANY

from appliance import wire
from tests.kit import Box, Client, Frame, Quit, Silence, mentions
from tests.kit.line import PATIENCE_S

from .world import Message, Node, Refused, Target, World

ACKS_DELAY_S = 0.5
"""After this long an acknowledgement is on stable storage; the box says 50 ms."""


class Seat:
    """One node: its place in the world, its client, and what that client has."""

    def __init__(self, node: Node, client: Client, window: int) -> None:
        self.node = node
        self.client = client
        self.window = window
        self.held: list[Message] = []
        """Received on this link, and not acknowledged."""
        self.ahead: set[Message] = set()
        """`user` messages that have to come before any other."""
        self.doubt: set[Message] = set()
        """Acknowledged, but it is not certain that the box knows."""
        self.acked: list[tuple[Message, float]] = []
        """And when."""
        self.answered = 0.0
        """Acknowledgements before this time have reached the box."""
        self.notices: list[tuple[str, int]] = []
        self.last: Request | None = None

    def __repr__(self) -> str:
        return f"<{self.node.label} of {self.client.alias}>"

    # reading

    def read(self) -> None:
        """All that must have come, which must be all that was due."""
        due = self.node.queue
        while len(self.held) < self.window and any(message not in self.held for message in due):
            try:
                self._receive(self.client.next())
            except Silence:
                raise AssertionError(
                    f"{self}, which holds {len(self.held)}, waits for {self._next()}"
                ) from None
        self.doubt.clear()
        while len(self.notices) < len(self.node.notices):
            self._receive(self.client.next())
        assert self.notices == self.node.notices, self
        self.ahead = {message for message in due if message.first and message not in self.held}

    def look(self) -> None:
        """Nothing came beside that."""
        now = time.monotonic()
        self.client.round_trip()
        self.answered = now
        while self.client.untaken:
            self._receive(self.client.next())

    def _receive(self, frame: Frame) -> None:
        if frame.op == "ohi":
            self.notices.append((frame["from"], frame["status"]))
            return
        expected = self._next()
        found = next((message for message in expected if not differs(frame, message)), None)
        assert found is not None, (
            f"{self}, which holds {len(self.held)}, got {frame}, expected one of {expected}"
        )
        found.id, found.posted = frame["id"], frame["posted"]
        if found.made is not None:
            found.made.password = frame["nodeid"]
        self.ahead.discard(found)
        self.doubt = {
            m for m in self.doubt if m is not found and (m.first != found.first or m.step >= found.step)
        }
        if not self.client.auto_ack:
            self.held.append(found)
            return
        if found in self.node.queue:
            self.node.queue.remove(found)
        self.acked.append((found, time.monotonic()))

    def _next(self) -> list[Message]:
        """What may come now."""
        still = sorted({*self.node.queue, *self.doubt} - {*self.held}, key=lambda message: message.step)
        first = self._until_certain([message for message in still if message.first])
        if self.ahead - self.doubt:
            return first
        return first + self._until_certain([message for message in still if not message.first])

    def _until_certain(self, messages: list[Message]) -> list[Message]:
        """Those of the lowest step, and of further steps while all before may be missing."""
        found: list[Message] = []
        for message in messages:
            if any(m not in self.doubt and m.step < message.step for m in found):
                break
            found.append(message)
        return found

    # acknowledging

    def ack(self, message: Message, twice: bool = False) -> None:
        assert message.id is not None
        for _ in range(2 if twice else 1):
            self.client.ack(message.id)
        self.held.remove(message)
        self.node.queue.remove(message)
        self.acked.append((message, time.monotonic()))

    @property
    def unseen(self) -> list[Message]:
        """Of the node's queue, what is not on its way yet, though somebody knows its id."""
        return [m for m in self.node.queue if m not in self.held and m.id is not None and m.made is None]

    def ack_unseen(self, message: Message) -> None:
        assert message.id is not None
        self.client.ack(message.id)
        self.node.queue.remove(message)
        self.ahead.discard(message)
        self.acked.append((message, time.monotonic()))

    def diligent(self, diligent: bool) -> None:
        """Whether all is acknowledged as it comes."""
        while diligent and self.held:
            self.ack(self.held[0])
        self.client.auto_ack = diligent

    def lost(self, since: float) -> None:
        """The link is gone, and acknowledgements since this time may be, too."""
        self.doubt |= {message for message, when in self.acked if when >= since}
        self.client.close()
        self.held.clear()
        self.notices.clear()


def differs(frame: Frame, message: Message) -> str:
    fields = {**message.fields, "from": message.sender}
    fields |= {"id": message.id or ANY, "posted": message.posted or ANY}
    if message.note_of is not None:
        fields["postid"] = message.note_of.id
    return frame.differs(message.op, {**fields, "data": message.data})


TYPES = {"uid": 1, "with": 2, "without": 3}


def wired(targets: list[Target]) -> list[wire.Target]:
    return [wire.Target(name, TYPES[kind]) for kind, name in targets]


def posting(seat: Seat, targets: list[Target], data: bytes) -> wire.Post:
    return wire.Post(seat.client.request_id(), wired(targets), len(data), 0, None)


class Request:
    """An accepted request, as it went out, and its ack."""

    def __init__(self, octets: bytes, ack: Frame, ohi: tuple[str, list[str]] | None) -> None:
        self.octets = octets
        self.ack = ack
        self.ohi = ohi


class Crowd:
    """All seats at one box. `window` is the box's `window_messages`."""

    def __init__(self, box: Box, window: int) -> None:
        self.box = box
        self.window = window
        self.world = World()
        self.seats: list[Seat] = []

    @property
    def online(self) -> list[Seat]:
        return [seat for seat in self.seats if seat.node.online]

    @property
    def offline(self) -> list[Seat]:
        """Nodes that can log in: their password has been told."""
        return [seat for seat in self.seats if not seat.node.online and seat.node.password]

    def register(self, alias: str, label: str) -> None:
        client = Client.register(self.box, alias=alias, label=label)
        node = self.world.register(client.uid, client.node, label, alias)
        self.seats.append(Seat(node, client, self.window))

    def add_node(self, seat: Seat, label: str) -> None:
        """The new node can log in when some node has read the password."""
        self.ask(
            seat,
            lambda: self.world.new_node(seat.node, label),
            wire.UserEdit(seat.client.request_id(), label),
        )
        self.seats.append(Seat(seat.node.member.nodes[-1], seat.client.other_node(""), self.window))
        self.read()

    def read(self) -> None:
        for seat in self.online:
            seat.read()
        for seat in self.seats:
            seat.client.node = seat.node.password or ""

    def look(self) -> None:
        self.read()
        for seat in self.online:
            seat.look()
            seat.read()

    # requests

    def ask(
        self,
        seat: Seat,
        judge: Any,
        request: Any,
        data: bytes = b"",
        ohi: tuple[str, list[str]] | None = None,
    ) -> None:
        """Make a request of the box, and `judge` it by the world: both accept, or both refuse."""
        message, refused = None, None
        try:
            message = judge()
        except Refused:
            refused = mentions()
        ack = seat.client.request(request, data, refused)
        if refused is None:
            self._answered(message, ack)
            seat.last = Request(seat.client.last_request, ack, ohi)
        self.read()

    def _answered(self, message: Message | None, ack: Frame) -> None:
        assert ("msgid" in ack) == (message is not None), ack
        if message is not None:
            message.id, message.posted = ack["msgid"], ack["posted"]

    def again(self, seat: Seat) -> None:
        """The request of an earlier link: the first ack, and nothing more, but that one is present."""
        assert seat.last is not None
        if seat.last.ohi:
            self.world.edit_ohi(seat.node, *seat.last.ohi, again=True)
        assert seat.client.send_again(seat.last.octets).header == seat.last.ack.header
        self.read()

    # links

    def login(self, seat: Seat, diligent: bool = True) -> Message:
        """Who left acknowledgements in doubt is diligent: what comes again is told from what does not by
        the login message that ends it.
        """
        seat.client.auto_ack = diligent or bool(seat.doubt)
        info = seat.client.login()
        announcing = self.world.login(seat.node)
        assert sorted(info.header.get("ohi", [])) == sorted(announcing), (seat, announcing)
        seat.ahead = {message for message in seat.node.queue if message.first}
        message = seat.node.queue[-1]
        self.read()
        return message

    def log_out(self, seat: Seat) -> None:
        seat.client.log_out()
        assert not seat.client.untaken, f"{seat} got more than was due"
        seat.answered = time.monotonic()
        self._gone(seat)

    def hang_up(self, seat: Seat) -> None:
        seat.client.hang_up()
        deadline = time.monotonic() + PATIENCE_S
        while self._device(seat)["online"]:
            assert time.monotonic() < deadline, "the box does not see that the link is gone"
            time.sleep(0.005)
        self._gone(seat)

    def _gone(self, seat: Seat) -> None:
        seat.lost(seat.answered)
        self.world.gone(seat.node)
        self.read()

    def is_taken(self, seat: Seat) -> None:
        """Another login of the node is refused while its link is up."""
        try:
            seat.client.other_node(seat.client.node).login()
        except Quit as error:
            assert error.reason == "node already connected"
        else:
            raise AssertionError(f"{seat} has two links")

    def drop_device(self, seat: Seat) -> None:
        self.box.control("device.drop", device=f"{seat.client.uid}/{seat.node.label}")
        if seat.node.online:
            seat.client.expect_closed()
        self.seats.remove(seat)
        self.world.drop_node(seat.node)
        if seat.node.password:
            try:
                seat.client.login()
            except Quit as error:
                assert error.reason == "login failed"
            else:
                raise AssertionError(f"{seat} was dropped and got in")
        self.read()

    # the box

    def restart(self) -> None:
        """Orderly: what was acknowledged, and read by the box, it knows."""
        assert self.box.terminate() == 0, self.box.words()
        for seat in self.online:
            seat.lost(seat.answered)
        self.world.all_gone()
        self.box.start()

    def kill(self) -> None:
        """SIGKILL: acknowledgements of moments before may be lost."""
        self.box.kill9()
        recent = time.monotonic() - ACKS_DELAY_S
        for seat in self.seats:
            seat.lost(min(seat.answered, recent) if seat.node.online else recent)
        self.world.all_gone()
        self.box.start()

    def kill_while_asked(self, seat: Seat, targets: list[Target], data: bytes) -> None:
        """Nobody reads the ack of a post to others. Sent again after the restart it is one post."""
        seat.client.send(posting(seat, targets, data), data)
        octets = seat.client.last_request
        self.kill()
        login = self.login(seat)
        ack = seat.client.send_again(octets)
        message = self.world.post(seat.node, targets, data)
        self._answered(message, ack)
        assert login.id is not None
        if ack["msgid"] < login.id:
            message.step = login.step - 0.5
        self.read()

    def burst(self, posts: list[tuple[Seat, list[Target], bytes]]) -> None:
        """Posts that do not wait for each other's acks."""
        asked = [(*post, post[0].client.send(posting(*post), post[2])) for post in posts]
        acked = [(seat.client.answer(number), seat, to, data) for seat, to, data, number in asked]
        for ack, seat, to, data in sorted(acked, key=lambda one: str(one[0]["msgid"])):
            self._answered(self.world.post(seat.node, to, data), ack)
        self.read()

    def _device(self, seat: Seat) -> Any:
        devices = self.box.control("device.list", member=seat.client.uid)
        return next(device for device in devices if device["label"] == seat.node.label)
