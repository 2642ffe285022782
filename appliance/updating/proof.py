"""The box's proof that a version works: without it the system goes back to the one before.

It answers TLS on its own port with the site's certificate, the store can be read, written and synced, and is
not full, and the boxes that were linked before are linked and in sync again. One of several that is away may
have gone itself; if all of them are, it is this box that cannot reach them.
"""

from __future__ import annotations

import os
import socket
import sqlite3
import ssl
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Protocol

import trio

from appliance.log import get_logger
from appliance.store import Store, StoreBroken, StoreError, write_synced
from appliance.updating.notes import Before

log = get_logger(__name__)

FILE = "proven"
LOOK_S = 1.0
ANSWER_S = 10.0
OTHERS_S = 120.0
ENTRIES = 1000
ROUTES = Path("/proc/self/net")

Check = Callable[[], Awaitable[str | None]]


class Others(Protocol):
    """The other boxes."""

    def linked(self) -> list[str]: ...

    def counting(self) -> list[str]: ...

    def in_sync(self, box: str) -> bool: ...

    def name(self, box: str) -> str: ...


@dataclass
class Proof:
    """``problem`` says what is still lacking; None when all is well. ``checks`` come before the others."""

    checks: Sequence[Check]
    others: Others
    before: Before | None
    network: Callable[[], bool]
    problem: str | None = "it was not looked at yet"

    async def run(self) -> None:
        """Return when it works. Raises ``StoreBroken``."""
        began = trio.current_time()
        told: str | None = None
        while (problem := await self._look(trio.current_time() - began)) is not None:
            self.problem = problem
            if problem != told:
                told = problem
                log.info("not proven yet", problem=problem)
            await trio.sleep(LOOK_S)
        self.problem = None

    async def _look(self, waited_s: float) -> str | None:
        for check in self.checks:
            if (problem := await check()) is not None:
                return problem
        return lacking(self.before, self.others, waited_s, self.network)


def lacking(
    before: Before | None, others: Others, waited_s: float, network: Callable[[], bool]
) -> str | None:
    """Which of the boxes that were linked before is not as it was; None if that is well."""
    if before is None:
        return None
    counting = set(others.counting())
    was = [box for box in before.linked if box in counting]
    if not was:
        return "there is no network any more" if before.network and not network() else None
    linked = [box for box in was if box in others.linked()]
    for box in linked:
        if not others.in_sync(box):
            return f"box {others.name(box)} and this one are not in sync yet"
    away = [box for box in was if box not in linked]
    if away and (not linked or waited_s < OTHERS_S):
        return f"box {others.name(away[0])} was linked before the update, and is not now"
    return None


def answers(address: Callable[[], tuple[str, int]], fingerprint: Callable[[], str]) -> Check:
    """The port answers with the right certificate. ``fingerprint`` as in ``Place``."""

    async def check() -> str | None:
        host, port = address()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        try:
            with trio.fail_after(ANSWER_S):
                stream = trio.SSLStream(await trio.open_tcp_stream(host, port), context)
                try:
                    await stream.do_handshake()
                    shown = stream.getpeercert(binary_form=True)
                finally:
                    await trio.aclose_forcefully(stream)
        except (OSError, trio.TooSlowError, trio.BrokenResourceError) as error:
            return f"its own port does not answer: {error!r}"
        if "SHA256:" + sha256(shown or b"").hexdigest() != fingerprint():
            return "its own port answers with another certificate"
        return None

    return check


def stores(store: Store, folder: Path) -> Check:
    """The store works, and its newest part is what was written."""
    verified = False

    async def check() -> str | None:
        nonlocal verified
        try:
            if not verified:
                from appliance.store.verifying import verify_newest  # of use once

                found = await trio.to_thread.run_sync(verify_newest, folder, ENTRIES)
                if found:
                    return f"the store is damaged: {found[0]}"
                verified = True
            await store.probe()
        except StoreBroken:
            raise
        except (StoreError, sqlite3.Error, OSError) as error:
            return f"the store does not work: {error}"
        return "the disk is full" if store.disk.room().low else None

    return check


def own_address(name: tuple[str, int]) -> tuple[str, int]:
    """Where a listening socket with this name is reached from here."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(name[0], name[0])
    return host, name[1]


def has_network() -> bool:
    """Whether this machine has an address in any network but its own."""
    for family, anywhere in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        with socket.socket(family, socket.SOCK_DGRAM) as probe, suppress(OSError):
            probe.connect((anywhere, 9))  # nothing is sent
            return True
    with suppress(OSError, IndexError):
        return any(line.split()[0] != "lo" for line in (ROUTES / "route").read_text().splitlines()[1:])
    return False


def write_proof(version: str) -> None:
    """Tell the system. Blocks. Raises ``OSError``."""
    folder = os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    if folder:
        write_synced(Path(folder) / FILE, f"{version}\n".encode(), 0o644)
