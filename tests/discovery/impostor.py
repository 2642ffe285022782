"""Somebody in the network who answers as a box with a site would, to become a blank box's site, or to learn
the real one's: `python -m tests.discovery.impostor FOLDER`.

He announces that pairing is open, takes every guest, and says yes at once. He prints a JSON line for each
that asks, {"guest": address}, and when somebody introduced itself to him, {"card": name}.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import trio

from appliance.discovery import DiscoverySettings, run_discovery
from appliance.health import Health
from appliance.pairing import BoxEntry, BoxGift, ButtonHost, Committed, Introduced, Opened
from appliance.session.certificate import ensure_certificate, fingerprint_of, server_context

PORT = 4711


def say(**fact: Any) -> None:
    print(json.dumps(fact), flush=True)


async def take_in(link: trio.SSLStream[trio.SocketStream], cert: str, fingerprint: str) -> None:
    host = ButtonHost(fingerprint)
    async for octets in link:
        host.receive_data(bytes(octets))
        while (event := host.next_event()) is not None:
            if isinstance(event, Committed):
                say(guest="asks")
                await link.send_all(host.answer())
            elif isinstance(event, Opened):
                await link.send_all(host.compare())
            elif isinstance(event, Introduced):
                say(card=event.card.name)
                boxes = [BoxEntry("3F2A+%BC", b"\x01" * 32, 0, "his", [])]
                await link.send_all(host.give(BoxGift("His", fingerprint, cert, "key", boxes, "3F2A+%BC")))
            else:
                await link.send_all(host.confirm(1))


async def main(folder: Path) -> None:
    cert, key = ensure_certificate(folder, "Home")
    context = server_context(cert, key)
    pem = cert.read_text()
    fingerprint = fingerprint_of(pem)

    async def serve(stream: trio.SocketStream) -> None:
        link = trio.SSLStream(stream, context, server_side=True)
        try:
            await take_in(link, pem, fingerprint)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            say(gone=True)

    health = Health()
    health.serving()
    health.pair_for(600)
    settings = DiscoverySettings(site="Home", box_id="impostor", version="1.2.3", port=PORT)
    async with trio.open_nursery() as nursery:
        await nursery.start(trio.serve_tcp, serve, PORT)
        await nursery.start(run_discovery, settings, health)
        say(serving=True)


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]))
