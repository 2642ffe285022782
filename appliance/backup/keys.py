"""The recovery key: 160 random bits that people keep on paper, and what follows from them.

As text it is nine groups of four letters and digits: 32 for the bits and four that prove that nothing was
mistyped. The alphabet has no letter that looks like a digit; who types ``O``, ``I`` or ``L`` means a digit.

A backup is encrypted with a key of its own, which lies beside it, sealed with a key that follows from the
recovery key. So the box needs no paper to go on with a backup, and the paper opens every backup that was made
while its key was the site's.

    sealed = 1 octet version | 16 octets salt | 12 octets nonce | data key, 16 octets tag
"""

from __future__ import annotations

import hashlib
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from appliance.backup.errors import WrongKey

SECRET_OCTETS = 20
KEY_OCTETS = 32
SALT_OCTETS = 16
NONCE_OCTETS = 12
VERSION = b"\x01"
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
READ_AS = str.maketrans("OIL", "011")
GROUP = 4
CHECK_LETTERS = 4
LETTERS = SECRET_OCTETS * 8 // 5 + CHECK_LETTERS


def new_secret() -> bytes:
    return os.urandom(SECRET_OCTETS)


def shown(secret: bytes) -> str:
    """As people write it down."""
    text = _letters(int.from_bytes(secret), SECRET_OCTETS * 8 // 5) + _check(secret)
    return " ".join(text[at : at + GROUP] for at in range(0, len(text), GROUP))


def typed(text: str) -> bytes:
    """The secret that somebody typed, with or without spaces and dashes. Raises ``WrongKey``."""
    letters = "".join(char for char in text.upper() if not char.isspace() and char != "-").translate(READ_AS)
    if len(letters) != LETTERS or any(char not in ALPHABET for char in letters):
        raise WrongKey(f"a recovery key is {LETTERS} letters and digits, in groups of {GROUP}")
    number = 0
    for char in letters[:-CHECK_LETTERS]:
        number = number * 32 + ALPHABET.index(char)
    secret = number.to_bytes(SECRET_OCTETS)
    if _check(secret) != letters[-CHECK_LETTERS:]:
        raise WrongKey("the recovery key was mistyped: compare it with what you wrote down")
    return secret


def key_id(secret: bytes) -> str:
    """Eight hex digits by which a backup says which recovery key opens it."""
    return hashlib.sha256(b"pocket recovery key id 1" + secret).hexdigest()[:8]


def seal_key(data_key: bytes, secret: bytes) -> bytes:
    """The key of a backup, for who has the recovery key."""
    salt, nonce = os.urandom(SALT_OCTETS), os.urandom(NONCE_OCTETS)
    return VERSION + salt + nonce + _cipher(secret, salt).encrypt(nonce, data_key, VERSION)


def open_key(sealed: bytes, secret: bytes) -> bytes:
    """Raises ``WrongKey``."""
    head = len(VERSION) + SALT_OCTETS
    if not sealed.startswith(VERSION) or len(sealed) < head + NONCE_OCTETS:
        raise WrongKey("the backup's key is damaged, or of a later version of this program")
    salt, nonce = sealed[len(VERSION) : head], sealed[head : head + NONCE_OCTETS]
    try:
        return _cipher(secret, salt).decrypt(nonce, sealed[head + NONCE_OCTETS :], VERSION)
    except InvalidTag:
        raise WrongKey(
            "this recovery key does not open this backup: it may be of another site, or older than the key"
        ) from None


def derive(key: bytes, salt: bytes, purpose: bytes) -> bytes:
    """Another key (HKDF-SHA256)."""
    return HKDF(hashes.SHA256(), KEY_OCTETS, salt, purpose).derive(key)


def _cipher(secret: bytes, salt: bytes) -> ChaCha20Poly1305:
    return ChaCha20Poly1305(derive(secret, salt, b"pocket backup key 1"))


def _letters(number: int, count: int) -> str:
    return "".join(ALPHABET[number >> 5 * at & 31] for at in reversed(range(count)))


def _check(secret: bytes) -> str:
    digest = hashlib.sha256(b"pocket recovery key check 1" + secret).digest()
    return _letters(int.from_bytes(digest[:3]) >> 4, CHECK_LETTERS)
