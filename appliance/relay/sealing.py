"""Secrets that only one box can read: X25519, HKDF-SHA256 and ChaCha20-Poly1305.

Each box has a sealing key that follows from its box key, and publishes the public half. Who has a secret for
a box makes a key pair for this one time, and from it and the box's public key the key of the cipher. The
membership and the box are part of what is proven: what was sealed for one does not open for another.

    sealed = 1 octet version | 32 octets public key of this one time | 12 octets nonce | text, 16 octets tag
"""

from __future__ import annotations

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from appliance.store import BoxKey

VERSION = b"\x01"
KEY_OCTETS = 32
NONCE_OCTETS = 12
_PRIVATE = b"pocket sealing key 1"
_SHARED = b"pocket sealed 1"


class NotSealed(ValueError):
    """It was not sealed for this box and membership, or was changed since."""


class SealingKey:
    """This box's."""

    def __init__(self, key: BoxKey) -> None:
        self._private = X25519PrivateKey.from_private_bytes(key.derive(_PRIVATE))
        self.public = self._private.public_key().public_bytes_raw()

    def open(self, sealed: bytes, membership: int, box: str) -> str:
        """The secret. Raises ``NotSealed``."""
        head = len(VERSION) + KEY_OCTETS
        if not sealed.startswith(VERSION) or len(sealed) < head + NONCE_OCTETS:
            raise NotSealed("it is no sealed secret that this version can read")
        once, nonce = sealed[len(VERSION) : head], sealed[head : head + NONCE_OCTETS]
        try:
            shared = self._private.exchange(X25519PublicKey.from_public_bytes(once))
            cipher = ChaCha20Poly1305(_derive(shared, once + self.public, _SHARED))
            text = cipher.decrypt(nonce, sealed[head + NONCE_OCTETS :], _context(membership, box))
            return text.decode()
        except (InvalidTag, ValueError) as error:
            raise NotSealed("it was sealed for another box or membership, or was changed") from error


def seal(secret: str, public: bytes, membership: int, box: str) -> bytes:
    """Seal a secret for the box with the sealing key ``public``. Raises ``ValueError`` if that is no key."""
    private = X25519PrivateKey.generate()
    once = private.public_key().public_bytes_raw()
    shared = private.exchange(X25519PublicKey.from_public_bytes(public))
    nonce = os.urandom(NONCE_OCTETS)
    cipher = ChaCha20Poly1305(_derive(shared, once + public, _SHARED))
    return VERSION + once + nonce + cipher.encrypt(nonce, secret.encode(), _context(membership, box))


def _context(membership: int, box: str) -> bytes:
    return b"pocket membership %d box %s" % (membership, box.encode())


def _derive(secret: bytes, salt: bytes, info: bytes) -> bytes:
    return HKDF(hashes.SHA256(), KEY_OCTETS, salt, info).derive(secret)
