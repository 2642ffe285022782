"""From a site's address to a link on which nothing was said yet."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import trio

from appliance.relay.errors import UpstreamLost
from appliance.relay.places import SiteAddress, check_pin, pinning_context, vouching_context
from appliance.relay.settings import RelaySettings
from appliance.relay.upstream import Upstream
from appliance.session import LinkLost, TlsStream, watch_peer

ADDRESSES_MAX = 6
"""Of a host's, those that are tried."""

KEEPALIVE_IDLE_S, KEEPALIVE_INTERVAL_S = 20, 10


@asynccontextmanager
async def connected(
    address: SiteAddress, pin: str, settings: RelaySettings, lookups: trio.CapacityLimiter
) -> AsyncIterator[Upstream]:
    """A link to a site, closed at the end. ``lookups`` limits the threads that look names up.

    Raises ``UpstreamLost``, ``CertificateChanged``.
    """
    stream = await _dial(address, settings, lookups)
    try:
        yield Upstream(stream, settings, check_pin(address, stream.certificate, pin))
    finally:
        stream.close()


async def _dial(address: SiteAddress, settings: RelaySettings, lookups: trio.CapacityLimiter) -> TlsStream:
    """Connected, and the handshake done."""
    limit_s = settings.connect_timeout_s
    with trio.move_on_after(limit_s):
        if address.vouched:
            context = await trio.to_thread.run_sync(vouching_context)
        else:
            context = pinning_context()
        found = await _look_up(address, lookups)
        last: Exception = UpstreamLost(f"{address}: the name is not known")
        for number, place in enumerate(found):
            share_s = (trio.current_effective_deadline() - trio.current_time()) / (len(found) - number)
            with trio.move_on_after(share_s):
                try:
                    return await _connect(place, address, context, settings)
                except (OSError, LinkLost) as error:
                    last = error
                    continue
            last = UpstreamLost("no answer")
        raise UpstreamLost(_why(address, last)) from last
    raise UpstreamLost(f"{address} did not answer within {limit_s:g} s")


async def _look_up(address: SiteAddress, lookups: trio.CapacityLimiter) -> list[tuple[Any, ...]]:
    look = partial(socket.getaddrinfo, address.host, address.port, type=socket.SOCK_STREAM)
    try:
        found = await trio.to_thread.run_sync(look, limiter=lookups, abandon_on_cancel=True)
    except (OSError, UnicodeError) as error:
        raise UpstreamLost(f"{address}: the name is not known ({error})") from error
    return list(found[:ADDRESSES_MAX])


async def _connect(
    place: tuple[Any, ...], address: SiteAddress, context: ssl.SSLContext, settings: RelaySettings
) -> TlsStream:
    family, kind, proto, _, where = place
    with trio.socket.socket(family, kind, proto) as sock:
        await sock.connect(where)
        plain = socket.socket(fileno=sock.detach())
    stream = TlsStream(plain, context, address.host)
    try:
        watch_peer(plain, KEEPALIVE_IDLE_S, KEEPALIVE_INTERVAL_S, settings.user_timeout_s)
        plain.getpeername()  # of a connection that was reset already the ssl module loses the socket
        await stream.handshake()
    except BaseException:
        stream.close()
        raise
    return stream


def _why(address: SiteAddress, error: Exception) -> str:
    """What to tell of a failed call."""
    cause = error.__cause__
    if isinstance(cause, ssl.SSLCertVerificationError):
        return (
            f"{address}: no authority that this box knows vouches for its certificate"
            f" ({cause.verify_message}); if the site made its own, write ={str(address)[1:]}"
        )
    if isinstance(cause, ssl.SSLError):
        return f"{address} does not speak TLS: is the port right? ({cause.reason})"
    number = error.errno if isinstance(error, OSError) and not isinstance(error, socket.gaierror) else None
    told = os.strerror(number) if number and number > 0 else str(error)
    return f"{address} cannot be reached: {told}; is it on, and are host and port right?"
