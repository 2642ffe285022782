"""Members who write to each other all the time, in a process of their own: does anything get lost or late?

    python -m tests.harm.neighbours

The first line on stdin is the box's port on 127.0.0.1. Each of MEMBERS posts to the next one, every EVERY_S;
so there are 160 posts a second, over real TLS. Prints `{"ready": true}`, and runs until another line comes on
stdin, or its end. Then it waits until everything has been acknowledged and delivered, for PATIENCE_S at most,
and prints what happened.
"""

from __future__ import annotations

import json
import select
import sys
import time

from appliance import wire
from tests.load import Line, Reactor

MEMBERS = 4
EVERY_S = 0.025
OCTETS = 200
PATIENCE_S = 10.0


class Neighbour(Line):
    """Posts to `next`, and acknowledges what comes from the one before, which has to count on and on."""

    def __init__(self, reactor: Reactor, address: tuple[str, int]) -> None:
        super().__init__(reactor, address)
        self.uid = ""
        self.ready = False
        self.next: Neighbour = self
        self.posted = self.acknowledged = self.got = 0
        self.sent_at: dict[int, float] = {}
        self.highest = 0
        self.delivered_s: list[tuple[float, float]] = []
        """Of each message that came: when it was sent, and how long it took."""
        self.acknowledged_s: list[tuple[float, float]] = []
        self.wrong: list[str] = []

    def enter(self) -> None:
        self.open()
        self.request(wire.TmtpRev("1"))
        self.request(wire.Register("neighbour", None, None))

    def post(self) -> None:
        self.posted += 1
        self.sent_at[self.posted] = time.monotonic()
        data = (b"%d " % self.posted).ljust(OCTETS)
        self.request(wire.Post(str(self.posted), [wire.Target(self.next.uid, 1)], OCTETS, 0, None), data)

    def happened(self, event: wire.ServerMessage | wire.Data) -> None:
        if isinstance(event, wire.Registered):
            self.uid = event.uid
        elif isinstance(event, wire.Info):
            self.ready = True
        elif isinstance(event, wire.AckReply):
            self._acknowledged(event)
        elif isinstance(event, wire.Message):
            self.request(wire.Ack(wire.format_id(event.id), "n"))
            if event.op == "delivery":
                self._delivered(event)
        elif isinstance(event, wire.QuitReply):
            self.wrong.append(f"quit: {event.error}")

    def _acknowledged(self, event: wire.AckReply) -> None:
        if event.error:
            self.wrong.append(f"post {event.id}: {event.error}")
        self.acknowledged += 1
        sent = self.sent_at[int(event.id)]
        self.acknowledged_s.append((sent, time.monotonic() - sent))

    def _delivered(self, event: wire.Message) -> None:
        number = int(event.data.split()[0])
        if number != self.got + 1 or event.id <= self.highest:
            self.wrong.append(f"message {number} of id {event.id} came after {self.got} of {self.highest}")
        self.got, self.highest = number, event.id
        sent = next(each for each in everybody if each.next is self).sent_at[number]
        self.delivered_s.append((sent, time.monotonic() - sent))

    def lost(self, reason: str) -> None:
        self.wrong.append(f"link lost: {reason}")

    @property
    def done(self) -> bool:
        return self.acknowledged == self.posted == self.next.got


everybody: list[Neighbour] = []


def main() -> None:
    reactor = Reactor()
    address = "127.0.0.1", int(sys.stdin.readline())
    everybody.extend(Neighbour(reactor, address) for _ in range(MEMBERS))
    for one, other in zip(everybody, [*everybody[1:], everybody[0]], strict=True):
        one.next = other
        one.enter()
    assert reactor.until(lambda: all(each.ready for each in everybody), 20)
    print(json.dumps({"ready": True}), flush=True)
    turn = 0
    due = time.monotonic()
    while not select.select([sys.stdin], [], [], 0)[0]:
        if time.monotonic() >= due:
            everybody[turn].post()
            turn = (turn + 1) % MEMBERS
            due += EVERY_S / MEMBERS
        reactor.turn(max(0.0, min(due - time.monotonic(), 0.005)))
    reactor.until(lambda: all(each.done for each in everybody), PATIENCE_S)
    print(
        json.dumps(
            {
                "posted": sum(each.posted for each in everybody),
                "acknowledged": sum(each.acknowledged for each in everybody),
                "delivered": sum(each.got for each in everybody),
                "wrong": [wrong for each in everybody for wrong in each.wrong][:20],
                "deliveries": [pair for each in everybody for pair in each.delivered_s],
                "acks": [pair for each in everybody for pair in each.acknowledged_s],
            }
        )
    )


if __name__ == "__main__":
    main()
