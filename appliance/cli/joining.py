"""The other end of `pocket pair code`: a guest over a blocking TLS connection."""

from __future__ import annotations

import hashlib
import socket
import ssl
import time

import click

from appliance.pairing import Code, Confirmed, Given, Guest, NodeGift, PairingError, Shared

PORT = 4433
STEP_S = 5.0
"""How long the box may take for each step."""
RECEIVE_OCTETS = 32768


def join(address: str, code: Code) -> NodeGift:
    """Pair with the box at ``address``: what it gives. Ends the command if that fails."""
    host, port, trusted = split_address(address)
    given: NodeGift | None = None
    try:
        with connect(host, port, trusted) as link:
            certificate = link.getpeercert(binary_form=True) or b""
            guest = Guest(code, f"SHA256:{hashlib.sha256(certificate).hexdigest()}")
            link.sendall(guest.begin())
            deadline = time.monotonic() + STEP_S
            while True:
                event = guest.next_event()
                if event is None:
                    guest.receive_data(receive(link, deadline))
                    continue
                deadline = time.monotonic() + STEP_S
                if isinstance(event, Shared):
                    link.sendall(guest.prove())
                elif isinstance(event, Given):
                    assert isinstance(event.gift, NodeGift)
                    given = event.gift
                    link.sendall(guest.take())
                elif isinstance(event, Confirmed):
                    assert given is not None
                    return given
    except PairingError as error:
        raise click.ClickException(str(error)) from None
    except TimeoutError:
        reason = f"the box at {address} did not answer within {STEP_S:g} s"
    except socket.gaierror as error:
        reason = f"cannot find {host} ({error.strerror}): type the address that   pocket find   shows"
    except ssl.SSLCertVerificationError as error:
        reason = f"no authority vouches for {address} ({error.verify_message}): leave the + away"
    except (OSError, EOFError) as error:
        reason = f"cannot pair with {address}: {getattr(error, 'strerror', None) or error}"
    if given is not None:
        reason += "; the device may have been made: look at the box with   pocket device list"
    raise click.ClickException(reason)


def split_address(address: str) -> tuple[str, int, bool]:
    """Host, port, and whether an authority must vouch for the certificate, of ``=HOST:PORT``, ``+HOST:PORT``,
    ``HOST:PORT`` or ``HOST``.
    """
    bare = address[1:] if address[:1] in ("=", "+") else address
    host, colon, port = bare.rpartition(":")
    if not colon or bare.endswith("]"):
        host, port = bare, str(PORT)
    host = host.strip("[]")
    if not host or not (port.isascii() and port.isdecimal() and 0 < int(port) < 65536):
        raise click.BadParameter(f"{address!r} is no address: type it as the box shows it, =HOST:PORT")
    return host, int(port), address.startswith("+")


def connect(host: str, port: int, trusted: bool) -> ssl.SSLSocket:
    """A TLS link. A self-signed certificate is as good as any: the code proves it."""
    context = ssl.create_default_context()
    if not trusted:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    sock = socket.create_connection((host, port), STEP_S)
    try:
        return context.wrap_socket(sock, server_hostname=host)
    except BaseException:
        sock.close()
        raise


def receive(link: ssl.SSLSocket, deadline: float) -> bytes:
    link.settimeout(max(deadline - time.monotonic(), 0.001))
    octets = link.recv(RECEIVE_OCTETS)
    if not octets:
        raise EOFError("it hung up: is it a box, and does this version of it pair by code?")
    return octets
