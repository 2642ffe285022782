"""The side that shows the code."""

from __future__ import annotations

from enum import Enum

from msgspec import Struct

from appliance.pairing.codes import Code
from appliance.pairing.errors import BadFrame, Impostor
from appliance.pairing.frames import (
    CARD_OCTETS_MAX,
    INTRODUCE,
    PAIR,
    PROOF_OCTETS,
    PROVE,
    SHARE_OCTETS,
    TAKE,
    Frame,
    Reader,
    encode,
    encode_quit,
)
from appliance.pairing.gifts import BoxCard, Gift, decode_card, encode_gift
from appliance.pairing.keys import Keys, Transcript, shared_key, spake2_side
from appliance.wire import LocalProtocolError, b32encode

VERSION = 1


class Asked(Struct, frozen=True):
    """A guest wants ``kind`` and has code ``number``. Then: ``answer`` or ``refuse``."""

    kind: str
    number: int


class Proved(Struct, frozen=True):
    """The guest made its guess. If it is ``right``: ``give`` or ``refuse``, to a box when it has introduced
    itself; else the code is void: ``refuse``.
    """

    right: bool


class Introduced(Struct, frozen=True):
    """What the box that has the code says about itself. Then: ``give`` or ``refuse``."""

    card: BoxCard


class Taken(Struct, frozen=True):
    """The guest has the gift. Then put it in force and ``confirm``, or ``refuse``."""


HostEvent = Asked | Proved | Introduced | Taken


class _State(Enum):
    BEGIN = "the guest has to ask"
    ASKED = "the guest's question is to be answered"
    SHARED = "the guest has to prove that it has the code"
    WRONG = "the guest's proof was wrong: only refuse is left"
    UNKNOWN = "the box has to introduce itself"
    PROVED = "the gift is to be given"
    GIVEN = "the guest has to say that it has the gift"
    TAKEN = "the gift is to be confirmed"
    OVER = "the exchange is over"


_AWAITED = {_State.BEGIN: PAIR, _State.SHARED: PROVE, _State.UNKNOWN: INTRODUCE, _State.GIVEN: TAKE}


class Host:
    """One exchange. ``fingerprint`` (``SHA256:HEX``) is that of the certificate which the link was made
    with.
    """

    def __init__(self, fingerprint: str) -> None:
        self._fingerprint = fingerprint
        self._reader = Reader()
        self._transcript = Transcript()
        self._state = _State.BEGIN
        self._share = b""
        self._kind = ""
        self._keys: Keys

    @property
    def over(self) -> bool:
        return self._state is _State.OVER

    def receive_data(self, octets: bytes) -> None:
        """What came from the guest. Does nothing after the end."""
        if self._state is not _State.OVER:
            self._reader.receive_data(octets)

    def next_event(self) -> HostEvent | None:
        """What the guest wants; None if nothing more has come. Raises ``BadFrame``: then ``refuse`` and
        close.

        Raises ``LocalProtocolError`` if the event before has yet to be dealt with.
        """
        if self._state is _State.OVER:
            return None
        awaited = _AWAITED.get(self._state)
        if awaited is None:
            raise LocalProtocolError(self._state.value)
        frame = self._reader.next_frame()
        if frame is None:
            return None
        if frame.op != awaited:
            raise BadFrame(f"the guest sent {frame.op} where {awaited} was due")
        if awaited == PAIR:
            return self._asked(frame)
        if awaited == INTRODUCE:
            return self._introduced(frame)
        proof = frame.binary("proof", PROOF_OCTETS)
        right = self._keys.check(f"guest {awaited}", proof)
        self._transcript.add("guest", frame.octets)
        if awaited == PROVE:
            self._state = _State.PROVED if right else _State.WRONG
            if right and self._kind == "box":
                self._state = _State.UNKNOWN
                self._reader.data_max = CARD_OCTETS_MAX
            return Proved(right)
        if not right:
            raise BadFrame("the guest's last word is not what it should be")
        self._state = _State.TAKEN
        return Taken()

    def answer(self, code: Code) -> bytes:
        """The frame that answers ``Asked``. Slow. Raises ``BadFrame``."""
        self._expect(_State.ASKED)
        spake = spake2_side("host", code, self._fingerprint)
        share = spake.start()
        secret = shared_key(spake, self._share)
        frame = encode({"op": "pair", "share": b32encode(share)})
        self._transcript.add("host", frame)
        self._keys = Keys(secret, self._transcript)
        self._state = _State.SHARED
        return frame

    def give(self, gift: Gift) -> bytes:
        """The frames that answer a right ``Proved``."""
        self._expect(_State.PROVED)
        proof = encode({"op": "proof", "proof": b32encode(self._keys.proof("host proof"))})
        self._transcript.add("host", proof)
        sealed = self._keys.seal(encode_gift(gift))
        given = encode({"datalen": len(sealed), "op": "gift"}, sealed)
        self._transcript.add("host", given)
        self._state = _State.GIVEN
        return proof + given

    def confirm(self, slot: int | None = None) -> bytes:
        """The frame that answers ``Taken``, and ends the exchange; with the new box's ``slot``."""
        self._expect(_State.TAKEN)
        self._state = _State.OVER
        if slot is None:
            return encode({"op": "paired", "proof": b32encode(self._keys.proof("host paired"))})
        proof = self._keys.proof(f"host placed {slot}")
        return encode({"op": "placed", "proof": b32encode(proof), "slot": slot})

    def refuse(self, reason: str) -> bytes:
        """The frame that ends the exchange, in any state; empty after the end."""
        if self._state is _State.OVER:
            return b""
        self._state = _State.OVER
        return encode_quit(reason)

    def _asked(self, frame: Frame) -> Asked:
        if frame.fields["version"] != VERSION:
            raise BadFrame(f"this box pairs in version {VERSION} only")
        self._share = frame.binary("share", SHARE_OCTETS)
        self._transcript.add("guest", frame.octets)
        self._state = _State.ASKED
        self._kind = frame.fields["kind"]
        return Asked(self._kind, frame.fields["code"])

    def _introduced(self, frame: Frame) -> Introduced:
        try:
            card = decode_card(self._keys.open(frame.data, "card"))
        except Impostor as error:
            raise BadFrame(str(error)) from None
        self._transcript.add("guest", frame.octets)
        self._reader.data_max = 0
        self._state = _State.PROVED
        return Introduced(card)

    def _expect(self, state: _State) -> None:
        if self._state is not state:
            raise LocalProtocolError(self._state.value)
