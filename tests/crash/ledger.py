"""What the box has promised, and what it has kept: the judge of the crash tests.

A *wish* is a request of a node. Once it is acknowledged it is a promise: each message that it makes has to
come to every node it goes to, under one id, once - and again only while the node's own acknowledgement may
have been lost with the box's last moments. A wish that has no answer yet is made again on the next link, with
the same octets; it must come to the same single message, whether the box had done it already or not.

The ledger knows messages by what is in them: the op, and a token that nobody has used before.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

Key = tuple[str, str]
"""Op and token of a message."""

MOMENTS_S = 1.0
"""Acknowledgements by nodes that a kill may lose: those of the last 50 ms (store.acks_delay_ms), and what was
on its way or in a commit, on a machine that is busy."""

FAULTS_MAX = 20


@dataclass(eq=False, slots=True)
class Want:
    """A message that a wish makes. `loopback`: it comes to the node that makes the wish, too."""

    key: Key
    members: frozenset[int]
    loopback: bool
    size: int
    checksum: int


@dataclass(eq=False, slots=True)
class Wish:
    """`epoch`: the life of the box in which it was made first."""

    maker: Account
    request: Any
    data: bytes
    wants: list[Want]
    epoch: int
    done: bool = False
    msgid: int = 0


@dataclass(eq=False)
class Account:
    """A node as the ledger sees it. `created`: the id of the message that told of it; 0 for a first node.

    `inherits`: what must have been pending for the node that made this one, as far as can be told.
    """

    name: str
    member: int
    created: int = 0
    inherits: frozenset[Key] = frozenset()
    got: dict[Key, int] = field(default_factory=dict)
    held: set[int] = field(default_factory=set)
    """Received, and not acknowledged by the node: to come again after a restart."""
    acked: dict[int, float] = field(default_factory=dict)
    """When the node acknowledged what, in `time.monotonic` seconds."""
    away: bool = False
    """Switched off for longer; what it is owed, it is owed when it is back."""
    online: bool = False
    ended: float = 0.0
    """When the last link's box died, in `time.monotonic` seconds."""
    owed: set[int] = field(default_factory=set)
    """Of `held` at the restart, what has not come again yet."""
    on_link: set[int] = field(default_factory=set)
    highest: dict[bool, int] = field(default_factory=dict)


class Ledger:
    def __init__(self, moments_s: float = MOMENTS_S) -> None:
        self.moments_s = moments_s
        self.accounts: list[Account] = []
        self.faults: list[str] = []
        self.epoch = 0
        self.promises = 0
        self.received = 0
        self.repeated = 0
        """Came again after a restart, because the node's acknowledgement was lost with it."""
        self.highest = 0
        self._floor = 0
        self._wants: dict[Key, Want] = {}
        self._makers: dict[Key, Wish] = {}
        self._ids: dict[Key, int] = {}
        self._open: dict[Wish, None] = {}
        self._later: list[Wish] = []
        """Promises kept but to those who are away."""

    def fault(self, text: str) -> None:
        if len(self.faults) < FAULTS_MAX:
            self.faults.append(f"life {self.epoch}: {text}")

    # what happens

    def wished(self, wish: Wish) -> None:
        """It was sent, the first time or again."""
        for want in wish.wants:
            self._wants[want.key] = want
            self._makers[want.key] = wish

    def answered(self, wish: Wish, msgid: int | None, error: str | None) -> None:
        """An ack has come."""
        if error is not None:
            self.fault(f"{wish.maker.name}: {wish.request} was refused: {error}")
            return
        if wish.done:
            self.fault(f"{wish.maker.name}: {wish.request.id} was answered twice on a link")
        wish.done = True
        wish.msgid = msgid or 0
        self.promises += 1
        self._open[wish] = None
        if msgid:
            self._new_id(wish, msgid)
            for want in wish.wants:
                if want.key[0] != "notify":
                    self._same_id(want.key, msgid)

    def came(self, account: Account, key: Key, msgid: int, size: int, checksum: int) -> bool:
        """A message has come to a node; whether that was the first time for it."""
        name = f"{account.name}: {key} {msgid:016x}"
        want, wish = self._wants.get(key), self._makers.get(key)
        if want is None or wish is None:
            self.fault(f"{name}: nobody has sent it")
            return False
        if (want.size, want.checksum) != (size, checksum):
            self.fault(f"{name}: other octets than were sent ({size} of {want.size})")
        if account.member not in want.members:
            self.fault(f"{name}: not for this member")
        if account is wish.maker and not want.loopback:
            self.fault(f"{name}: came back to who sent it")
        self._same_id(key, msgid)
        self._new_id(wish, msgid)
        self._in_order(account, msgid, key[0] == "user")
        first = key not in account.got
        if not first:
            self._came_again(account, name, msgid)
        account.got[key] = msgid
        account.owed.discard(msgid)
        account.held.add(msgid)
        self.received += first
        return first

    def acknowledged(self, account: Account, msgid: int) -> None:
        """A node has sent an ack for a message."""
        account.held.discard(msgid)
        account.acked[msgid] = time.monotonic()

    def logged_in(self, account: Account) -> None:
        account.online = True
        account.on_link.clear()
        account.highest.clear()

    def ended(self) -> None:
        """The box is dead, and everything that it had sent has been read."""
        self.epoch += 1
        self._floor = self.highest
        for account in self.accounts:
            if account.online:
                account.online, account.ended = False, time.monotonic()
            account.owed |= account.held
            account.held.clear()

    def debts(self) -> list[str]:
        """What was promised and has not come yet, a line each, but for those who are away."""
        debts = [
            f"{account.name}: {msgid:016x} was not acknowledged and has not come again"
            for account in self.accounts
            if not account.away
            for msgid in account.owed
        ]
        for wish in list(self._open):
            missing = [
                (account, f"{account.name}: {want.key} of {wish.request.id} has not come")
                for want in wish.wants
                for account in self.accounts
                if want.key not in account.got and self._must(wish, want, account)
            ]
            now = [text for account, text in missing if not account.away]
            debts += now
            if not now:
                del self._open[wish]
                if missing:
                    self._later.append(wish)
        return debts

    def is_back(self, account: Account) -> None:
        """An account that was away."""
        account.away = False
        self._open.update(dict.fromkeys(self._later))
        self._later.clear()

    def pending_of(self, maker: Account, created: int) -> frozenset[Key]:
        """What was pending for `maker`, for certain, when a node of it was made by the message `created`."""
        return frozenset(
            key
            for key, msgid in self._ids.items()
            if msgid < created and msgid not in maker.acked and self._for_maker(key, maker, msgid)
        )

    # rules

    def _for_maker(self, key: Key, maker: Account, msgid: int) -> bool:
        wish = self._makers[key]
        return wish.done and self._must(wish, self._wants[key], maker)

    def _must(self, wish: Wish, want: Want, account: Account) -> bool:
        """Whether the message has to come to this node. A node made while the message's id is not known yet
        is judged when it is."""
        if account.member not in want.members or (account is wish.maker and not want.loopback):
            return False
        msgid = self._ids.get(want.key)
        if msgid is None:
            return account.created == 0
        return account.created < msgid or want.key in account.inherits

    def _same_id(self, key: Key, msgid: int) -> None:
        known = self._ids.setdefault(key, msgid)
        if known != msgid:
            self.fault(f"{key} has two ids: {known:016x} and {msgid:016x}")

    def _new_id(self, wish: Wish, msgid: int) -> None:
        if wish.epoch == self.epoch and msgid <= self._floor:
            self.fault(f"{wish.request.id}: {msgid:016x} is not above {self._floor:016x} of the life before")
        self.highest = max(self.highest, msgid)

    def _in_order(self, account: Account, msgid: int, urgent: bool) -> None:
        if msgid in account.on_link:
            self.fault(f"{account.name}: {msgid:016x} came twice on a link")
        account.on_link.add(msgid)
        if msgid <= account.highest.get(urgent, 0):
            self.fault(f"{account.name}: {msgid:016x} came after a higher id")
        account.highest[urgent] = msgid

    def _came_again(self, account: Account, name: str, msgid: int) -> None:
        acked = account.acked.get(msgid)
        if acked is not None:
            self.repeated += 1
            if acked < account.ended - self.moments_s:
                self.fault(f"{name}: came again, acknowledged {account.ended - acked:.1f} s before the end")
