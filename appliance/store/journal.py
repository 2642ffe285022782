"""Journal entries: hash-chained, signed by the box that made them.

An entry's digest is the SHA-256 over a tag, the box id, seq, clock, kind, the digest of the entry before
and the SHA-256 of the body; the signature (Ed25519) is over the digest. Changing, dropping or reordering an
entry breaks the chain for whoever holds the next one.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from struct import Struct

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from appliance.wire import b32encode

KEY_NAME = "box.key"
GENESIS = bytes(32)
"""What stands for the digest of the entry before the first."""

_HEAD = Struct(">8sQQB32s")
_TAG = b"pocket entry 1"


@dataclass(frozen=True, slots=True)
class Entry:
    """``seq`` counts from 1 without gaps in each box's journal; ``clock`` never falls."""

    box: str
    seq: int
    clock: int
    kind: int
    prev: bytes
    body: bytes
    signature: bytes = b""

    def digest(self) -> bytes:
        head = _HEAD.pack(self.box.encode(), self.seq, self.clock, self.kind, self.prev)
        return hashlib.sha256(_TAG + head + hashlib.sha256(self.body).digest()).digest()


@dataclass(frozen=True, slots=True)
class Head:
    """The newest entry of a box."""

    seq: int = 0
    digest: bytes = GENESIS
    clock: int = 0


NO_ENTRY = Head()


class BoxKey:
    """The key that makes a box this box: it signs its journal."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.public = private.public_key().public_bytes_raw()
        self.box = box_id(self.public)
        self.short = hashlib.sha256(self.public).hexdigest()[:8]
        """The box in names that only letters and digits may be in."""

    @classmethod
    def load(cls, path: Path) -> BoxKey:
        """Read the key file. Raises ``ValueError`` if there is none, or it is no key."""
        try:
            return cls(Ed25519PrivateKey.from_private_bytes(path.read_bytes()))
        except FileNotFoundError:
            raise ValueError(f"{path} is missing: restore it and the database from the same backup") from None
        except ValueError:
            raise ValueError(
                f"{path} is no box key: restore it from a backup, or move the data folder away"
            ) from None

    @classmethod
    def load_or_create(cls, path: Path) -> BoxKey:
        """Read the key file, or make one (mode 0600, synced). Raises ``ValueError`` if the file is no key."""
        if not path.exists():
            write_synced(path, Ed25519PrivateKey.generate().private_bytes_raw())
        return cls.load(path)

    def sign(self, seq: int, clock: int, kind: int, prev: bytes, body: bytes) -> Entry:
        """A new entry."""
        digest = Entry(self.box, seq, clock, kind, prev, body).digest()
        return Entry(self.box, seq, clock, kind, prev, body, self._private.sign(digest))

    def derive(self, purpose: bytes) -> bytes:
        """32 secret octets that follow from this key, for another purpose than signing (HKDF-SHA256)."""
        extracted = hmac.digest(bytes(32), self._private.private_bytes_raw(), "sha256")
        return hmac.digest(extracted, purpose + b"\x01", "sha256")


def box_id(public: bytes) -> str:
    """Eight characters for people and logs; the low 40 bits of the public key's SHA-256."""
    return b32encode(hashlib.sha256(public).digest()[:5])


@lru_cache(maxsize=64)
def _public(key: bytes) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(key)


def is_signed(signature: bytes, digest: bytes, public: bytes) -> bool:
    """Whether the box with that key made the signature."""
    try:
        _public(public).verify(signature, digest)
    except (InvalidSignature, ValueError):
        return False
    return True


class Checker:
    """Follows one box's journal and says what is wrong with it."""

    def __init__(self, public: bytes) -> None:
        self._key = Ed25519PublicKey.from_public_bytes(public)
        self._seq = 0
        self._clock = 0
        self._digest = GENESIS

    def check(self, entry: Entry, gap: bool = False) -> str | None:
        """What is wrong with the next entry; None if nothing is. ``gap``: entries before it may have been
        cut.
        """
        digest = entry.digest()
        try:
            self._key.verify(entry.signature, digest)
        except InvalidSignature:
            return f"entry {entry.seq} of box {entry.box}: bad signature"
        if entry.seq <= self._seq or entry.clock < self._clock:
            return f"entry {entry.seq} of box {entry.box}: out of order"
        if entry.seq == self._seq + 1:
            if entry.prev != self._digest:
                return f"entry {entry.seq} of box {entry.box}: does not continue the entry before"
        elif not gap:
            return f"entries {self._seq + 1} to {entry.seq - 1} of box {entry.box} are missing"
        self._seq, self._clock, self._digest = entry.seq, entry.clock, digest
        return None


def write_synced(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Write a small file so that after a power cut it is there whole or not at all."""
    temporary = path.with_name(path.name + ".new")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(fd, rest) :]
        os.fsync(fd)
    finally:
        os.close(fd)
    temporary.rename(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
