"""One link between two boxes, from either end: octets in, events out, and the frames that answer them.

``ON_FRAME`` is the truth of what may come when, ``ON_SENT`` of what may be said when. What goes out in which
order is ``outgoing``'s business, which entries go is ``stream``'s.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any, Final, Protocol

from appliance.replication import bodies, events
from appliance.replication.errors import BadFrame, Code, Impostor, PeerError, Refusal, Refused
from appliance.replication.frames import (
    ADDRESSES_MAX,
    HASH_OCTETS,
    HEADER_MAX,
    TEXT_CHARS_MAX,
    VERSION,
    Frame,
    Op,
    Reader,
    encode,
)
from appliance.replication.interface import Arrival, Octets, Position
from appliance.wire import LocalProtocolError

TAG: Final = b"pocket peer 1 "
TAG_ANEW: Final = b"pocket anew 1 "
PURPOSES: Final = ("sync", "copy", "anew")


class Prover(Protocol):
    """This box's key."""

    @property
    def box(self) -> str: ...
    @property
    def public(self) -> bytes: ...
    def sign(self, octets: bytes) -> bytes: ...


class LinkState(Enum):
    BEGIN = "the dialer has to say hello"
    AWAITING_HELLO = "the dialer's hello has to come"
    GREETED = "the hello is to be answered"
    AWAITING_CHALLENGE = "the acceptor has to answer the hello"
    CHALLENGED = "the proof is to be sent"
    AWAITING_QUIT = "the acceptor has to say what it makes of what it was shown"
    AWAITING_PROOF = "the dialer has to prove that it is the box"
    PROVEN = "the dialer is to be welcomed"
    AWAITING_WELCOME = "the acceptor has to say whether it takes us"
    JOINED = "the other side has to say where it stands"
    OPEN = "both know where the other stands"
    CLOSED = "the link is over"


_S = LinkState
_SESSION: Final = (
    Op.ENTRIES,
    Op.REACHED,
    Op.HAVE,
    Op.GAP,
    Op.BAR,
    Op.WANTS,
    Op.MESSAGES,
    Op.WANT,
    Op.CHUNK,
    Op.LACKING,
    Op.BEAT,
    Op.TELL,
)

ON_FRAME: Final[Mapping[LinkState, Mapping[str, LinkState]]] = {
    _S.AWAITING_HELLO: {Op.HELLO: _S.GREETED, Op.SHOW: _S.GREETED},
    _S.AWAITING_CHALLENGE: {Op.CHALLENGE: _S.CHALLENGED},
    _S.AWAITING_QUIT: {},
    _S.AWAITING_PROOF: {Op.PROOF: _S.PROVEN},
    _S.AWAITING_WELCOME: {Op.WELCOME: _S.JOINED},
    _S.JOINED: {Op.STATE: _S.OPEN},
    _S.OPEN: {Op.STATE: _S.OPEN, **dict.fromkeys((*_SESSION, Op.ANEW, Op.TAKEN), _S.OPEN)},
}
"""In the other states nothing is read: it is our turn, or the end. A quit may come in all of them."""

ON_SENT: Final[Mapping[LinkState, Mapping[str, LinkState]]] = {
    _S.BEGIN: {Op.HELLO: _S.AWAITING_CHALLENGE, Op.SHOW: _S.AWAITING_QUIT},
    _S.GREETED: {Op.CHALLENGE: _S.AWAITING_PROOF},
    _S.CHALLENGED: {Op.PROOF: _S.AWAITING_WELCOME},
    _S.PROVEN: {Op.WELCOME: _S.JOINED},
    _S.JOINED: {Op.STATE: _S.JOINED, Op.BEAT: _S.JOINED},
    _S.OPEN: {Op.STATE: _S.OPEN, **dict.fromkeys((*_SESSION, Op.ANEW, Op.TAKEN), _S.OPEN)},
}
"""What may be sent; a quit in every state but the last."""


class PeerLink:
    """Made by ``dialer`` or ``acceptor``. No octets from outside raise anything but ``PeerError``, and after
    one the link is over. What is asked of it out of turn raises ``LocalProtocolError``.
    """

    def __init__(self, own: Prover, state: LinkState, nonce: Callable[[], bytes]) -> None:
        self._own = own
        self._nonce = nonce()
        self._their_nonce = b""
        self._reader = Reader()
        self._dialed = state is LinkState.BEGIN
        self.state = state
        self.box = ""
        """The other box's id: the one that it says until it is proven."""
        self.public = b""
        self.purpose: events.Purpose = "sync"
        self._anew_due = True
        self.version = VERSION
        """The lower one of both sides'."""

    @classmethod
    def dialer(
        cls,
        own: Prover,
        box: str,
        public: bytes,
        purpose: events.Purpose = "sync",
        nonce: Callable[[], bytes] = lambda: secrets.token_bytes(HASH_OCTETS),
    ) -> PeerLink:
        """The end that called ``box``, whose key the certificate has shown to be ``public``."""
        link = cls(own, LinkState.BEGIN, nonce)
        link.box, link.public, link.purpose = box, public, purpose
        return link

    @classmethod
    def acceptor(
        cls, own: Prover, nonce: Callable[[], bytes] = lambda: secrets.token_bytes(HASH_OCTETS)
    ) -> PeerLink:
        """The end that was called."""
        return cls(own, LinkState.AWAITING_HELLO, nonce)

    @property
    def dialed(self) -> bool:
        """Whether this side called."""
        return self._dialed

    @property
    def dialed_by(self) -> str:
        return self._own.box if self._dialed else self.box

    @property
    def held(self) -> int:
        """Octets received and not yet read."""
        return self._reader.held

    # what comes

    def receive_data(self, octets: bytes) -> None:
        """What came. Does nothing after the end."""
        if self.state is not LinkState.CLOSED:
            self._reader.receive_data(octets)

    def next_event(self) -> events.Event | None:
        """The next one; None if nothing more has come, or it is our turn, or the link is over. Raises
        ``PeerError``: then ``refuse`` (with its code and text) and close.
        """
        try:
            while True:
                if self.state is LinkState.CLOSED:
                    return None
                head = self._reader.next_head()
                if head is None:
                    return None
                if head.op == Op.QUIT:
                    raise Refused(_printable(head.fields["code"]), _printable(head.fields["error"]))
                if self.state not in ON_FRAME:
                    return None
                read = _READ.get(head.op)
                after = ON_FRAME[self.state].get(head.op) if read else LinkState.OPEN
                if after is None or (read is None and self.state is not LinkState.OPEN):
                    raise BadFrame(f"{_printable(head.op[:32])} came, but {self.state.value}")
                frame = self._reader.take()
                if frame is None:
                    return None
                if read is not None:
                    event = read(self, frame)
                    self.state = after
                    return event
        except Refused:
            self.state = LinkState.CLOSED
            raise
        except PeerError:
            self._reader = Reader()
            raise

    # the handshake

    def hello(self) -> bytes:
        """The dialer's first frame."""
        return self._say(
            Op.HELLO,
            {"box": self._own.box, "nonce": self._nonce, "purpose": self.purpose, "version": VERSION},
        )

    def challenge(self, public: bytes) -> bytes:
        """The frame that answers ``Greeted``: the box is in the site, and this is its key."""
        self.public = public
        return self._say(Op.CHALLENGE, {"nonce": self._nonce, "version": VERSION})

    def prove(self) -> bytes:
        """The frame that answers ``Challenged``."""
        return self._say(Op.PROOF, {"proof": self._own.sign(self._statement())})

    def welcome(self) -> bytes:
        """The frame that answers ``Proven``."""
        self._reader.header_max = HEADER_MAX
        return self._say(Op.WELCOME)

    def refuse(self, code: Code, text: str) -> bytes:
        """The frame that ends the link, in any state; empty after the end."""
        if self.state is LinkState.CLOSED:
            return b""
        self.state = LinkState.CLOSED
        return encode(Op.QUIT, {"code": str(code), "error": text[:TEXT_CHARS_MAX]})

    def say_show(self, arrivals: Sequence[Arrival], addresses: Sequence[str]) -> bytes:
        """The dialer's only frame, in place of ``hello``, to a box that does not know it."""
        data = bodies.encode_shown(arrivals, addresses[:ADDRESSES_MAX])
        return self._say(Op.SHOW, {"box": self._own.box, "version": VERSION}, data)

    # the session

    def say_state(
        self, positions: Mapping[str, Position], clock: int, complete: bool, program: str, epoch: int
    ) -> bytes:
        """Where this box stands: the first frame of both sides, and again to have entries sent anew."""
        fields = {"clock": clock, "complete": complete, "epoch": epoch, "program": program}
        return self._say(Op.STATE, fields, bodies.encode_positions(positions))

    def say_entries(self, arrivals: Sequence[Arrival], live: bool, epoch: int, follow: int = 0) -> bytes:
        fields = {"epoch": epoch, "follow": follow, "live": live}
        return self._say(Op.ENTRIES, fields, bodies.encode_entries(arrivals))

    def say_reached(self, positions: Mapping[str, Position], epoch: int) -> bytes:
        return self._say(Op.REACHED, {"epoch": epoch}, bodies.encode_positions(positions))

    def say_have(self, positions: Mapping[str, int], blobs: Sequence[bytes], absent: int = 0) -> bytes:
        return self._say(Op.HAVE, {"absent": absent}, bodies.encode_have(positions, blobs))

    def say_gap(self, box: str) -> bytes:
        return self._say(Op.GAP, {"box": box})

    def say_bar(self, box: str) -> bytes:
        return self._say(Op.BAR, {"box": box})

    def say_wants(self, msgids: Sequence[int]) -> bytes:
        return self._say(Op.WANTS, data=bodies.encode_numbers(msgids))

    def say_messages(self, messages: Sequence[Octets], part: bool) -> bytes:
        return self._say(Op.MESSAGES, {"part": part}, bodies.encode_messages(messages))

    def say_want(self, sha: bytes, offset: int, octets: int) -> bytes:
        return self._say(Op.WANT, {"octets": octets, "offset": offset, "sha": sha})

    def say_chunk(self, sha: bytes, offset: int, data: bytes) -> bytes:
        return self._say(Op.CHUNK, {"offset": offset, "sha": sha}, data)

    def say_lacking(self, sha: bytes) -> bytes:
        return self._say(Op.LACKING, {"sha": sha})

    def say_beat(self, clock: int, absent: int = 0) -> bytes:
        return self._say(Op.BEAT, {"absent": absent, "clock": clock})

    def say_tell(self, topic: str, payload: bytes) -> bytes:
        return self._say(Op.TELL, {"topic": topic}, payload)

    def say_anew(self, public: bytes) -> bytes:
        """The dialer's wish to become the box with this key, on a link for that."""
        return self._say(Op.ANEW, {"proof": self._own.sign(self._will(public)), "public": public})

    def say_taken(self, slot: int) -> bytes:
        return self._say(Op.TAKEN, {"slot": slot})

    def _say(self, op: Op, fields: Mapping[str, Any] | None = None, data: bytes = b"") -> bytes:
        after = ON_SENT.get(self.state, {}).get(op)
        if after is None:
            raise LocalProtocolError(f"{op} is not to be sent: {self.state.value}")
        self.state = after
        return encode(op, fields, data)

    # reading

    def _statement(self) -> bytes:
        """What the dialer signs. Both nonces make it good for this link only, both keys for these boxes."""
        dialer = (self._nonce, self._own.public)
        acceptor = (self._their_nonce, self.public)
        if not self._dialed:
            dialer, acceptor = acceptor, dialer
        return TAG + acceptor[0] + dialer[0] + acceptor[1] + dialer[1]

    def _will(self, public: bytes) -> bytes:
        """What the old box signs of the new one, good for this link only."""
        old, nonces = (self._own.public, self._their_nonce + self._nonce)
        if not self._dialed:
            old, nonces = (self.public, self._nonce + self._their_nonce)
        return TAG_ANEW + nonces + old + public

    def _hello(self, frame: Frame) -> events.Event:
        self._versions(frame)
        purpose = frame.fields["purpose"]
        if purpose not in PURPOSES:
            raise Refusal(Code.VERSION, f"this box knows no links for {_printable(purpose)}: update it")
        self.box, self.purpose = frame.fields["box"], purpose
        return events.Greeted(self.box, self.purpose)

    def _show(self, frame: Frame) -> events.Event:
        self.box = frame.fields["box"]
        return events.Shown(self.box, *bodies.decode_shown(frame.data))

    def _challenge(self, frame: Frame) -> events.Event:
        self._versions(frame)
        return events.Challenged()

    def _versions(self, frame: Frame) -> None:
        self._their_nonce = frame.fields["nonce"]
        theirs: int = frame.fields["version"]
        self.version = min(VERSION, theirs)
        self._reader.newer = theirs > VERSION

    def _proof(self, frame: Frame) -> events.Event:
        self._verify(frame.fields["proof"], self._statement())
        return events.Proven()

    def _anew(self, frame: Frame) -> events.Event:
        if self._dialed or self.purpose != "anew" or not self._anew_due:
            raise BadFrame("a box that becomes another one says so once, on a link for that")
        self._anew_due = False
        public: bytes = frame.fields["public"]
        self._verify(frame.fields["proof"], self._will(public))
        return events.Anew(public)

    def _taken(self, frame: Frame) -> events.Event:
        if not self._dialed or self.purpose != "anew":
            raise BadFrame("an answer to what was not asked")
        return events.Taken(frame.fields["slot"])

    def _verify(self, signature: bytes, statement: bytes) -> None:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, statement)
        except (InvalidSignature, ValueError):
            raise Impostor(f"whoever called does not have the key of box {self.box}") from None

    def _welcome(self, frame: Frame) -> events.Event:
        self._reader.header_max = HEADER_MAX
        return events.Welcomed()

    def _state(self, frame: Frame) -> events.Event:
        fields = frame.fields
        positions = bodies.decode_positions(frame.data)
        program = _printable(fields["program"])
        return events.PeerState(positions, fields["clock"], fields["complete"], program, fields["epoch"])

    def _entries(self, frame: Frame) -> events.Event:
        arrivals, fields = bodies.decode_entries(frame.data), frame.fields
        return events.Entries(arrivals, fields["live"], fields["epoch"], fields["follow"], len(frame.data))

    def _reached(self, frame: Frame) -> events.Event:
        return events.Reached(bodies.decode_positions(frame.data), frame.fields["epoch"])

    def _messages(self, frame: Frame) -> events.Event:
        return events.Messages(bodies.decode_messages(frame.data), frame.fields["part"], len(frame.data))


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)


_READ: Final[Mapping[str, Callable[[PeerLink, Frame], events.Event]]] = {
    Op.HELLO: PeerLink._hello,
    Op.CHALLENGE: PeerLink._challenge,
    Op.PROOF: PeerLink._proof,
    Op.WELCOME: PeerLink._welcome,
    Op.STATE: PeerLink._state,
    Op.ENTRIES: PeerLink._entries,
    Op.REACHED: PeerLink._reached,
    Op.HAVE: lambda link, frame: events.Have(*bodies.decode_have(frame.data), frame.fields["absent"]),
    Op.GAP: lambda link, frame: events.GapMet(frame.fields["box"]),
    Op.BAR: lambda link, frame: events.Barred(frame.fields["box"]),
    Op.WANTS: lambda link, frame: events.Wants(bodies.decode_numbers(frame.data)),
    Op.MESSAGES: PeerLink._messages,
    Op.WANT: lambda link, frame: events.Want(**frame.fields),
    Op.CHUNK: lambda link, frame: events.Chunk(frame.fields["sha"], frame.fields["offset"], frame.data),
    Op.LACKING: lambda link, frame: events.Lacking(frame.fields["sha"]),
    Op.BEAT: lambda link, frame: events.Beat(frame.fields["clock"], frame.fields["absent"]),
    Op.TELL: lambda link, frame: events.Told(frame.fields["topic"], frame.data),
    Op.ANEW: PeerLink._anew,
    Op.TAKEN: PeerLink._taken,
    Op.SHOW: PeerLink._show,
}
