"""Whether clients can reach the box: certificate, port, network."""

from __future__ import annotations

import errno
import hashlib
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509

from appliance.config import Config
from appliance.doctor.finding import Finding, well, wrong
from appliance.session import listen
from appliance.session.certificate import server_context

SOON = timedelta(days=30)
ANSWER_S = 5.0
ANY = ("", "0.0.0.0", "::")
ROUTES = Path("/proc/self/net")
GATEWAY = 0x2
"""The kernel's flag of a route that leads to another router, RTF_GATEWAY."""


def check_certificate(config: Config, now: datetime | None = None) -> Iterator[Finding]:
    """Readable, fitting the key, and in force."""
    own = config.tls.cert is None or config.tls.key is None
    folder = config.data / "tls"
    cert, key = config.tls.cert or folder / "cert.pem", config.tls.key or folder / "key.pem"
    if own and not cert.exists() and not key.exists():
        yield well("certificate", "the first start makes one")
        return
    try:
        server_context(cert, key)
        found = x509.load_pem_x509_certificate(cert.read_bytes())
    except (ValueError, OSError) as error:
        what, _, do = str(error).partition(": ")
        yield wrong("certificate", what, do or "put back the right files, readable for the box's user")
        return
    now = now or datetime.now(UTC)
    ends, begins = found.not_valid_after_utc, found.not_valid_before_utc
    renew = "remove both files and start again" if own else "renew it: see tls.cert in the configuration file"
    if now >= ends:
        yield wrong("certificate", f"{cert} has been out of date since {ends:%Y-%m-%d}", renew)
    elif now < begins:
        yield wrong(
            "certificate", f"{cert} is in force from {begins:%Y-%m-%d} on", "see whether the clock is right"
        )
    elif ends - now < SOON:
        yield wrong("certificate", f"{cert} ends on {ends:%Y-%m-%d}", renew)
    else:
        yield well("certificate", f"fits its key, in force until {ends:%Y-%m-%d}")


def check_port(config: Config, status: Mapping[str, Any] | None) -> Iterator[Finding]:
    """Whether the running box answers where it says; without one, whether the port is free."""
    if status is not None:
        yield _answers(str(status.get("address", "")), str(status.get("fingerprint", "")))
        return
    try:
        for sock in listen(config.listen.host, config.listen.port):
            sock.close()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            what, do = "is used by another program", f"ss -ltnp 'sport = :{config.listen.port}' shows which"
        elif error.errno == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror):
            what, do = (
                "is no address of this machine",
                "set listen to one that `ip address` shows, or to 0.0.0.0",
            )
        elif error.errno == errno.EACCES:
            what, do = "needs a privilege", "take a port above 1023"
        else:
            what, do = f"cannot be used: {error.strerror or error}", "see the option listen"
        yield wrong("port", f"{config.listen} {what}", do)
    else:
        yield well("port", f"{config.listen} is free")


def _answers(address: str, fingerprint: str) -> Finding:
    host, _, port = address.removeprefix("=").rpartition(":")
    host = host.strip("[]")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with (
            socket.create_connection((host, int(port)), ANSWER_S) as link,
            context.wrap_socket(link) as tls,
        ):
            print_ = "SHA256:" + hashlib.sha256(tls.getpeercert(True) or b"").hexdigest()
    except (OSError, ValueError) as error:
        return wrong(
            "port",
            f"the box does not answer at {address}: {error}",
            "see whether a firewall is in the way; pocket log --level warning says more",
        )
    if print_ != fingerprint:
        return wrong("port", f"another certificate answers at {address}", "see what else listens there")
    return well("port", f"the box answers at {address}")


def check_network(config: Config) -> Iterator[Finding]:
    """Whether there is a network, and a way out of it."""
    if config.listen.host in ("127.0.0.1", "::1", "localhost"):
        yield well("network", "the box is for this machine only: see the option listen")
        return
    gateway = _gateway()
    if gateway:
        yield well("network", f"connected, by {gateway}")
    elif _connected():
        yield wrong(
            "network",
            "connected, but there is no default route: other sites and the time are out of reach",
            "see whether the router is on, and whether it gives addresses (DHCP)",
        )
    else:
        yield wrong(
            "network",
            "this machine is in no network",
            "plug in a cable, or join a Wi-Fi: on the serial console with   wifi join NAME",
        )


def _gateway() -> str | None:
    """The interface of the default route."""
    with suppress(OSError, ValueError, IndexError):
        for line in (ROUTES / "route").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[1] == "00000000" and fields[7] == "00000000":
                return fields[0]
    with suppress(OSError, ValueError, IndexError):
        for line in (ROUTES / "ipv6_route").read_text().splitlines():
            fields = line.split()
            if fields[0] == "0" * 32 and fields[1] == "00" and int(fields[8], 16) & GATEWAY:
                return fields[9]
    return None


def _connected() -> bool:
    """Whether there is any network but the machine's own."""
    with suppress(OSError, IndexError):
        for line in (ROUTES / "route").read_text().splitlines()[1:]:
            if line.split()[0] != "lo":
                return True
    with suppress(OSError, IndexError):
        for line in (ROUTES / "if_inet6").read_text().splitlines():
            if line.split()[5] != "lo" and not line.startswith("fe80"):
                return True
    return False
