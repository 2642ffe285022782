"""Where a site is, and whether it is the one that it was: addresses, certificates, pins.

``=HOST:PORT`` has a certificate of its own making, which is trusted when it is seen first and from then on
only if it is the same (TMTP revision 1, section 1); ``+HOST:PORT`` has one that an authority vouches for.
"""

from __future__ import annotations

import hashlib
import ssl
from dataclasses import dataclass
from functools import cache

from appliance.relay.errors import CertificateChanged

DEFAULT_PORT = 443
HOST_CHARS_MAX = 253


@dataclass(frozen=True, slots=True)
class SiteAddress:
    """``vouched``: the certificate is checked with the system's authorities."""

    host: str
    port: int
    vouched: bool

    @classmethod
    def parse(cls, text: str) -> SiteAddress:
        """Raises ``ValueError`` with what is wrong."""
        sign, rest = text[:1], text[1:].strip()
        if sign not in ("=", "+"):
            raise ValueError(
                f"{text!r} is no address of a site: write =HOST:PORT for one with its own certificate,"
                " +HOST:PORT for one whose certificate an authority vouches for"
            )
        host, port = _split(rest)
        if not host or len(host) > HOST_CHARS_MAX or not host.isprintable() or set(host) & set(" /@?#"):
            raise ValueError(f"{text!r} is no address of a site: the host is missing or no host name")
        if not (port.isascii() and port.isdigit() and 0 < int(port[:6]) < 65536):
            raise ValueError(f"{text!r} is no address of a site: the port is a number from 1 to 65535")
        return cls(host, int(port), sign == "+")

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'+' if self.vouched else '='}{host}:{self.port}"


def _split(text: str) -> tuple[str, str]:
    if text.startswith("["):
        host, closed, rest = text[1:].partition("]")
        return host if closed else "", rest.removeprefix(":") or str(DEFAULT_PORT)
    if text.count(":") > 1:
        return text, str(DEFAULT_PORT)
    host, _, port = text.partition(":")
    return host, port or str(DEFAULT_PORT)


def check_pin(address: SiteAddress, certificate: bytes, pin: str) -> str:
    """The pin to remember: the SHA-256 of the certificate (DER) in hex digits; empty where none is needed.

    Raises ``CertificateChanged`` if it is not ``pin``; an empty one trusts what comes first.
    """
    if address.vouched:
        return ""
    shown = hashlib.sha256(certificate).hexdigest()
    if pin and shown != pin.lower():
        raise CertificateChanged(
            f"the certificate of {address} is not the one it was: either the site has a new one, or"
            " somebody is in between; ask the site for its fingerprint, and compare before you go on",
            shown,
        )
    return shown


@cache
def pinning_context() -> ssl.SSLContext:
    """For ``=`` sites. The certificate is looked at by ``check_pin``, not by TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.options |= getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
    return context


@cache
def vouching_context() -> ssl.SSLContext:
    """For ``+`` sites: the system's authorities, and the host's name in the certificate. Blocks."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
    return context
