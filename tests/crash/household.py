"""Some members with some devices, who write to each other without end, over links that break."""

from __future__ import annotations

import random
from collections import deque
from typing import Any

import google_crc32c

from appliance import wire
from tests.kit import Box
from tests.load import Line, Reactor

from .ledger import MOMENTS_S, Account, Ledger, Want, Wish

IN_FLIGHT = 6
HOLDS = 20
"""A lazy node keeps so many acknowledgements back, so that there is always something to come again."""

NODES_MAX = 14
SMALL, LARGE = (1, 3000), (66_000, 300_000)
GID = "the household"


class Device(Line):
    """A node: keeps wishes in flight, acknowledges what comes (a lazy one later)."""

    def __init__(self, household: Household, account: Account, uid: str, node: str, lazy: bool) -> None:
        super().__init__(household.reactor, household.box.address)
        self.household = household
        self.ledger = household.ledger
        self.account = account
        self.uid, self.node = uid, node
        self.lazy = lazy
        self.ready = False
        self.quiet = False
        """Whether it asks for nothing."""
        self.waiting: dict[str, Wish] = {}
        self._held: deque[int] = deque()
        self._large: wire.Message | None = None
        self._token = b""
        self._sum = 0

    def enter(self) -> None:
        """Log in (or register); `ready` when the box has let us in, and what had no answer was sent again."""
        self.ready = False
        self._large = None
        self._held.clear()
        self.address = self.household.box.address
        self.open()
        self.ledger.logged_in(self.account)
        self.request(wire.TmtpRev("1"))
        if self.uid:
            self.request(wire.Login(self.uid, self.node))
        else:
            self.request(wire.Register("first", self.account.name, None))

    def wish(self, wish: Wish) -> None:
        self.waiting[wish.request.id] = wish
        self.ledger.wished(wish)
        self.request(wish.request, wish.data)

    def happened(self, event: wire.ServerMessage | wire.Data) -> None:
        if isinstance(event, wire.Message):
            self._message(event)
        elif isinstance(event, wire.Data):
            self._piece(event)
        elif isinstance(event, wire.AckReply):
            wish = self.waiting.pop(event.id, None)
            if wish is None:
                self.ledger.fault(f"{self.account.name}: an answer to nothing: {event}")
            else:
                self.ledger.answered(wish, event.msgid, event.error)
                self.household.answered(self, wish)
        elif isinstance(event, wire.Info):
            self.ready = True
            for wish in list(self.waiting.values()):
                self.wish(wish)
        elif isinstance(event, wire.Registered):
            self.uid, self.node = event.uid, event.nodeid
        elif isinstance(event, wire.QuitReply):
            self.ledger.fault(f"{self.account.name}: quit: {event.error}")

    def lost(self, reason: str) -> None:
        self.ready = False
        if self.household.box.running and not self.household.ending:
            self.ledger.fault(f"{self.account.name}: the link broke: {reason}")

    def _message(self, message: wire.Message) -> None:
        op, fields, data = message.op, message.fields, message.data
        if not message.inline:
            self._large, self._token, self._sum = message, b"", 0
        elif op in ("delivery", "notify", "ping"):
            self._came(message, data, google_crc32c.value(data))
        elif op == "user":
            label = str(fields.get("newnode") or fields["newalias"])
            if self._came(message, label.encode(), 0) and "nodeid" in fields:
                self.household.made(self, label, str(fields["nodeid"]), message.id)
        elif op == "member" and fields["act"] == "alias":
            self._came(message, fields["newalias"].encode(), 0)
        else:
            self.request(wire.Ack(wire.format_id(message.id), "n"))

    def _piece(self, piece: wire.Data) -> None:
        message = self._large
        assert message is not None
        if len(self._token) < 64:
            self._token += piece.octets[:64]
        self._sum = google_crc32c.extend(self._sum, piece.octets)
        if piece.last:
            self._large = None
            self._came(message, self._token, self._sum)

    def _came(self, message: wire.Message, start: bytes, checksum: int) -> bool:
        token = start.partition(b"|")[0].decode()
        first = self.ledger.came(self.account, (message.op, token), message.id, message.datalen, checksum)
        self._held.append(message.id)
        while len(self._held) > (HOLDS if self.lazy else 0):
            msgid = self._held.popleft()
            self.ledger.acknowledged(self.account, msgid)
            self.request(wire.Ack(wire.format_id(msgid), "n"))
        return first


class Household:
    """`live` lets it write for a while; `come_back` brings it together again after the box's end. A slow box
    gets `patience_s` for what it answers, and may have lost acknowledgements of its last `moments_s`.
    """

    def __init__(self, box: Box, seed: int, *, patience_s: float = 20, moments_s: float = MOMENTS_S) -> None:
        self.box = box
        self.patience_s = patience_s
        self.ledger = Ledger(moments_s)
        self.reactor = Reactor()
        self.ending = False
        """Whether links may break now."""
        self.devices: list[Device] = []
        self._random = random.Random(seed)
        self._count = 0
        self._writing = False
        self._aliases: dict[int, str] = {}
        for member in range(5):
            self._move_in(Account(f"member-{member}", member), "", "", lazy=member == 1)
        self._meet()

    def _move_in(self, account: Account, uid: str, node: str, lazy: bool = False) -> Device:
        device = Device(self, account, uid, node, lazy)
        self.devices.append(device)
        self.ledger.accounts.append(account)
        device.enter()
        return device

    def _meet(self) -> None:
        """Everybody joins the one group, and some take a second device."""
        assert self.reactor.until(lambda: all(d.ready for d in self.devices), self.patience_s)
        first, *others = self.devices
        for other in others:
            invite = wire.GroupInvite(self._id(), GID, first.account.name, other.account.name, 0, 0, None)
            first.wish(Wish(first.account, invite, b"", [], 0))
        assert self.reactor.until(lambda: not first.waiting, self.patience_s)
        for other in others:
            join = wire.GroupEdit(self._id(), "join", GID, None, None)
            other.wish(Wish(other.account, join, b"", [], 0))
        for device in self.devices[:3]:
            self._new_node(device)
        self.settle(self.patience_s)

    def live(self, seconds: float) -> None:
        """Write, read and acknowledge for so long."""
        self._writing = True
        for device in self.devices:
            self._write(device)
        self.reactor.run(seconds)
        self._writing = False

    def read_out(self) -> None:
        """The box is dead: read what it had sent before, until every link is at its end."""
        assert self.reactor.until(lambda: not any(d.up for d in self.devices), self.patience_s)
        self.ledger.ended()

    def come_back(self, within_s: float) -> None:
        """All but those who are away log in again, send again what had no answer, and get what is owed;
        AssertionError if it does not come."""
        for device in list(self.devices):
            if not device.account.away:
                device.enter()
        self.settle(within_s)

    def send_away(self, number: int, quiet: bool = False) -> None:
        """A device that will not log in after the next end, until it is called back. A quiet one asks for
        nothing before it goes, so that it has no request that it would send again when it is back.
        """
        self.devices[number].account.away = True
        self.devices[number].quiet = quiet

    def call_back(self, number: int) -> None:
        """It logs in after the next end."""
        self.devices[number].quiet = False
        self.ledger.is_back(self.devices[number].account)

    def settle(self, within_s: float) -> None:
        """Until every wish has its answer, and everything promised has come."""
        answered = self.reactor.until(
            lambda: (
                bool(self.ledger.faults)
                or (
                    all(d.account.away or (d.ready and not d.waiting) for d in self.devices)
                    and not self.ledger.debts()
                )
            ),
            within_s,
        )
        self.check()
        unanswered = [
            f"{d.account.name}: no answer to {i}"
            for d in self.devices
            if not d.account.away
            for i in d.waiting
        ]
        assert answered, "\n".join([*unanswered[:10], *self.ledger.debts()[:20]])

    def check(self) -> None:
        assert not self.ledger.faults, "\n".join(self.ledger.faults)

    def close(self) -> None:
        self.reactor.close()

    # what devices tell

    def answered(self, device: Device, wish: Wish) -> None:
        if isinstance(wish.request, wire.UserEdit) and wish.request.newalias:
            self._aliases[device.account.member] = wish.request.newalias
        if self._writing:
            self._write(device)

    def made(self, device: Device, label: str, password: str, msgid: int) -> None:
        """A message has come that tells of a new node: it logs in at once."""
        if any(d.account.name == label for d in self.devices):
            return
        maker = self.devices[int(label.split("-")[2])].account
        account = Account(label, device.account.member, msgid, self.ledger.pending_of(maker, msgid))
        self._move_in(account, device.uid, password)

    # wishes

    def _write(self, device: Device) -> None:
        while device.ready and not device.quiet and len(device.waiting) < IN_FLIGHT:
            self._random.choices(
                (self._post, self._post_group, self._post_large, self._note, self._ping, self._alias),
                (60, 10, 8, 8, 8, 3),
            )[0](device)
            if len(self.devices) < NODES_MAX and self._random.random() < 0.002:
                self._new_node(device)

    def _post(self, device: Device) -> None:
        others = self._random.sample(range(5), self._random.randint(0, 3))
        self._send_post(device, self._random.randint(*SMALL), [self._to(n) for n in others], set(others))

    def _post_large(self, device: Device) -> None:
        other = self._random.randrange(5)
        self._send_post(device, self._random.randint(*LARGE), [self._to(other)], {other})

    def _post_group(self, device: Device) -> None:
        kind = self._random.choice((2, 3))
        own = {device.account.member} if kind == 2 else set()
        members = {0, 1, 2, 3, 4} - {device.account.member} | own
        self._send_post(device, self._random.randint(*SMALL), [wire.Target(GID, kind)], members)

    def _send_post(self, device: Device, size: int, to: list[wire.Target], members: set[int]) -> None:
        token, data = self._data("post", size)
        post = wire.Post(self._id(), to, len(data), 0, None)
        self._wish(device, post, data, [self._want(device, "delivery", token, data, members)])

    def _note(self, device: Device) -> None:
        other = self._random.randrange(5)
        token, note = self._data("note", 100)
        about, body = self._data("about", self._random.choice((500, 70_000)))
        request = wire.PostNotify(
            self._id(), [self._to(other)], len(note) + len(body), 0, None, len(note), 0, None, [], False
        )
        wants = [
            self._want(device, "delivery", about, body, {other}),
            self._want(device, "notify", token, note, {other}),
        ]
        self._wish(device, request, note + body, wants)

    def _ping(self, device: Device) -> None:
        other = self._random.randrange(5)
        token, data = self._data("ping", 0)
        request = wire.Ping(
            self._id(), f"member-{device.account.member}", f"member-{other}", len(data), 0, None
        )
        self._wish(device, request, data, [self._want(device, "ping", token, data, {other})])

    def _alias(self, device: Device) -> None:
        """A new alias; or, if there is one that the group does not know yet, a new name in the group."""
        member = device.account.member
        alias = self._aliases.pop(member, None)
        request: Any
        if alias is not None:
            request = wire.GroupEdit(self._id(), "alias", GID, alias, None)
            want = Want(("member", alias), frozenset(range(5)), True, 0, 0)
        else:
            alias = f"alias {member} {self._next()}"
            request = wire.UserEdit(self._id(), None, alias)
            want = Want(("user", alias), frozenset({member}), True, 0, 0)
        self._wish(device, request, b"", [want])

    def _new_node(self, device: Device) -> None:
        label = f"node-{self._next()}-{self.devices.index(device)}"
        want = Want(("user", label), frozenset({device.account.member}), True, 0, 0)
        self._wish(device, wire.UserEdit(self._id(), label, None), b"", [want])

    def _wish(self, device: Device, request: Any, data: bytes, wants: list[Want]) -> None:
        device.wish(Wish(device.account, request, data, wants, self.ledger.epoch))

    def _want(self, device: Device, op: str, token: str, data: bytes, members: set[int]) -> Want:
        """Of a message to these members and the sender's other nodes."""
        own = device.account.member
        return Want(
            (op, token), frozenset(members | {own}), own in members, len(data), google_crc32c.value(data)
        )

    def _to(self, member: int) -> wire.Target:
        return wire.Target(self.devices[member].uid, 1)

    def _data(self, kind: str, size: int) -> tuple[str, bytes]:
        token = f"{kind} {self._next()}"
        return token, token.encode() + b"|" + self._random.randbytes(size) if size else token.encode()

    def _id(self) -> str:
        return f"wish {self._next()}"

    def _next(self) -> int:
        self._count += 1
        return self._count
