"""The library's records, by the names that it keeps for older programs, and the text record's content."""

from __future__ import annotations

from zeroconf import DNSAddress as DNSAddress  # type: ignore[attr-defined]
from zeroconf import DNSIncoming as DNSIncoming  # type: ignore[attr-defined]
from zeroconf import DNSNsec as DNSNsec  # type: ignore[attr-defined]
from zeroconf import DNSOutgoing as DNSOutgoing  # type: ignore[attr-defined]
from zeroconf import DNSPointer as DNSPointer  # type: ignore[attr-defined]
from zeroconf import DNSQuestion as DNSQuestion  # type: ignore[attr-defined]
from zeroconf import DNSRecord as DNSRecord  # type: ignore[attr-defined]
from zeroconf import DNSService as DNSService  # type: ignore[attr-defined]
from zeroconf import DNSText as DNSText  # type: ignore[attr-defined]

A, PTR, TXT, AAAA, NSEC, ANY = 1, 12, 16, 28, 47, 255
IN, UNICAST, FLUSH = 0x0001, 0x8000, 0x8000
"""UNICAST on a question: answer me alone. On a record the same bit, FLUSH, says that it replaces what others
remember."""
QUERY, RESPONSE = 0x0000, 0x8400


def text_value(text: bytes, key: bytes) -> str:
    """The value of a key in a TXT record's octets (RFC 6763, section 6); "" if it has none."""
    at = 0
    while at < len(text):
        entry = text[at + 1 : at + 1 + text[at]]
        name, _, value = entry.partition(b"=")
        if name.lower() == key:
            return value.decode("utf-8", "replace")
        at += 1 + text[at]
    return ""


def text_of(**values: str) -> bytes:
    """A TXT record's octets with these keys; none longer than 255 octets."""
    entries = [f"{key}={value}".encode() for key, value in values.items()]
    return b"".join(bytes([len(entry)]) + entry for entry in entries)
