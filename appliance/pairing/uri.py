"""Where a site is, and who one is there, as one text that fits a QR code.

    tmtp://UID:PASSWORD@HOST:PORT/?also=HOST:PORT&fp=SHA256:HEX&site=NAME

- ``UID`` and ``PASSWORD`` (TMTP revision 1, section 1: 32 and 40 letters of its base32) log a device in.
  Without the password the text says whose device it is for; without both it is the site's address, to
  register at.
- ``also`` may come several times: other addresses of the same site, in the order in which to try them.
  ``HOST`` is a name, an IPv4 address, or an IPv6 address in brackets. The port is always there.
- ``fp`` is the SHA-256 of the certificate's DER form, which a client pins. Without it the certificate has
  to be one that an authority vouches for.
- ``site`` is the site's name, for people.

What is made here has the keys in this order and every octet percent-encoded, in capital letters, but the
unreserved ones of RFC 3986 and the colons: so the ``%`` of a uid is ``%25`` and its ``+`` is ``%2B``. What
is read may encode more than that, but never less: a ``+`` as it is would be a space to some and a plus to
others. Keys that are not known are ignored.

Pure: no I/O, and nothing imported that a command would have to wait for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv6Address
from urllib.parse import quote, unquote_to_bytes

URI_CHARS_MAX = 2048
"""A QR code holds 2953 octets, and is hard to scan long before that."""
ADDRESSES_MAX = 16
SITE_CHARS_MAX = 100

_UID = re.compile(r"[%+1-9BCDFGHJKLMNPQRSTVWXYZ]{32}")
_PASSWORD = re.compile(r"[%+1-9BCDFGHJKLMNPQRSTVWXYZ]{40}")
_FINGERPRINT = re.compile(r"SHA256:[0-9a-f]{64}")
_ADDRESS = re.compile(r"(?:([A-Za-z0-9._-]{1,253})|\[([0-9A-Fa-f:.]{2,45})\]):([1-9][0-9]{0,4})")
_URI = re.compile(r"tmtp://(?:([^/?#@:]*)(?::([^/?#@:]*))?@)?([^/?#@]+)/(?:\?([^#]*))?", re.IGNORECASE)
_ENCODED = re.compile(r"(?:[A-Za-z0-9._~:-]|%[0-9A-Fa-f]{2})*")


@dataclass(frozen=True, slots=True)
class Invitation:
    """What the text says. ``addresses``: at least one, each HOST:PORT. Raises ``ValueError`` if a part
    cannot be what it should be.
    """

    addresses: tuple[str, ...]
    uid: str | None = None
    password: str | None = None
    fingerprint: str | None = None
    site: str | None = None

    def __post_init__(self) -> None:
        if not 1 <= len(self.addresses) <= ADDRESSES_MAX:
            raise ValueError(f"a site has 1 to {ADDRESSES_MAX} addresses, not {len(self.addresses)}")
        for address in self.addresses:
            check_address(address)
        if self.uid is not None and not _UID.fullmatch(self.uid):
            raise ValueError("the uid is not 32 letters of TMTP's base32")
        if self.password is not None and (self.uid is None or not _PASSWORD.fullmatch(self.password)):
            raise ValueError("the password is not 40 letters of TMTP's base32 after a uid")
        if self.fingerprint is not None and not _FINGERPRINT.fullmatch(self.fingerprint):
            raise ValueError("the fingerprint is not SHA256: and 64 hex digits in lower case")
        if self.site is not None and not (0 < len(self.site) <= SITE_CHARS_MAX and self.site.isprintable()):
            raise ValueError(f"the site's name is not printable text of at most {SITE_CHARS_MAX} characters")

    def __repr__(self) -> str:
        """Without the password: a text like this ends up in logs."""
        hidden = "" if self.password is None else ", password=..."
        return f"Invitation({', '.join(self.addresses)}, uid={self.uid}{hidden}, site={self.site})"


def check_address(address: str) -> None:
    """Raise ``ValueError`` if it is not HOST:PORT with an IPv6 host in brackets."""
    found = _ADDRESS.fullmatch(address)
    if found is None or int(found[3]) > 65535:
        raise ValueError("an address is HOST:PORT, as in box.local:4433 or [fd00::1]:4433")
    if found[2] is not None:
        IPv6Address(found[2])


def build(invitation: Invitation) -> str:
    """The text. Raises ``ValueError`` if it would be longer than ``URI_CHARS_MAX``."""
    user = "" if invitation.uid is None else _encode(invitation.uid)
    if invitation.password is not None:
        user += ":" + _encode(invitation.password)
    query = [("also", address) for address in invitation.addresses[1:]]
    query += [("fp", invitation.fingerprint)] if invitation.fingerprint is not None else []
    query += [("site", invitation.site)] if invitation.site is not None else []
    uri = f"tmtp://{user}{'@' if user else ''}{invitation.addresses[0]}/"
    if query:
        uri += "?" + "&".join(f"{key}={_encode(value)}" for key, value in query)
    if len(uri) > URI_CHARS_MAX:
        raise ValueError(f"{len(uri)} characters are more than the {URI_CHARS_MAX} that can be scanned")
    return uri


def parse(uri: str) -> Invitation:
    """What the text says. Raises ``ValueError`` with what is wrong with it, never with what is in it."""
    found = _URI.fullmatch(uri) if len(uri) <= URI_CHARS_MAX else None
    if found is None:
        raise ValueError("this is no tmtp://HOST:PORT/ address")
    uid, password, address, query = found.groups()
    said: dict[str, str] = {}
    addresses = [address]
    for key, value in _pairs(query or ""):
        if key == "also":
            addresses.append(value)
        elif key in said:
            raise ValueError(f"the address says {key} twice")
        elif key in ("fp", "site"):
            said[key] = value
    return Invitation(
        tuple(addresses),
        _decode(uid) if uid is not None else None,
        _decode(password) if password is not None else None,
        said.get("fp"),
        said.get("site"),
    )


def _pairs(query: str) -> Iterator[tuple[str, str]]:
    for part in query.split("&") if query else ():
        key, equals, value = part.partition("=")
        if not equals:
            raise ValueError("after the ? come parts of the form key=value")
        yield _decode(key), _decode(value)


def _encode(text: str) -> str:
    return quote(text, safe=":")


def _decode(text: str) -> str:
    if not _ENCODED.fullmatch(text):
        raise ValueError("the address has characters in it that must be percent-encoded")
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        raise ValueError("the address has octets in it that are no text") from None
