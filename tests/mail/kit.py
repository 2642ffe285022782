"""What the tests of this room share: messages as clients make them, and a member with archives."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

from appliance import wire
from appliance.mail import Mail, MailSettings
from appliance.mail.content import Content, read
from appliance.site import Decision, Payload
from appliance.site.relaying import add_membership, relay_in
from appliance.store import Store
from tests.store import kit as stores

POSTED_MS = 1_760_000_000_000
UID = "%1B2C3D4F5G6H7J8K9LM"


def details(subject: str = "", files: Sequence[tuple[str, int]] = (), **more: Any) -> bytes:
    """The JSON before a body."""
    attach = [{"name": f"u:{name}", "size": size} for name, size in files]
    return json.dumps({"threadid": "", "subject": subject, "attach": attach, **more}).encode()


def frame(
    upid: int,
    body: str | bytes = "",
    subject: str = "",
    files: Sequence[tuple[str, bytes]] = (),
    *,
    op: str = "delivery",
    at_ms: int = POSTED_MS,
    alias: str = "Ann of Work",
    **more: Any,
) -> tuple[bytes, bytes]:
    """A message as its site gives it out: the frame head, and the data."""
    head = details(subject, [(name, len(octets)) for name, octets in files], alias=alias, **more)
    data = head + (body if isinstance(body, bytes) else body.encode()) + b"".join(o for _, o in files)
    return wire.encode_message(op, UID, upid, at_ms, len(data), len(head)), data


def content(*args: Any, **more: Any) -> Content:
    """What such a message says."""
    return read(*frame(1, *args, **more))


@dataclass(slots=True)
class Home:
    """A member with one membership; ``upid`` is the last id that its site gave."""

    store: Store
    folder: Path
    device: stores.Device
    membership: int
    mail: Mail
    leads: list[bool]
    warned: list[str] = field(default_factory=list)
    upid: int = 100

    @property
    def member(self) -> int:
        return self.device.member

    @property
    def archive(self) -> int:
        return self.store.site.memberships[self.membership].archive

    async def comes(self, body: str | bytes = "", subject: str = "", **more: Any) -> Decision:
        """A message comes from the membership's site."""
        self.upid += 1
        more.setdefault("at_ms", POSTED_MS + self.upid * 60_000)
        head, data = frame(self.upid, body, subject, **more)
        return await relayed(self.store, self.membership, self.upid, head, data)

    async def found(self, text: str, **more: Any) -> list[str]:
        """Subjects of what a search finds."""
        return [hit["subject"] for hit in (await self.mail.search(self.member, text, **more))["found"]]

    async def kept(self) -> list[Content]:
        """What the membership's archive has, in the order in which it came to the site."""
        messages = await stores.pending(self.store, self.archive)
        contents = []
        for message in messages:
            data = message.data
            if message.blob is not None:
                data = self.store.blobs.path(message.blob).read_bytes()
            contents.append(read(message.head, data or b"", message.size))
        return sorted(contents, key=lambda content: content.id)


async def relayed(
    store: Store, membership: int, upid: int, head: bytes, data: bytes, nodes: Sequence[int] | None = None
) -> Decision:
    payload = Payload.of(data)
    if len(data) > wire.INLINE_MAX:
        payload = await stores.upload(store, data)
    decision = await store.perform(
        lambda scene: relay_in(scene, membership, upid, "delivery", head, payload, nodes)
    )
    if payload.data is None:
        store.blobs.unpin(payload.digest)
    assert decision.error is None, decision.error
    return decision


async def membership(store: Store, member: int, name: str = "work") -> int:
    return (await store.perform(lambda scene: add_membership(scene, member, name, {}))).node


@asynccontextmanager
async def home(folder: Path, running: bool = True, **settings: Any) -> AsyncIterator[Home]:
    """A box with a member; what has to be done for the archives is done in the background."""
    settings = {"index_every_s": 3600.0, **settings}
    async with stores.running(folder) as store:
        device = await stores.member(store)
        leads = [True]
        warned: list[str] = []

        def warn(text: str | None) -> None:
            if text is not None:
                warned.append(text)

        mail = Mail(store, folder, MailSettings(**settings), warn, lambda: leads[0])
        number = await membership(store, device.member)
        async with trio.open_nursery() as nursery:
            if running:
                nursery.start_soon(mail.run)
            yield Home(store, folder, device, number, mail, leads, warned)
            nursery.cancel_scope.cancel()
