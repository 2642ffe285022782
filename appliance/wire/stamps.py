"""Message ids and times as text: TMTP revision 1, section 1."""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

ID_MAX: Final = (1 << 64) - 1

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_ID: Final = re.compile("[0-9a-f]{16}")
_POSTED: Final = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})\.([0-9]{3})Z")


def format_id(number: int) -> str:
    """16 lower-case hex digits. Raises ValueError outside of 0 to 2**64 - 1."""
    if not 0 <= number <= ID_MAX:
        raise ValueError(f"{number} is no 64-bit id")
    return f"{number:016x}"


def parse_id(text: str) -> int | None:
    """The number of an id that `format_id` wrote; None for any other text."""
    return int(text, 16) if _ID.fullmatch(text) else None


@lru_cache(maxsize=8)
def _second(seconds: int) -> str:
    """The text of a second since the epoch, up to and with the dot. Messages come many to the second."""
    try:
        moment = _EPOCH + timedelta(seconds=seconds)
    except OverflowError:
        raise ValueError(f"{seconds} s is a time outside of the years 1 to 9999") from None
    return moment.isoformat()[:19] + "."


def format_posted(ms: int) -> str:
    """Milliseconds since the epoch as `2006-01-02T15:04:05.000Z`. Raises ValueError outside of the years 1
    to 9999.
    """
    return f"{_second(ms // 1000)}{ms % 1000:03d}Z"


def parse_posted(text: str) -> int:
    """Milliseconds since the epoch of a `posted` text. Raises ValueError if it is none."""
    found = _POSTED.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not a time like 2006-01-02T15:04:05.000Z")
    year, month, day, hour, minute, second, ms = map(int, found.groups())
    moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    return (moment - _EPOCH) // timedelta(milliseconds=1) + ms
