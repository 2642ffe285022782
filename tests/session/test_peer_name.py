"""One port, two certificates: which one is shown is told by the server name."""

from __future__ import annotations

import socket

import pytest
import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance.replication.errors import Impostor
from appliance.replication.identity import Identity, dial_context, public_key
from appliance.session import PEER_NAME, TlsStream, let_peers_in
from appliance.session.certificate import ensure_certificate, server_context


async def met(context, name):
    """Whether the server takes the other end for a box, and what that end was shown."""
    near, far = socket.socketpair()
    server, client = TlsStream(near, context), TlsStream(far, dial_context(), name)
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.handshake)
            nursery.start_soon(client.handshake)
        await client.send_all(b"hello")
        assert await server.receive() == b"hello"
    found = server.is_peers, client.certificate
    client.close()
    server.close()
    return found


@pytest.fixture
def box():
    return Identity(Ed25519PrivateKey.generate())


@pytest.fixture
def context(tmp_path):
    return server_context(*ensure_certificate(tmp_path, "home"))


def test_a_box_is_shown_the_boxs_own_key_and_a_client_the_sites_certificate(box, context):
    let_peers_in(context, box.server_context())
    is_peers, shown = trio.run(met, context, PEER_NAME)
    assert is_peers and public_key(shown) == box.public
    for name in ("pocket.local", "peer.pocket.internal.example"):
        is_peers, shown = trio.run(met, context, name)
        assert not is_peers
        with pytest.raises(Impostor):
            public_key(shown)


def test_where_nobody_waits_for_boxes_they_are_clients(context):
    is_peers, _ = trio.run(met, context, PEER_NAME)
    assert not is_peers
