"""A client of a household's boxes: it writes without end, and goes to another box when its own is silent."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import google_crc32c
import trio

from appliance import wire

from .asking import where_is
from .ledger import Account, Said

if TYPE_CHECKING:
    from .crowd import Crowd


CONNECT_S = 1.0
"""For TCP and TLS: a box in the same house that does not answer by then is not there."""
LOGIN_S = 2.0
ANSWER_S = 2.0
"""A request without an answer for so long: the box is gone, or its link is."""
PAUSE_S = 0.1
IN_FLIGHT = 5
EVERY_S = 0.12
"""Between two posts of a node, about."""
HURRY_S = 0.006
"""The same in a hurry, so that there is always something on its way."""
SMALL, LARGE = (10, 2000), (66_000, 120_000)
LARGE_SHARE = 0.02
HEAD_OCTETS = 400
"""Of a delivery so much is looked at."""
PASSING = ("node already connected", "login failed")
"""Reasons for which a box may refuse a login just after another one died."""

Address = tuple[str, int]


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


TLS = _context()


class Gone(Exception):
    """The box, or the link to it."""


BROKEN = (OSError, Gone, trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError)


async def sure(true: Callable[[], bool]) -> None:
    """Wait until it is true."""
    while not true():  # noqa: ASYNC110
        await trio.sleep(0.01)


class Node:
    """A client. With `boxes` it knows their addresses, and has a favourite; else it asks for `host`."""

    def __init__(self, crowd: Crowd, member: str, label: str, favourite: int | None) -> None:
        self.crowd = crowd
        self.account = Account(f"{member}/{label}", member)
        self.member, self.label = member, label
        self.favourite = favourite
        self.uid = self.password = ""
        self.box = ""
        """Where it is logged in; empty if it is nowhere."""
        self.ready = False
        self.waiting: dict[str, Said] = {}
        self.took_s: float | None = None
        """From the last `mark` to the next ack."""
        self.marked_at = 0.0
        self.marked_link = 0
        self.links = 0
        self.acks = 0
        self.subjects: list[bytes] = []
        """Deliveries that are from nobody of the test."""
        self._answers: dict[str, wire.AckReply] = {}
        self._asked: dict[str, bytes] = {}
        self._asking: dict[str, float] = {}
        self._count = 0
        self._out: list[bytes] = []
        self._bell = trio.Event()
        self._link = wire.ClientLink()
        self._large: wire.Message | None = None
        self._start = b""
        self._sum = 0
        self._size = 0

    def __repr__(self) -> str:
        return f"{self.account.name} at {self.box or 'no box'}"

    # what tests call

    def mark(self, at: float, anew: bool) -> None:
        """Measure the time from `at` to the next ack; `anew`: on a new link."""
        self.took_s, self.marked_at = None, at
        self.marked_link = self.links + 1 if anew else 0

    # its life

    async def run(self) -> None:
        turn = self.favourite or 0
        while True:
            address = await self._where(turn)
            if address is not None:
                try:
                    await self._visit(address)
                except* BROKEN:
                    pass
                finally:
                    self.ready, self.box = False, ""
                turn += 1
            await trio.sleep(PAUSE_S)

    async def _where(self, turn: int) -> Address | None:
        if self.favourite is not None:
            return self.crowd.addresses[turn % len(self.crowd.addresses)]
        found = await where_is(self.crowd.host, self.crowd.own)
        return None if found is None else (found, self.crowd.addresses[0][1])

    async def _visit(self, address: Address) -> None:
        with trio.fail_after(CONNECT_S):
            plain = await trio.open_tcp_stream(*address)
            stream = trio.SSLStream(plain, TLS, https_compatible=True)
            try:
                await stream.do_handshake()
            except BaseException:
                await trio.aclose_forcefully(stream)
                raise
        self._link = wire.ClientLink()
        self._out, self._large = [], None
        self.links += 1
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._send, stream)
                nursery.start_soon(self._watch, trio.current_time())
                self._say(wire.TmtpRev("1"))
                login = wire.Login(self.uid, self.password)
                self._say(login if self.uid else wire.Register(self.label, self.member, None))
                await self._read(stream, self.crowd.names.get(address[0], address[0]))
        finally:
            await trio.aclose_forcefully(stream)

    async def _send(self, stream: trio.SSLStream[trio.SocketStream]) -> None:
        while True:
            if self._out:
                octets = b"".join(self._out)
                self._out.clear()
                await stream.send_all(octets)
            else:
                self._bell = trio.Event()
                await self._bell.wait()

    async def _watch(self, began: float) -> None:
        """Write, and see to it that answers come."""
        chance = self.crowd.chance
        while True:
            await trio.sleep((HURRY_S if self.crowd.hurry else EVERY_S) * chance.uniform(0.5, 1.5))
            now = trio.current_time()
            if not self.ready:
                if now - began > LOGIN_S:
                    raise Gone("no login")
                continue
            late = [said.sent_at for said in self.waiting.values()] + list(self._asking.values())
            if late and time.monotonic() - min(late) > ANSWER_S:
                raise Gone("no answer")
            if self.crowd.writing and len(self.waiting) < IN_FLIGHT:
                self.post()

    async def _read(self, stream: trio.SSLStream[trio.SocketStream], box: str) -> None:
        while True:
            octets = await stream.receive_some(65536)
            if not octets:
                raise Gone("the box closed the link")
            self._link.receive_data(bytes(octets))
            while (event := self._link.next_event()) is not wire.NEED_DATA:
                self._happened(event, box)

    def _say(self, request: Any, data: bytes = b"") -> bytes:
        octets = self._link.encode(request) + data
        self._out.append(octets)
        self._bell.set()
        return octets

    # what comes

    def _happened(self, event: Any, box: str) -> None:
        now = time.monotonic()
        if isinstance(event, wire.Message):
            if event.inline:
                self._came(event, event.data, google_crc32c.value(event.data), box)
            else:
                self._large, self._start, self._sum = event, b"", 0
        elif isinstance(event, wire.Data):
            self._start = (self._start + event.octets)[:HEAD_OCTETS]
            self._sum = google_crc32c.extend(self._sum, event.octets)
            if event.last and self._large is not None:
                self._came(self._large, self._start, self._sum, box)
                self._large = None
        elif isinstance(event, wire.AckReply):
            self._acked(event, box, now)
        elif isinstance(event, wire.Registered):
            self.uid, self.password = event.uid, event.nodeid
        elif isinstance(event, wire.Info):
            self._entered(box, now)
        elif isinstance(event, wire.QuitReply):
            if event.error not in PASSING:
                self.crowd.ledger.fault(f"{self}: {event.error}")
            raise Gone(event.error)

    def _entered(self, box: str, now: float) -> None:
        self.ready, self.box = True, box
        for key in self._asked:
            self._asking[key] = now
            self._out.append(self._asked[key])
        for said in self.waiting.values():
            said.sent.append(box)
            said.sent_at = now
            self.crowd.ledger.resent += 1
            self._out.append(said.octets)
        self._bell.set()

    def _acked(self, event: wire.AckReply, box: str, now: float) -> None:
        said = self.waiting.pop(event.id, None)
        if said is None:
            if self._asked.pop(event.id, None) is None:
                self.crowd.ledger.fault(f"{self}: an answer to nothing: {event}")
            self._asking.pop(event.id, None)
            self._answers[event.id] = event
            return
        if event.error is not None or not event.msgid:
            self.crowd.ledger.refused[event.error or "no id"] += 1
            return
        self.crowd.ledger.acked(said, event.msgid, box, now)
        self.acks += 1
        counts = self.links >= self.marked_link if self.marked_link else said.sent_at > self.marked_at
        if self.took_s is None and counts:
            self.took_s = now - self.marked_at

    def _came(self, message: wire.Message, start: bytes, checksum: int, box: str) -> None:
        if message.op == "delivery":
            token, bar, _ = start.partition(b"|")
            if bar:
                self.crowd.ledger.came(
                    self.account, token.decode(), message.id, message.datalen, checksum, box
                )
            else:
                self.subjects.append(start)
        elif message.op == "user" and "nodeid" in message.fields:
            self.crowd.passwords[f"{self.member}/{message.fields['newnode']}"] = str(message.fields["nodeid"])
        self._say(wire.Ack(wire.format_id(message.id), "n"))

    # what it says

    def _next(self, word: str) -> str:
        self._count += 1
        return f"{word} {self.account.name} {self._count}"

    def post(self) -> None:
        """Write something to somebody."""
        crowd = self.crowd
        chance = crowd.chance
        size = chance.randint(*(LARGE if chance.random() < crowd.large_share else SMALL))
        if crowd.gid and chance.random() < 0.15:
            to, members = [wire.Target(crowd.gid, 3)], frozenset(crowd.everybody)
        else:
            count = min(chance.randint(1, 3), len(crowd.everybody))
            members = frozenset(chance.sample(sorted(crowd.everybody), count))
            to = [wire.Target(crowd.everybody[member], 1) for member in sorted(members)]
        token = self._next("post")
        data = token.encode() + b"|" + chance.randbytes(size)
        octets = self._say(wire.Post(token, to, len(data), 0, None), data)
        loopback = self.member in members and to[0].type == 1
        checksum = google_crc32c.value(data)
        said = Said(
            token,
            self.account.name,
            self.member,
            self._count,
            members,
            octets,
            len(data),
            checksum,
            loopback,
        )
        said.sent.append(self.box)
        said.made_at = said.sent_at = time.monotonic()
        crowd.ledger.said[token] = said
        self.waiting[token] = said

    async def ask(self, make: Callable[[str], Any], data: bytes = b"") -> wire.AckReply:
        """Make a request and wait for its answer, over as many links as that takes."""
        key = self._next("ask")
        await sure(lambda: self.ready)
        self._asked[key] = self._say(make(key), data)
        self._asking[key] = time.monotonic()
        await sure(lambda: key in self._answers)
        return self._answers.pop(key)
