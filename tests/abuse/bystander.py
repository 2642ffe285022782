"""An honest household beside the attackers, in a process of its own: what does it notice?

    python -m tests.abuse.bystander HOST PORT

One member posts to another every 20 ms; a third logs in every quarter of a second. Each of their waits is a
line of JSON on stdout: `{"at": monotonic seconds, "delivery": ms}` or `{"at", "login": ms}`, and `{"at",
"failed": why}` for a login that did not work. It runs until stdin ends.
"""

from __future__ import annotations

import json
import select
import sys
import time
from typing import Any

from appliance import wire
from tests.load import Line, Reactor

POST_EVERY_S = 0.02
LOGIN_EVERY_S = 0.25
LOGIN_PATIENCE_S = 10.0
OCTETS = 200


def tell(**fields: Any) -> None:
    print(json.dumps({"at": time.monotonic(), **fields}), flush=True)


class Member(Line):
    """Acknowledges what it gets; tells how long posts took to come."""

    def __init__(self, reactor: Reactor, address: tuple[str, int]) -> None:
        super().__init__(reactor, address)
        self.uid = self.node = ""
        self.ready = False
        self.sent: dict[bytes, float] = {}

    def enter(self) -> None:
        self.ready = False
        self.open()
        self.request(wire.TmtpRev("1"))
        self.request(wire.Login(self.uid, self.node) if self.uid else wire.Register("honest", None, None))

    def happened(self, event: wire.ServerMessage | wire.Data) -> None:
        if isinstance(event, wire.Registered):
            self.uid, self.node = event.uid, event.nodeid
        elif isinstance(event, wire.Info):
            self.ready = True
        elif isinstance(event, wire.Message):
            self.request(wire.Ack(wire.format_id(event.id), "n"))
            sent = self.sent.pop(event.data[:20], None)
            if sent is not None:
                tell(delivery=1000 * (time.monotonic() - sent))
        elif isinstance(event, wire.AckReply) and event.error:
            tell(failed=f"post: {event.error}")
        elif isinstance(event, wire.QuitReply):
            tell(failed=f"quit: {event.error}")

    def lost(self, reason: str) -> None:
        tell(failed=f"link: {reason}")


def main() -> None:
    reactor = Reactor()
    address = sys.argv[1], int(sys.argv[2])
    alice, bob, carol = (Member(reactor, address) for _ in range(3))
    for member in (alice, bob, carol):
        member.enter()
    assert reactor.until(lambda: all(member.ready for member in (alice, bob, carol)), 20)
    carol.close()
    tell(ready=True)
    target = [wire.Target(bob.uid, 1)]
    number = 0
    next_post = next_login = time.monotonic()
    login_began = 0.0
    while not select.select([sys.stdin], [], [], 0)[0]:
        now = time.monotonic()
        if now >= next_post:
            next_post = max(next_post + POST_EVERY_S, now)
            number += 1
            token = b"%020d" % number
            bob.sent[token] = time.monotonic()
            alice.request(wire.Post(f"honest {number}", target, OCTETS, 0, None), token.ljust(OCTETS))
        if login_began and carol.ready:
            tell(login=1000 * (time.monotonic() - login_began))
            carol.close()
            login_began = 0.0
        elif login_began and now - login_began > LOGIN_PATIENCE_S:
            tell(failed=f"login took more than {LOGIN_PATIENCE_S} s")
            carol.close()
            login_began = 0.0
        if not login_began and now >= next_login:
            next_login = now + LOGIN_EVERY_S
            login_began = time.monotonic()
            try:
                carol.enter()
            except OSError as error:
                tell(failed=f"login: {error}")
                login_began = 0.0
        reactor.turn(max(0.0, min(next_post - time.monotonic(), 0.01)))


if __name__ == "__main__":
    main()
