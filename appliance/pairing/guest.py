"""The side that types the code."""

from __future__ import annotations

from enum import Enum
from typing import Any

from msgspec import Struct

from appliance.pairing.codes import Code
from appliance.pairing.errors import BadFrame, Impostor, Refused
from appliance.pairing.frames import (
    BOX_GIFT_OCTETS_MAX,
    GIFT_OCTETS_MAX,
    INTRODUCE,
    PAIR,
    PROOF_OCTETS,
    PROVE,
    SHARE_OCTETS,
    TAKE,
    Reader,
    encode,
    reason_in,
)
from appliance.pairing.gifts import BoxCard, Gift, decode_gift, encode_card
from appliance.pairing.host import VERSION
from appliance.pairing.keys import CHANGED, Keys, Transcript, shared_key, spake2_side
from appliance.wire import LocalProtocolError, b32encode


class Shared(Struct, frozen=True):
    """The host answered. Then: ``prove``."""


class Given(Struct, frozen=True):
    """The host has the code too, and gave this. Then keep it and ``take``."""

    gift: Gift


class Confirmed(Struct, frozen=True):
    """The gift is in force, and the exchange over. ``slot``: that of a new box."""

    slot: int | None = None


GuestEvent = Shared | Given | Confirmed


class _State(Enum):
    BEGIN = "nothing was said yet"
    ASKED = "the host has to answer"
    SHARED = "the proof is to be sent"
    PROVED = "the host has to prove that it has the code"
    AWAITING = "the host has to give"
    GIVEN = "the gift is to be taken"
    TAKEN = "the host has to confirm"
    OVER = "the exchange is over"


_AWAITED = {
    _State.ASKED: "pair",
    _State.PROVED: "proof",
    _State.AWAITING: "gift",
    _State.TAKEN: "paired",
}


class Guest:
    """One exchange, for a gift of this ``kind``. ``fingerprint`` (``SHA256:HEX``) is that of the
    certificate which the host's side of the link showed. ``card``: what a box says about itself; with it the
    kind is box.
    """

    def __init__(self, code: Code, fingerprint: str, kind: str = "node", card: BoxCard | None = None) -> None:
        self._code = code
        self._kind = "box" if card is not None else kind
        self._card = card
        self._fingerprint = fingerprint
        self._reader = Reader(GIFT_OCTETS_MAX if card is None else BOX_GIFT_OCTETS_MAX)
        self._transcript = Transcript()
        self._state = _State.BEGIN
        self._share = b""
        self._spake: Any = None
        self._keys: Keys

    def receive_data(self, octets: bytes) -> None:
        """What came from the host. Does nothing after the end."""
        if self._state is not _State.OVER:
            self._reader.receive_data(octets)

    def next_event(self) -> GuestEvent | None:
        """What the host said; None if nothing more has come. Raises ``PairingError``, and the exchange is
        over.

        Raises ``LocalProtocolError`` if the event before has yet to be dealt with.
        """
        if self._state is _State.OVER:
            return None
        if self._state not in _AWAITED:
            raise LocalProtocolError(self._state.value)
        try:
            return self._next()
        except Exception:
            self._state = _State.OVER
            raise

    def begin(self) -> bytes:
        """The first frame. Slow."""
        self._expect(_State.BEGIN)
        self._spake = spake2_side("guest", self._code, self._fingerprint)
        share = b32encode(self._spake.start())
        self._state = _State.ASKED
        return self._said(
            {"code": self._code.number, "kind": self._kind, "op": PAIR, "share": share, "version": VERSION}
        )

    def prove(self) -> bytes:
        """The frame that answers ``Shared``: the one guess; a box introduces itself with a second one. Slow.
        Raises ``BadFrame``: it is over.
        """
        self._expect(_State.SHARED)
        try:
            self._keys = Keys(shared_key(self._spake, self._share), self._transcript)
        except BadFrame:
            self._state = _State.OVER
            raise
        self._state = _State.PROVED
        proof = self._proof(PROVE)
        if self._card is None:
            return proof
        sealed = self._keys.seal(encode_card(self._card), "card")
        return proof + self._said({"datalen": len(sealed), "op": INTRODUCE}, sealed)

    def take(self) -> bytes:
        """The frame that answers ``Given``."""
        self._expect(_State.GIVEN)
        self._state = _State.TAKEN
        return self._proof(TAKE)

    def _next(self) -> GuestEvent | None:
        awaited = _AWAITED[self._state]
        if awaited == "paired" and self._card is not None:
            awaited = "placed"
        frame = self._reader.next_frame()
        if frame is None:
            return None
        if frame.op == "quit":
            raise Refused(reason_in(frame))
        if frame.op != awaited:
            raise BadFrame(f"the box sent {frame.op} where {awaited} was due")
        if awaited == "pair":
            self._share = frame.binary("share", SHARE_OCTETS)
            self._transcript.add("host", frame.octets)
            self._state = _State.SHARED
            return Shared()
        if awaited == "gift":
            gift = decode_gift(self._keys.open(frame.data), self._kind)
            if gift.fingerprint != self._fingerprint:
                raise Impostor(CHANGED)
            self._transcript.add("host", frame.octets)
            self._state = _State.GIVEN
            return Given(gift)
        slot = frame.fields.get("slot")
        purpose = f"host {awaited}" if slot is None else f"host {awaited} {slot}"
        if not self._keys.check(purpose, frame.binary("proof", PROOF_OCTETS)):
            raise Impostor(CHANGED)
        if awaited in ("paired", "placed"):
            self._state = _State.OVER
            return Confirmed(slot)
        self._transcript.add("host", frame.octets)
        self._state = _State.AWAITING
        return self._next()

    def _proof(self, op: int) -> bytes:
        return self._said({"op": op, "proof": b32encode(self._keys.proof(f"guest {op}"))})

    def _said(self, fields: dict[str, Any], data: bytes = b"") -> bytes:
        frame = encode(fields, data)
        self._transcript.add("guest", frame)
        return frame

    def _expect(self, state: _State) -> None:
        if self._state is not state:
            raise LocalProtocolError(self._state.value)
