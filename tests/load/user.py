"""One member with one node, who posts, and checks what comes."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

import google_crc32c

from appliance import wire

from .reactor import Line, Reactor
from .tally import REFUSED, STAMP, STAMP_OCTETS, SUM, Tally, checksum

SLIP = 4096
"""Bodies start at different places of the sender's pool of random octets."""


class User(Line):
    """As sender: keeps `window` posts of `size` octets in flight. As receiver: acknowledges everything."""

    def __init__(
        self, reactor: Reactor, address: tuple[str, int], tally: Tally, index: int, *, acks: bool = True
    ) -> None:
        super().__init__(reactor, address)
        self.tally = tally
        self.index = index
        self.alias = f"load-{tally.run:x}-{index}"
        self.uid = self.node = ""
        self.acks = acks
        self.ready = self.ending = False
        self.recipients: list[User] = []
        self.targets: list[wire.Target] = []
        self.msgids: list[int] = []
        """By seq; 0: not acknowledged yet, -1: refused."""
        self.sent_ns: list[int] = []
        self.ack_ns: list[int] = []
        self.delivery_ns: list[int] = []
        self.messages = 0
        """That have come, of any kind."""
        self.got: dict[tuple[int, int], int] = {}
        self._answers: dict[str, Callable[[wire.AckReply], None]] = {}
        self._in_flight = 0
        self._more: Callable[[], bool] = lambda: False
        self._pool = b""
        self._size = 0
        self._highest = 0
        self._last_seq: dict[int, int] = {}
        self._large: wire.Message | None = None
        self._start = b""
        self._sum = 0

    def enter(self) -> None:
        """Connect; register, or log in if there is an account. `ready` when the site has let us in."""
        self.ready = self.ending = False
        self._highest = 0
        self.open()
        self.request(wire.TmtpRev("1"))
        self.request(wire.Login(self.uid, self.node) if self.uid else wire.Register("load", self.alias, None))

    def leave(self) -> None:
        """Log out; the line goes down when the site has answered."""
        self.ending = True
        self.request(wire.Quit())

    def ask(
        self, request: Any, then: Callable[[wire.AckReply], None] | None = None, data: bytes = b""
    ) -> None:
        """A request other than the measured posts; its id must not be a number."""
        self._answers[request.id] = then or (lambda reply: None)
        self.request(request, data)

    @property
    def asking(self) -> int:
        """Questions without an answer so far."""
        return len(self._answers)

    def begin(self, size: int, window: int, more: Callable[[], bool]) -> None:
        """Post, `window` at a time, as long as `more` says so."""
        self._pool = random.Random(self.index).randbytes(size + SLIP)
        self._size, self._more = size, more
        for _ in range(window):
            self._post()

    @property
    def done(self) -> bool:
        """Whether all posts have an answer, and there will be no more."""
        return not self._in_flight or not self.up

    def _post(self) -> None:
        if not self._more():
            return
        seq = len(self.msgids)
        now = time.monotonic_ns()
        stamp = STAMP.pack(self.tally.run, now, self.index, seq)
        body = self._pool[seq % SLIP : seq % SLIP + self._size - STAMP_OCTETS]
        total = google_crc32c.extend(google_crc32c.value(stamp), body)
        self.msgids.append(0)
        self.sent_ns.append(now)
        self._in_flight += 1
        self.request(
            wire.Post(str(seq), self.targets, self._size, 0, total), b"".join((stamp, SUM.pack(total), body))
        )

    # what comes

    def happened(self, event: wire.ServerMessage | wire.Data) -> None:
        kind = type(event)
        if kind is wire.Message:
            self._message(event)  # type: ignore[arg-type]
        elif kind is wire.AckReply:
            self._ack(event)  # type: ignore[arg-type]
        elif kind is wire.Data:
            self._piece(event)  # type: ignore[arg-type]
        elif kind is wire.Info:
            self.ready = True
        elif isinstance(event, wire.Registered):
            self.uid, self.node = event.uid, event.nodeid
            if event.error:
                self.tally.note(f"user {self.index}: {event.error}")
        elif isinstance(event, wire.QuitReply) and not self.ending:
            self.tally.note(f"user {self.index}: quit: {event.error}")

    def lost(self, reason: str) -> None:
        if not self.ending:
            self.tally.note(f"user {self.index}: {reason}")

    def _ack(self, reply: wire.AckReply) -> None:
        then = self._answers.pop(reply.id, None)
        if then is not None:
            if reply.error:
                self.tally.note(f"user {self.index}: {reply.id} refused: {reply.error}")
            then(reply)
            return
        now = time.monotonic_ns()
        seq = int(reply.id)
        self.ack_ns.append(now - self.sent_ns[seq])
        if reply.error or not reply.msgid:
            self.tally.refused += 1
            self.tally.note(f"post refused: {reply.error}")
        else:
            self.tally.acked += 1
            self.tally.expected += len(self.recipients)
        self.msgids[seq] = reply.msgid or REFUSED
        self.tally.last_ack_ns = now
        self._in_flight -= 1
        self._post()

    def _message(self, message: wire.Message) -> None:
        self.messages += 1
        if message.op != "user":
            if message.id <= self._highest:
                self.tally.id_order_bad += 1
            self._highest = message.id
        if not message.inline:
            self._large, self._start, self._sum = message, b"", 0
            return
        if message.op == "delivery":
            self._delivery(message, message.data, checksum(message.data))
        self._confirm(message)

    def _piece(self, piece: wire.Data) -> None:
        """Of large data only the sum is kept."""
        message = self._large
        assert message is not None
        octets = piece.octets
        if len(self._start) < STAMP_OCTETS:
            missing = STAMP_OCTETS - len(self._start)
            self._start += octets[:missing]
            octets = octets[missing:]
            if len(self._start) == STAMP_OCTETS:
                self._sum = google_crc32c.value(self._start[: STAMP.size])
        self._sum = google_crc32c.extend(self._sum, octets)
        if piece.last:
            self._large = None
            if message.op == "delivery":
                self._delivery(message, self._start, self._sum)
            self._confirm(message)

    def _confirm(self, message: wire.Message) -> None:
        if self.acks:
            self.request(wire.Ack(wire.format_id(message.id), "n"))

    def _delivery(self, message: wire.Message, start: bytes, total: int) -> None:
        now = time.monotonic_ns()
        tally = self.tally
        if len(start) < STAMP_OCTETS or not total == SUM.unpack_from(start, STAMP.size)[0] == message.datasum:
            tally.corrupt += 1
            return
        run, sent_ns, sender, seq = STAMP.unpack_from(start)
        if run != tally.run:
            return
        if (sender, seq) in self.got:
            tally.duplicates += 1
            return
        self.got[sender, seq] = message.id
        if seq <= self._last_seq.get(sender, -1):
            tally.fifo_bad += 1
        self._last_seq[sender] = seq
        self.delivery_ns.append(now - sent_ns)
        tally.octets += message.datalen
        tally.delivered += 1
        tally.last_delivery_ns = now
