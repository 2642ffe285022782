"""The one form in which headers are written, and the sum over it: TMTP revision 1, section 1.

Keys are sorted and nothing is spaced. `<`, `>`, `&`, U+2028 and U+2029 are written as `\\u003c` and so on,
control characters as `\\n`, `\\r`, `\\t` or `\\u00xx`; all other text is UTF-8. `headsum` is taken over
these very octets, so a deployed client recomputes it only if we write exactly as it would.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from google_crc32c import value as crc32c

from .errors import LocalProtocolError

HEADER_MIN: Final = 8
"""Octets of the shortest JSON header, `{"op":1}`."""
HEADER_MAX: Final = 0xFFFF
"""Octets of the longest JSON header that four hex digits can announce."""

special = re.compile('[\x00-\x1f"\\\\<>&\u2028\u2029\ud800-\udfff]').search
"""Finds what cannot stand in a JSON string as it is."""

_SPECIALS: Final = re.compile('[\x00-\x1f"\\\\<>&\u2028\u2029\ud800-\udfff]')
_SHORT: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t", '"': '\\"', "\\": "\\\\"}


def _escape(found: re.Match[str]) -> str:
    character = found.group()
    if "\ud800" <= character <= "\udfff":
        return "\ufffd"
    return _SHORT.get(character) or f"\\u{ord(character):04x}"


def quote(text: str) -> str:
    """`text` as a JSON string. A lone surrogate, which UTF-8 cannot carry, becomes U+FFFD."""
    if special(text) is None:
        return f'"{text}"'
    return f'"{_SPECIALS.sub(_escape, text)}"'


def canonical_value(value: Any) -> str:
    """The canonical JSON text of a str, int, bool, None, or a list, tuple or mapping (with str keys) of such.

    Raises LocalProtocolError for any other type: headers have none.
    """
    if isinstance(value, str):
        return quote(value)
    if value is True or value is False:
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if value is None:
        return "null"
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{quote(key)}:{canonical_value(value[key])}" for key in sorted(value)) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(canonical_value, value)) + "]"
    raise LocalProtocolError(f"a header cannot hold a {type(value).__name__}")


def canonical_json(fields: Mapping[str, Any]) -> str:
    """A header's JSON text in canonical form. Raises LocalProtocolError for a value that JSON headers
    cannot hold.
    """
    return canonical_value(fields)


def frame_head(json: str) -> bytes:
    """Four hex digits and the UTF-8 of `json`. Raises LocalProtocolError if it is too long for a frame."""
    octets = json.encode()
    if len(octets) > HEADER_MAX:
        raise LocalProtocolError(f"a header of {len(octets)} octets does not fit in a frame ({HEADER_MAX})")
    return b"%04x%b" % (len(octets), octets)


def with_headsum(before: str, after: str) -> bytes:
    """The frame head `before + after` with its `headsum` written between the two.

    `before` ends at the comma (or brace) ahead of the place where `headsum` sorts; `after` goes on with the
    next key.
    """
    headsum = crc32c(frame_head(before + after))
    return frame_head(f'{before}"headsum":{headsum},{after}')


_HEADSUM: Final = re.compile(rb'"headsum":([0-9]+),|,"headsum":([0-9]+)(?=\})')


def headsum_holds(head: bytes) -> bool:
    """Whether the `headsum` written in this frame head is that of the head without it. False also if there
    is none.

    A quotation mark inside a JSON string is escaped, so the pattern finds the key and never a value.
    """
    found = _HEADSUM.search(head, 4)
    if found is None:
        return False
    bare = head[4 : found.start()] + head[found.end() :]
    headsum: int = crc32c(b"%04x%b" % (len(bare), bare))
    return headsum == int(found[1] or found[2])
