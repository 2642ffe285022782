"""Pairing without a code: two boxes show the same number, and a person says on both that it is the same.

    guest  {"commit":H,"op":104,"version":1}     a digest of its share
    host   {"op":"share","share":Y}              the host's X25519 share
    guest  {"op":105,"share":X}                  the guest's: the host looks whether H is of that
    host   {"op":"compare","proof":P}            both show the number from here on
    guest  {"op":106,"proof":P}                  the person at the guest says that it is the same,
    guest  {"datalen":N,"op":103} and N octets   so here is its card, encrypted
    host   {"datalen":N,"op":"gift"} and N octets      the person at the host says so, too
    guest  {"op":102,"proof":P}                  and so on, as with a code
    host   {"op":"placed","proof":P,"slot":S}
    guest  {"error":REASON,"op":107}             instead of any of its frames: the end

**Why six digits are enough.** The number comes from all frames until then, the key that only the two have,
and the certificate as each side sees it. Somebody in between has two exchanges, one with each box, and needs
both numbers to be the same. The guest's share is fixed by its digest before the host shows its own, and not
known before that: so whoever plays the guest has chosen without knowing the host's share, and whoever plays
the host without knowing the guest's. Whichever of the two exchanges is finished first, the number of the
other one is then drawn by a box, not by him: one chance in a million. He has no second one: what a box shows
once is all that it does until somebody presses its button again (see `session.buttons`).

A share that makes a key of zeros is refused. Rules and bounds are those of the room.
"""

from __future__ import annotations

import hashlib
import hmac
from enum import Enum
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from appliance.pairing.errors import BadFrame, Impostor, Refused
from appliance.pairing.frames import (
    AGREE,
    BOX_GIFT_OCTETS_MAX,
    BUTTON_SHARE_OCTETS,
    CARD_OCTETS_MAX,
    COMMIT,
    INTRODUCE,
    LEAVE,
    OPEN,
    PROOF_OCTETS,
    TAKE,
    Frame,
    Reader,
    encode,
    encode_quit,
    reason_in,
)
from appliance.pairing.gifts import BoxCard, BoxGift, decode_card, decode_gift, encode_card, encode_gift
from appliance.pairing.guest import Confirmed, Given, Shared
from appliance.pairing.host import Introduced, Taken
from appliance.pairing.keys import PROTOCOL, Keys, Side, Transcript
from appliance.wire import LocalProtocolError, b32encode

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

VERSION = 1
NUMBERS = 10**6
MEDDLED = (
    "the two boxes do not see the same: somebody in between changes what they say, or one of them is another"
    " version"
)


class Committed(Struct, frozen=True):
    """A guest wants to be a box of the site. Then: ``answer`` or ``refuse``."""


class Opened(Struct, frozen=True):
    """The guest has kept to its digest: this is the number. Then: ``compare`` or ``refuse``."""

    number: int


class Compared(Struct, frozen=True):
    """The host shows this number, too. Then: ``agree`` or ``leave``."""

    number: int


HostEvent = Committed | Opened | Introduced | Taken
GuestEvent = Shared | Compared | Given | Confirmed


class _State(Enum):
    BEGIN = "nothing was said yet"
    ASKED = "the host has to show its share"
    SHARED = "the guest has to show its share"
    OPENED = "the host has to begin the comparison"
    COMPARING = "the person at the guest has to say whether the numbers are the same"
    AGREED = "the guest has to say who it is"
    INTRODUCED = "the host has to give"
    GIVEN = "the guest has to take"
    TAKEN = "the host has to confirm"
    OVER = "the exchange is over"


class _Side:
    """What both have in common. ``private``: for tests; nobody else gives one."""

    def __init__(self, side: Side, fingerprint: str, private: X25519PrivateKey | None) -> None:
        self._side: Side = side
        self._fingerprint = fingerprint
        self._private = private
        self._reader = Reader()
        self._transcript = Transcript(b"by button " + fingerprint.encode())
        self._state = _State.BEGIN
        self._share = b""
        self._keys: Keys

    @property
    def over(self) -> bool:
        return self._state is _State.OVER

    def receive_data(self, octets: bytes) -> None:
        """What came from the other side. Does nothing after the end."""
        if self._state is not _State.OVER:
            self._reader.receive_data(octets)

    def _say(self, fields: dict[str, Any], data: bytes = b"") -> bytes:
        frame = encode(fields, data)
        self._transcript.add(self._side, frame)
        return frame

    def _proof(self, purpose: str) -> str:
        return b32encode(self._keys.proof(purpose))

    def _draw(self) -> None:
        """This side's share."""
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

        if self._private is None:
            self._private = X25519PrivateKey.generate()
        self._share = self._private.public_key().public_bytes_raw()

    def _agree_on_keys(self, share: bytes) -> int:
        """The number, after the three frames that it depends on. Raises ``BadFrame``."""
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

        assert self._private is not None
        try:
            secret = self._private.exchange(X25519PublicKey.from_public_bytes(share))
        except ValueError as error:
            raise BadFrame("the share is none that X25519 makes") from error
        self._keys = Keys(secret, self._transcript)
        return int.from_bytes(self._keys.proof("number"), "big") % NUMBERS

    def _expect(self, state: _State) -> None:
        if self._state is not state:
            raise LocalProtocolError(self._state.value)


class ButtonHost(_Side):
    """The side that has the site. ``fingerprint`` (``SHA256:HEX``) is that of the certificate which the link
    was made with.
    """

    def __init__(self, fingerprint: str, private: X25519PrivateKey | None = None) -> None:
        super().__init__("host", fingerprint, private)
        self._commit = b""

    def next_event(self) -> HostEvent | None:
        """What the guest wants; None if nothing more has come. Raises ``BadFrame``: then ``refuse`` and
        close; ``Refused`` with the guest's words if it has left.

        Raises ``LocalProtocolError`` if the event before has yet to be dealt with; after ``Introduced`` all
        that can come is that the guest leaves.
        """
        if self._state is _State.OVER:
            return None
        if self._state not in _GUESTS_TURN:
            raise LocalProtocolError(self._state.value)
        frame = self._reader.next_frame()
        if frame is None:
            return None
        if frame.op == LEAVE:
            self._state = _State.OVER
            raise Refused(reason_in(frame))
        if frame.op != _GUESTS_TURN[self._state]:
            raise BadFrame(f"the guest sent {frame.op} where {_GUESTS_TURN[self._state]} was due")
        return self._heard(frame)

    def answer(self) -> bytes:
        """The frame that answers ``Committed``."""
        self._expect(_State.ASKED)
        self._draw()
        self._state = _State.SHARED
        return self._say({"op": "share", "share": b32encode(self._share)})

    def compare(self) -> bytes:
        """The frame that answers ``Opened``: the number is to be shown from when it is sent."""
        self._expect(_State.OPENED)
        self._state = _State.COMPARING
        return self._say({"op": "compare", "proof": self._proof("host compare")})

    def give(self, gift: BoxGift) -> bytes:
        """The frame that answers ``Introduced``, when the person at this side says that it is the same
        number.
        """
        self._expect(_State.INTRODUCED)
        self._state = _State.GIVEN
        sealed = self._keys.seal(encode_gift(gift))
        return self._say({"datalen": len(sealed), "op": "gift"}, sealed)

    def confirm(self, slot: int) -> bytes:
        """The frame that answers ``Taken``, and ends the exchange; with the new box's ``slot``."""
        self._expect(_State.TAKEN)
        self._state = _State.OVER
        return encode({"op": "placed", "proof": self._proof(f"host placed {slot}"), "slot": slot})

    def refuse(self, reason: str) -> bytes:
        """The frame that ends the exchange, in any state; empty after the end."""
        if self._state is _State.OVER:
            return b""
        self._state = _State.OVER
        return encode_quit(reason)

    def _heard(self, frame: Frame) -> HostEvent | None:
        if frame.op == COMMIT:
            if frame.fields["version"] != VERSION:
                raise BadFrame(f"this box pairs in version {VERSION} only")
            self._commit = frame.binary("commit", PROOF_OCTETS)
            self._transcript.add("guest", frame.octets)
            self._state = _State.ASKED
            return Committed()
        if frame.op == OPEN:
            share = frame.binary("share", BUTTON_SHARE_OCTETS)
            if not hmac.compare_digest(_digest(share), self._commit):
                raise BadFrame("the guest's share is not the one that it had chosen before")
            self._transcript.add("guest", frame.octets)
            number = self._agree_on_keys(share)
            self._state = _State.OPENED
            return Opened(number)
        if frame.op == INTRODUCE:
            return self._introduced(frame)
        if not self._keys.check(f"guest {frame.op}", frame.binary("proof", PROOF_OCTETS)):
            raise BadFrame(MEDDLED)
        self._transcript.add("guest", frame.octets)
        if frame.op == TAKE:
            self._state = _State.TAKEN
            return Taken()
        self._state = _State.AGREED
        self._reader.data_max = CARD_OCTETS_MAX
        return self.next_event()

    def _introduced(self, frame: Frame) -> Introduced:
        try:
            card = decode_card(self._keys.open(frame.data, "card"))
        except Impostor:
            raise BadFrame(MEDDLED) from None
        self._transcript.add("guest", frame.octets)
        self._reader.data_max = 0
        self._state = _State.INTRODUCED
        return Introduced(card)


class ButtonGuest(_Side):
    """The blank side. ``fingerprint`` (``SHA256:HEX``) is that of the certificate which the host's side of
    the link showed.
    """

    def __init__(self, fingerprint: str, private: X25519PrivateKey | None = None) -> None:
        super().__init__("guest", fingerprint, private)

    def next_event(self) -> GuestEvent | None:
        """What the host said; None if nothing more has come. Raises ``PairingError``, and the exchange is
        over.

        Raises ``LocalProtocolError`` if the event before has yet to be dealt with; while the numbers are
        compared all that can come is the host's refusal.
        """
        if self._state is _State.OVER:
            return None
        if self._state not in _HOSTS_TURN:
            raise LocalProtocolError(self._state.value)
        try:
            frame = self._reader.next_frame()
            return None if frame is None else self._heard(frame)
        except Exception:
            self._state = _State.OVER
            raise

    def begin(self) -> bytes:
        """The first frame."""
        self._expect(_State.BEGIN)
        self._draw()
        self._state = _State.ASKED
        return self._say({"commit": b32encode(_digest(self._share)), "op": COMMIT, "version": VERSION})

    def open(self) -> bytes:
        """The frame that answers ``Shared``: from here on this is the one try."""
        self._expect(_State.SHARED)
        host, share = self._host, b32encode(self._share)
        self._state = _State.OPENED
        frame = self._say({"op": OPEN, "share": share})
        try:
            self._number = self._agree_on_keys(host)
        except BadFrame:
            self._state = _State.OVER
            raise
        return frame

    def agree(self, card: BoxCard) -> bytes:
        """The frames that answer ``Compared``, when the person at this side says that it is the same
        number.
        """
        self._expect(_State.COMPARING)
        self._state = _State.INTRODUCED
        self._reader.data_max = BOX_GIFT_OCTETS_MAX
        agreed = self._say({"op": AGREE, "proof": self._proof(f"guest {AGREE}")})
        sealed = self._keys.seal(encode_card(card), "card")
        return agreed + self._say({"datalen": len(sealed), "op": INTRODUCE}, sealed)

    def take(self) -> bytes:
        """The frame that answers ``Given``."""
        self._expect(_State.GIVEN)
        self._state = _State.TAKEN
        return self._say({"op": TAKE, "proof": self._proof(f"guest {TAKE}")})

    def leave(self, reason: str) -> bytes:
        """The frame that ends the exchange, in any state; empty after the end."""
        if self._state is _State.OVER:
            return b""
        self._state = _State.OVER
        return encode_quit(reason, LEAVE)

    def _heard(self, frame: Frame) -> GuestEvent:
        awaited = _HOSTS_TURN[self._state]
        if frame.op == "quit":
            raise Refused(reason_in(frame))
        if frame.op != awaited:
            raise BadFrame(f"the box sent {frame.op} where {awaited} was due")
        if frame.op == "share":
            self._host = frame.binary("share", BUTTON_SHARE_OCTETS)
            self._transcript.add("host", frame.octets)
            self._state = _State.SHARED
            return Shared()
        if frame.op == "gift":
            try:
                gift = decode_gift(self._keys.open(frame.data), "box")
            except Impostor:
                raise Impostor(MEDDLED) from None
            if gift.fingerprint != self._fingerprint:
                raise Impostor(MEDDLED)
            self._transcript.add("host", frame.octets)
            self._state = _State.GIVEN
            return Given(gift)
        slot = frame.fields.get("slot")
        purpose = "host compare" if slot is None else f"host placed {slot}"
        if not self._keys.check(purpose, frame.binary("proof", PROOF_OCTETS)):
            raise Impostor(MEDDLED)
        if slot is not None:
            self._state = _State.OVER
            return Confirmed(slot)
        self._transcript.add("host", frame.octets)
        self._state = _State.COMPARING
        return Compared(self._number)


_GUESTS_TURN: dict[_State, int] = {
    _State.BEGIN: COMMIT,
    _State.SHARED: OPEN,
    _State.COMPARING: AGREE,
    _State.AGREED: INTRODUCE,
    _State.INTRODUCED: LEAVE,
    _State.GIVEN: TAKE,
}
_HOSTS_TURN: dict[_State, str] = {
    _State.ASKED: "share",
    _State.OPENED: "compare",
    _State.COMPARING: "quit",
    _State.INTRODUCED: "gift",
    _State.TAKEN: "placed",
}


def _digest(share: bytes) -> bytes:
    """What a guest says of its share before it shows it. The share has 256 random bits, and so hides in
    it.
    """
    return hashlib.sha256(PROTOCOL + b"share " + share).digest()
