"""A link to another box on the port where clients come in, as a client would make it."""

from __future__ import annotations

import socket
import ssl

import trio

from appliance.session import TlsStream

CONNECT_S = 5.0


async def call(address: str) -> TlsStream:
    """A link to ``=HOST:PORT``, ``HOST:PORT`` or ``HOST``. Any certificate will do: what matters is proven
    otherwise. Raises ``ValueError``, ``OSError``, ``LinkLost``; ``trio.TooSlowError`` after ``CONNECT_S``.
    """
    from appliance.replication.dial import split_address  # a single box need not pay for replication

    host, port = split_address(address)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with trio.fail_after(CONNECT_S):
        connected = await trio.open_tcp_stream(host, port)
        sock = socket.socket(fileno=connected.socket.detach())
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stream = TlsStream(sock, context, host)
        try:
            await stream.handshake()
        except BaseException:
            stream.close()
            raise
    return stream
