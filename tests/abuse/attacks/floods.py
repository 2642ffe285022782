"""Much of what is allowed, or nearly."""

from __future__ import annotations

import contextlib
import itertools
import random
import threading
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

from appliance import wire
from tests.load import Line, Reactor

from .hand import Hand, Target, framed, push


def login_storm(target: Target) -> dict[str, Any]:
    """Guess passwords on several connections at a time, each for one guess."""
    victim = Hand(target)
    victim.close()
    counts: Counter[str] = Counter()

    def guess() -> None:
        while not target.over:
            link = wire.ClientLink()
            octets = link.encode(wire.TmtpRev("1"))
            octets += link.encode(wire.Login(victim.uid, wire.b32encode(random.randbytes(25))))
            with contextlib.suppress(OSError), target.connect() as sock:
                sock.sendall(octets)
                while got := sock.recv(65536):
                    link.receive_data(got)
                while not isinstance(event := link.next_event(), wire.NeedData):
                    if isinstance(event, wire.QuitReply):
                        counts[event.error] += 1
                        break

    target.under_way()
    threads = [threading.Thread(target=guess) for _ in range(target.options["links"])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"quits": dict(counts)}


def ack_flood(target: Target) -> dict[str, Any]:
    """Acknowledge what was never sent."""
    chance = random.Random(1)
    acks = b"".join(
        framed(b'{"id":"%016x","op":10,"type":"n"}' % chance.getrandbits(63)) for _ in range(2000)
    )
    return _pour(target, acks, 2000)


def pulse_flood(target: Target) -> dict[str, Any]:
    """The cheapest frame there is."""
    return _pour(target, framed(b'{"op":11}') * 5000, 5000)


def _pour(target: Target, octets: bytes, frames: int) -> dict[str, Any]:
    hands = [Hand(target) for _ in range(target.options["links"])]
    rests = [b""] * len(hands)
    sent = 0
    target.under_way()
    while not target.over:
        for number, hand in enumerate(hands):
            rest = rests[number] or octets
            count = push(hand.sock, rest)
            rests[number] = rest[count:]
            sent += count
    for hand in hands:
        hand.close()
    return {"frames": sent * frames // len(octets)}


class Asker(Line):
    """A member that always has some requests in flight, and counts the answers."""

    def __init__(self, reactor: Reactor, target: Target, number: int) -> None:
        super().__init__(reactor, target.address)
        self.alias = f"asker {number:05}"
        self.uid = ""
        self.ready = False
        self.answers: Counter[str] = Counter()
        self.notices = 0
        self._more: Callable[[], Any] = lambda: None

    def enter(self) -> None:
        self.open()
        self.request(wire.TmtpRev("1"))
        self.request(wire.Register("evil", self.alias, None))

    def begin(self, more: Callable[[], Any], in_flight: int) -> None:
        """`more` makes a request, with its data if there is any."""
        self._more = more
        for _ in range(in_flight):
            self.ask()

    def ask(self) -> None:
        made = self._more()
        if made is not None:
            self.request(*made) if isinstance(made, tuple) else self.request(made)

    def happened(self, event: wire.ServerMessage | wire.Data) -> None:
        if isinstance(event, wire.Registered):
            self.uid = event.uid
        elif isinstance(event, wire.Info):
            self.ready = True
        elif isinstance(event, wire.AckReply):
            words = event.error or "done"
            self.answers[words.partition(":")[0]] += 1
            self.ask()
        elif isinstance(event, wire.Message):
            self.request(wire.Ack(wire.format_id(event.id), "n"))
        elif isinstance(event, wire.Ohi):
            self.notices += 1


def _ask(target: Target, make: Callable[[list[Asker], Asker, int], Any], deaf: int = 0) -> dict[str, Any]:
    """Have askers ask without end; `make` gets all of them, the one who asks, and a number."""
    reactor = Reactor()
    askers = [Asker(reactor, target, number) for number in range(target.options["links"])]
    for asker in askers:
        asker.enter()
    assert reactor.until(lambda: all(asker.ready for asker in askers), 20)
    numbers = itertools.count()
    target.under_way()

    def more(asker: Asker) -> Any:
        return None if target.over else make(askers, asker, next(numbers))

    for asker in askers:
        asker.begin(partial(more, asker), target.options.get("in_flight", 8))
    reactor.until(lambda: target.over, target.seconds + 1)
    reactor.run(0.2)
    answers = sum((asker.answers for asker in askers), Counter())
    lost = sum(not asker.up for asker in askers)
    notices = sum(asker.notices for asker in askers)
    reactor.close()
    return {"answers": dict(answers), "lost": lost, "notices": notices}


def ping_flood(target: Target) -> dict[str, Any]:
    """Pings to each other, far beyond what is allowed in a day."""

    def ping(askers: list[Asker], asker: Asker, number: int) -> Any:
        to = askers[number % len(askers)].alias
        return wire.Ping(str(number), asker.alias, to, 2, 0, None), b"hi"

    return _ask(target, ping)


def notice_flood(target: Target) -> dict[str, Any]:
    """Come and go, to everybody, without end."""

    def announce(askers: list[Asker], asker: Asker, number: int) -> Any:
        return wire.OhiEdit(str(number), [a.uid for a in askers], ("init", "drop")[number % 2])

    return _ask(target, announce)


def name_flood(target: Target) -> dict[str, Any]:
    """Aliases, groups and nodes, as many as one can get."""

    def make(askers: list[Asker], asker: Asker, number: int) -> Any:
        kind = number % 3
        if kind == 0:
            return wire.UserEdit(str(number), None, f"alias {number:08}")
        if kind == 1:
            return wire.UserEdit(str(number), f"node {number:08}", None)
        gid, to = f"group {number:08}", askers[number % len(askers)].alias
        return wire.GroupInvite(str(number), gid, asker.alias, to, 0, 0, None)

    return _ask(target, make)


def request_flood(target: Target) -> dict[str, Any]:
    """Requests that are refused: posts to nobody there is."""

    def post(askers: list[Asker], asker: Asker, number: int) -> Any:
        return wire.Post(str(number), [wire.Target("nobody", 1)], 1, 0, None), b"x"

    return _ask(target, post)


ATTACKS: dict[str, Callable[[Target], dict[str, Any]]] = {
    attack.__name__: attack
    for attack in (
        login_storm,
        ack_flood,
        pulse_flood,
        ping_flood,
        notice_flood,
        name_flood,
        request_flood,
    )
}
