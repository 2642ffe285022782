"""From a code to keys: SPAKE2 (Ed25519 group), HKDF-SHA256, HMAC-SHA256, ChaCha20-Poly1305."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING, Any, Literal

from appliance.pairing.codes import Code
from appliance.pairing.errors import BadFrame, Impostor
from appliance.pairing.frames import SHARE_OCTETS

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

PROTOCOL = b"pocket pairing 1 "
KEY_OCTETS = 32
TAG_OCTETS = 16

Side = Literal["guest", "host"]
Sealed = Literal["gift", "card"]


def spake2_side(side: Side, code: Code, fingerprint: str) -> Any:
    """One side of SPAKE2. ``fingerprint`` is that of the certificate which this side sees or shows."""
    import spake2  # it brings cryptography: 12 MB that only those who pair have to pay

    made = spake2.SPAKE2_A if side == "guest" else spake2.SPAKE2_B
    return made(code.digits.encode(), idA=PROTOCOL + b"guest", idB=PROTOCOL + b"host " + fingerprint.encode())


def shared_key(spake: Any, share: bytes) -> bytes:
    """Finish SPAKE2 with the other side's message. Slow. Raises ``BadFrame`` if that is none."""
    if len(share) != SHARE_OCTETS:
        raise BadFrame("the share has the wrong size")
    try:
        key: bytes = spake.finish(share)
    except Exception as error:  # the library has no one family of errors for what is no point of the group
        raise BadFrame("the share is not what SPAKE2 makes") from error
    return key


class Transcript:
    """All frames so far, as one digest. ``about``: what both sides must see alike beside them."""

    def __init__(self, about: bytes = b"") -> None:
        self.digest = hashlib.sha256(PROTOCOL + about).digest()

    def add(self, sender: Side, frame: bytes) -> None:
        self.digest = hashlib.sha256(self.digest + sender.encode() + hashlib.sha256(frame).digest()).digest()


class Keys:
    """What both sides have after the first two frames. ``transcript`` goes on growing."""

    def __init__(self, secret: bytes, transcript: Transcript) -> None:
        self._secret = secret
        self._salt = transcript.digest
        self._transcript = transcript

    def proof(self, purpose: str) -> bytes:
        """That who sends it has the key, and saw the same frames."""
        return hmac.digest(self._key(purpose), self._transcript.digest, "sha256")

    def check(self, purpose: str, proof: bytes) -> bool:
        """In constant time."""
        return hmac.compare_digest(self.proof(purpose), proof)

    def seal(self, octets: bytes, what: Sealed = "gift") -> bytes:
        """Encrypt; to be called once for each ``what``."""
        return self._cipher(what).encrypt(bytes(12), octets, self._transcript.digest)

    def open(self, sealed: bytes, what: Sealed = "gift") -> bytes:
        """Raises ``Impostor`` if it was changed."""
        from cryptography.exceptions import InvalidTag

        try:
            return self._cipher(what).decrypt(bytes(12), sealed, self._transcript.digest)
        except InvalidTag:
            raise Impostor(CHANGED) from None

    def _cipher(self, what: Sealed) -> ChaCha20Poly1305:
        from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

        return ChaCha20Poly1305(self._key(what))

    def _key(self, purpose: str) -> bytes:
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        return HKDF(SHA256(), KEY_OCTETS, self._salt, PROTOCOL + purpose.encode()).derive(self._secret)


CHANGED = (
    "whoever answered does not have the code, or somebody in between changed what was sent:"
    " ask for a new code, and look whether the address is the box's"
)
