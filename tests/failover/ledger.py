"""What was sent, what was acknowledged under which id, and what came where: the judge of the failover tests.

Every post has a token that nobody else has; the ledger knows a message by it, whichever box it went to and
however often it was sent.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

FAULTS_MAX = 20
INLINE_MAX = 65536
"""Up to this size the data is in the journal's entries."""


@dataclass(eq=False, slots=True)
class Said:
    """A post. `octets`: the whole request, as it goes out each time."""

    token: str
    node: str
    member: str
    number: int
    to: frozenset[str]
    octets: bytes
    size: int
    checksum: int
    loopback: bool
    sent: list[str] = field(default_factory=list)
    """To which boxes, in turn."""
    made_at: float = 0.0
    sent_at: float = 0.0
    """The last time."""
    msgid: int = 0
    acked_by: str = ""
    acked_at: float = 0.0


@dataclass(eq=False, slots=True)
class Account:
    """A node, by its name; `member` is whose it is."""

    name: str
    member: str
    got: dict[str, int] = field(default_factory=dict)
    """Id by token, in the order in which they came first."""
    inversions: list[str] = field(default_factory=list)
    """What came after a later message of the same node."""
    latest: dict[str, int] = field(default_factory=dict)


class Ledger:
    """Used by several threads: every method is short, and does to a message what the others do not."""

    def __init__(self) -> None:
        self.said: dict[str, Said] = {}
        self.accounts: list[Account] = []
        self.faults: list[str] = []
        self.again = Counter[str]()
        """Messages that came a second time under the same id, by node."""
        self.refused = Counter[str]()
        self.resent = 0
        self.overtaken = 0
        """Large messages that came after a later one of the same node: to a box their octets come after the
        entries, and others wait for them no longer than some seconds."""
        self.island: frozenset[str] = frozenset()
        self.parted_at = 0.0
        """Which boxes saw no other ones for a while, and since when."""

    def fault(self, text: str) -> None:
        if len(self.faults) < FAULTS_MAX:
            self.faults.append(text)

    def may_be_two(self, said: Said) -> bool:
        """Whether boxes that did not see each other may both have carried it out: it was under way to one
        when they were parted, and had to be sent again to one on the other side.
        """
        sent = set(said.sent)
        return said.made_at < self.parted_at and bool(sent & self.island) and bool(sent - self.island)

    def acked(self, said: Said, msgid: int, box: str, now: float) -> None:
        """An ack came: the promise."""
        if said.msgid and said.msgid != msgid:
            self.fault(f"{said.token}: acknowledged as {said.msgid:016x} and as {msgid:016x}, {said.sent}")
        if not said.msgid:
            said.msgid, said.acked_by, said.acked_at = msgid, box, now

    def came(self, account: Account, token: str, msgid: int, size: int, checksum: int, box: str) -> None:
        """A delivery came to a node."""
        said = self.said.get(token)
        if said is None:
            self.fault(f"{account.name}: {token!r}, which nobody has sent")
            return
        if account.member not in said.to and account.member != said.member:
            self.fault(f"{account.name}: {token}, which is for {sorted(said.to)}")
        if (size, checksum) != (said.size, said.checksum):
            self.fault(f"{account.name}: {token} has other octets than were sent ({size} of {said.size})")
        known = account.got.get(token)
        if known is not None:
            self.again[account.name] += 1
            if known != msgid and not self.may_be_two(said):
                self.fault(f"{token} came to {account.name} as {known:016x} and, from {box}, as {msgid:016x}")
            return
        account.got[token] = msgid
        if said.number < account.latest.get(said.node, -1) and said.size > INLINE_MAX:
            self.overtaken += 1
        elif said.number < account.latest.get(said.node, -1):
            account.inversions.append(
                f"{account.name}: {token} came from {box} after {account.latest[said.node]},"
                f" sent to {said.sent}, acknowledged by {said.acked_by or 'none'}"
            )
        account.latest[said.node] = max(said.number, account.latest.get(said.node, -1))

    def owed(self, account: Account) -> dict[str, int]:
        """What was acknowledged and is for this node: id by token."""
        return {
            token: said.msgid
            for token, said in list(self.said.items())
            if said.msgid and self._for(said, account)
        }

    def _for(self, said: Said, account: Account) -> bool:
        if account.name == said.node:
            return said.loopback
        return account.member in said.to or account.member == said.member

    def debts(self) -> list[str]:
        """What was acknowledged and has not come, a line each."""
        return [
            f"{account.name} lacks {token} {msgid:016x}, acknowledged by {self.said[token].acked_by},"
            f" sent to {self.said[token].sent}"
            for account in self.accounts
            for token, msgid in self.owed(account).items()
            if token not in account.got
        ]

    def judge(self, order: bool = True) -> None:
        """AssertionError unless everything acknowledged came, once for all under one id, in each sender's
        order.
        """
        faults = list(self.faults)
        faults += self.debts()[:FAULTS_MAX]
        ids: dict[int, str] = {}
        for said in self.said.values():
            if said.msgid and (other := ids.setdefault(said.msgid, said.token)) != said.token:
                faults.append(f"{said.token} and {other} have the same id {said.msgid:016x}")
        for account in self.accounts:
            for token, msgid in account.got.items():
                said = self.said[token]
                if said.msgid and said.msgid != msgid and not self.may_be_two(said):
                    faults.append(
                        f"{token} was acknowledged by {said.acked_by} as {said.msgid:016x}, and came to"
                        f" {account.name} as {msgid:016x}; sent to {said.sent}"
                    )
        if order:
            faults += self.disorder()
        assert not faults, "\n".join(faults[: 2 * FAULTS_MAX])

    def disorder(self) -> list[str]:
        """Where a sender's order does not hold."""
        told = [line for account in self.accounts for line in account.inversions]
        before: dict[str, Said] = {}
        for said in self.said.values():
            if said.msgid:
                last = before.get(said.node)
                if last is not None and last.msgid >= said.msgid:
                    told.append(
                        f"{said.token} {said.msgid:016x} ({said.acked_by}) is not above {last.token}"
                        f" {last.msgid:016x} ({last.acked_by})"
                    )
                before[said.node] = said
        return told

    def summary(self) -> str:
        """Figures of the whole run."""
        acked = sum(bool(said.msgid) for said in self.said.values())
        came = sum(len(account.got) for account in self.accounts)
        return (
            f"{acked} acknowledged of {len(self.said)} posts ({self.resent} sent again), {came} deliveries,"
            f" {sum(self.again.values())} again with the same id, {self.overtaken} large ones overtaken,"
            f" refused {dict(self.refused)}"
        )
