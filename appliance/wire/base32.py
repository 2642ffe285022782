"""Base32 with TMTP's alphabet, which has no vowels and so makes no words: TMTP revision 1, section 1."""

import base64

ALPHABET = "%+123456789BCDFGHJKLMNPQRSTVWXYZ"

_STANDARD = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_FROM_STANDARD = bytes.maketrans(_STANDARD.encode(), ALPHABET.encode())
_TO_STANDARD = bytes.maketrans(ALPHABET.encode(), _STANDARD.encode())
_LETTERS = ALPHABET.encode()


def b32encode(octets: bytes) -> str:
    """The base32 text of `octets`, without `=` padding (20 octets make 32 characters, 25 make 40)."""
    return base64.b32encode(octets).rstrip(b"=").translate(_FROM_STANDARD).decode("ascii")


def b32decode(text: str) -> bytes:
    """The octets that `text` stands for. Padding with `=` may be there, in full, or not.

    Raises ValueError if it is not base32 in this alphabet (quit reason `corrupt base32 value`).
    """
    bare = text.rstrip("=")
    padding = -len(bare) % 8
    if len(text) - len(bare) not in (0, padding) or padding in (2, 5, 7):
        raise ValueError("base32 text has an impossible length")
    try:
        letters = bare.encode("ascii")
    except UnicodeEncodeError:
        raise ValueError("base32 text has a letter outside the alphabet") from None
    if letters.translate(None, _LETTERS):
        raise ValueError("base32 text has a letter outside the alphabet")
    return base64.b32decode(letters.translate(_TO_STANDARD) + b"=" * padding)
