"""The code that one person reads and another types: eight digits, as in 1482-1396.

The first digit says which code is meant (a host may have ``CODES`` in use at a time), the next six are
random, the last one is a check digit (Damm): every single wrong digit and every swap of neighbours is found
while typing, so that a slip of the finger does not cost a guess.

Why 20 bits are enough. A code cannot be tried without the host: SPAKE2 gives somebody who listens, or who
plays the host or the guest, nothing to try codes on at home. So a guess is an exchange with the host, which
counts it: one for each code, and then it is void; three codes in five minutes, and no more until a person
opens pairing again. That is three chances in a million each time that a person pairs, and each is logged.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass

from appliance.pairing.errors import BadCode

CODES = 3
"""How many codes are told apart by their first digit."""
RANDOM_DIGITS = 6
DIGITS = 1 + RANDOM_DIGITS + 1
TYPED_CHARS_MAX = 64
_IGNORED = dict.fromkeys(map(ord, " \t-\u2010\u2011\u2013"))

_DAMM = (
    "0317598642",
    "7092154863",
    "4206871359",
    "1750983426",
    "6123045978",
    "3674209581",
    "5869720134",
    "8945362017",
    "9438617205",
    "2581436790",
)


@dataclass(frozen=True, slots=True)
class Code:
    """``digits`` has all eight. Its text is never logged: neither ``str`` nor ``repr`` shows it."""

    digits: str

    @property
    def number(self) -> int:
        """Which code it is, 1 to ``CODES``; no secret."""
        return int(self.digits[0])

    @property
    def text(self) -> str:
        """As people read it."""
        return f"{self.digits[:4]}-{self.digits[4:]}"

    def __repr__(self) -> str:
        return f"Code({self.number}...)"

    @classmethod
    def make(cls, number: int, below: Callable[[int], int] = secrets.randbelow) -> Code:
        """A new code with this number (1 to ``CODES``)."""
        if not 1 <= number <= CODES:
            raise ValueError(f"codes have numbers 1 to {CODES}")
        digits = f"{number}{below(10**RANDOM_DIGITS):0{RANDOM_DIGITS}}"
        return cls(f"{digits}{_check(digits)}")

    @classmethod
    def parse(cls, typed: str) -> Code:
        """What a person typed; spaces and dashes do not matter. Raises ``BadCode``."""
        digits = typed.translate(_IGNORED) if len(typed) <= TYPED_CHARS_MAX else ""
        if len(digits) != DIGITS or not (digits.isascii() and digits.isdecimal()):
            raise BadCode(f"a code has {DIGITS} digits, as in 1482-1396: type what the box shows")
        if _check(digits) or not 1 <= int(digits[0]) <= CODES:
            raise BadCode("one of the code's digits is wrong: look again (this has cost no guess)")
        return cls(digits)


def _check(digits: str) -> int:
    """The digit to add; 0 for digits that have it already."""
    interim = 0
    for digit in digits:
        interim = int(_DAMM[interim][int(digit)])
    return interim
