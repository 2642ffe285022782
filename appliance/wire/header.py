"""Reads a JSON header exactly as TMTP revision 1, section 1 has it, whoever wrote it and however.

Keys are matched in any case, in nested objects too; unknown ones are ignored; of a key that comes twice the
last counts, and a null that counts makes the key absent. But whatever a known key is given, also where it
does not count, must be of the right type. Bad UTF-8 and lone surrogates are read as U+FFFD. What is no JSON
is refused even where Python's reader would take it (NaN, Infinity). Case folding follows Unicode: U+017F is
an "s".

This is the careful way and takes tens of microseconds; `fast` is the quick way for the headers that come by
the thousand.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NoReturn

from .requests import INT_MAX, SUM_MAX


class BadHeader(Exception):
    """The octets are no header. What is wrong with it is for the log; the other side is told `invalid
    header`.
    """


class _Object(list[tuple[str, Any]]):
    """A JSON object as read: its pairs in order, keys unfolded, doubles and nulls still there."""


_NO_INTEGER: Final = SUM_MAX + 1
_SURROGATES: Final = re.compile("[\ud800-\udfff]")


def _integer(text: str) -> int:
    """No field takes more than 20 characters; what is longer is not worth the quadratic time of int()."""
    return int(text) if len(text) <= 20 else _NO_INTEGER


def _constant(text: str) -> NoReturn:
    raise BadHeader(f"{text} is not JSON")


_decode: Final = json.JSONDecoder(
    object_pairs_hook=_Object, parse_int=_integer, parse_constant=_constant
).decode


def text(value: Any) -> str:
    if type(value) is not str:
        raise BadHeader("not a text")
    return value if value.isascii() else _SURROGATES.sub("\ufffd", value)


def _between(lowest: int, highest: int) -> Callable[[Any], int]:
    def integer(value: Any) -> int:
        if type(value) is not int or not lowest <= value <= highest:
            raise BadHeader(f"not an integer from {lowest} to {highest}")
        return value

    return integer


integer: Final = _between(-INT_MAX - 1, INT_MAX)
count: Final = _between(0, INT_MAX)
checksum: Final = _between(0, SUM_MAX)


def flag(value: Any) -> bool:
    if type(value) is not bool:
        raise BadHeader("not true or false")
    return value


def _without_nulls(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def plain(value: Any) -> Any:
    """Any JSON value as str, int, float, bool, list and dict; keys folded, no nulls in objects."""
    if type(value) is _Object:
        return _without_nulls({text(key).casefold(): plain(entry) for key, entry in value})
    if type(value) is list:
        return [plain(entry) for entry in value]
    return text(value) if type(value) is str else value


def mapping(value: Any) -> dict[str, Any]:
    if type(value) is not _Object:
        raise BadHeader("not an object")
    result: dict[str, Any] = plain(value)
    return result


def a_list(value: Any) -> list[Any]:
    if type(value) is not list:
        raise BadHeader("not a list")
    return value


_TARGET_FIELDS: Final[Mapping[str, Callable[[Any], Any]]] = {"id": text, "type": integer}


def targets(value: Any) -> list[dict[str, Any]]:
    """The elements of `for`, each with an `id` and a `type` if it had them."""
    return [_fields(element, _TARGET_FIELDS) for element in a_list(value)]


def _fields(value: Any, kinds: Mapping[str, Callable[[Any], Any]]) -> dict[str, Any]:
    if type(value) is not _Object:
        raise BadHeader("not an object")
    found: dict[str, Any] = {}
    for key, entry in value:
        name = key.casefold()
        kind = kinds.get(name)
        if kind is not None:
            found[name] = None if entry is None else kind(entry)
    return _without_nulls(found)


def read_header(octets: bytes, kinds: Mapping[str, Callable[[Any], Any]]) -> dict[str, Any]:
    """The known fields of a header, by lower-case name. `kinds` has the function that takes or refuses each.

    Raises BadHeader, and nothing else, for whatever octets.
    """
    try:
        return _fields(_decode(octets.decode("utf-8", "replace")), kinds)
    except ValueError as error:
        raise BadHeader("not JSON") from error
    except RecursionError as error:
        raise BadHeader("nested too deeply") from error
