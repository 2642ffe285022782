"""Bits turned over on the disk, and looks at all of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import trio

from appliance.store import Scrubber, Store
from appliance.store.scrub import Found, Scan


def whole(folder: Path) -> Found:
    """What a scan finds, in one."""
    scan, all_found = Scan(folder), Found()
    while (found := scan.step()) is not None:
        all_found.octets += found.octets
        all_found.entries += found.entries
        all_found.messages += found.messages
        all_found.blobs += found.blobs
        all_found.problems += found.problems
    scan.close()
    return all_found


def nothing(found: Found) -> bool:
    return not (found.entries or found.messages or found.blobs or found.problems)


def flip(octets: bytes, bit: int = 77) -> bytes:
    turned = bytearray(octets)
    turned[bit // 8 % len(turned)] ^= 1 << bit % 8
    return bytes(turned)


def flip_in_file(path: Path, needle: bytes) -> int:
    """Turn over one bit of each place in the file where these octets are."""
    content = bytearray(path.read_bytes())
    count, at = 0, content.find(needle)
    while at >= 0:
        content[at + len(needle) // 2] ^= 4
        count, at = count + 1, content.find(needle, at + len(needle))
    with open(path, "r+b") as file:
        file.write(content)
    return count


def blob_path(folder: Path) -> Path:
    [path] = (folder / "blobs").glob("??/*")
    return path


def nobody(reason: str | None) -> None: ...


async def scrubbed(folder: Path, store: Store, warn: Callable[[str | None], None] = nobody) -> Any:
    """A round at once; what was said of it."""
    scrubber = Scrubber(folder, store, 1, 1 << 30, warn)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(scrubber.run)
        scrubber.hurry()
        with trio.fail_after(20):
            while scrubber.state()["running"]:  # noqa: ASYNC110
                await trio.sleep(0.01)
        await trio.sleep(0.05)
        state = scrubber.state()
        nursery.cancel_scope.cancel()
    return state
