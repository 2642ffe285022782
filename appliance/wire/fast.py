"""Reads at speed the headers that come by the thousand: op 7, 8, 10 and 11 of a client that writes as all
of them do.

`read` gives the very request that `header` and `rules` would make of the same octets, or None where it is
not certain of that: keys that it does not know, text that is not UTF-8, anything that breaks a rule. None
says nothing about right or wrong.
"""

import re
from collections.abc import Callable
from typing import Final

from msgspec import MsgspecError
from msgspec.json import Decoder

from .requests import Ack, Post, PostNotify, Pulse

FastRequest = Post | PostNotify | Ack | Pulse

# A strict decoder is sure enough: it takes no 12.0 for an int, no key it does not know, and of doubles the
# last.
_decode: Final[Callable[[bytes], FastRequest]] = Decoder(FastRequest).decode

# A key in another case. What is between two quotation marks and is followed by a colon is a key in any
# valid JSON, and in what is not valid JSON a change of case makes nothing valid.
_KEY: Final = re.compile(rb'"[A-Za-z]{2,10}"(?=[ \t\r\n]*:)')

_LARGE: Final = 8000
"""Octets from which on a header is left to the careful way, which also looks at the length of its id."""


def _lower(found: re.Match[bytes]) -> bytes:
    return found[0].lower()


def read(json: bytes) -> FastRequest | None:
    """The request in these octets of JSON, or None if that takes a closer look."""
    if len(json) > _LARGE:
        return None
    if b'"op":' not in json:
        json = _KEY.sub(_lower, json)
    try:
        request = _decode(json)
    except (MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    if isinstance(request, Pulse):
        return request
    if request.head:
        return None  # a key that is not a header's: the field is the link's to set
    if isinstance(request, Ack):
        return request
    if request.data or not request.inline or request.datahead > request.datalen:
        return None
    if isinstance(request, PostNotify) and not (
        0 < request.notelen < request.datalen
        and request.notehead <= request.notelen
        and request.datahead <= request.datalen - request.notelen
        and not (request.fornotself and not request.to)
    ):
        return None
    return request
