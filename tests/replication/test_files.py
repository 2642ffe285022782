"""Files beside what is stored go from box to box by their hash, whole, and disturb nothing."""

from __future__ import annotations

import hashlib
import os

import pytest
import trio

from appliance.replication.files import NotGiven
from appliance.replication.frames import CHUNK_OCTETS_MAX, RANGE_OCTETS_MAX
from tests.replication.household import Home, until


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path)


def given(box, folder, octets):
    """A file that the box gives: its hash and what is in it."""
    content = os.urandom(octets)
    sha = hashlib.sha256(content).digest()
    (folder / sha.hex()).write_bytes(content)
    box.hub.files.given[sha] = folder / sha.hex()
    return sha, content


async def fetched(box, other, sha, size, offset=0):
    pieces = []

    async def take(piece):
        pieces.append(piece)
        await trio.lowlevel.checkpoint()

    await box.hub.files.fetch(box.hub.session(other.id), sha, offset, size, take)
    return b"".join(pieces)


@pytest.mark.parametrize(
    "octets", [1, CHUNK_OCTETS_MAX, RANGE_OCTETS_MAX, RANGE_OCTETS_MAX + 1, 3 * RANGE_OCTETS_MAX + 77]
)
def test_a_file_comes_whole_from_any_octet_on(home, tmp_path, octets):
    async def main():
        a, b = home.box(1), home.box(2)
        async with home.running(a, b):
            await until(lambda: a.hub.session(b.id) and b.hub.session(a.id))
            sha, content = given(a, tmp_path, octets)
            with trio.fail_after(10):
                assert await fetched(b, a, sha, octets) == content
                assert await fetched(b, a, sha, octets, octets // 2) == content[octets // 2 :]
                assert await fetched(b, a, sha, octets, octets) == b""
            assert a.hub.session(b.id) and b.hub.session(a.id), "the link lives"

    trio.run(main)


def test_what_a_box_does_not_have_it_lacks_and_nothing_else_happens(home, tmp_path):
    async def main():
        a, b = home.box(1), home.box(2)
        async with home.running(a, b):
            await until(lambda: a.hub.session(b.id) and b.hub.session(a.id))
            with trio.fail_after(10), pytest.raises(NotGiven, match="does not have it"):
                await fetched(b, a, bytes(32), 1000)
            entry = a.replica.add()
            await until(lambda: a.copies.seqs.get(b.id) == entry.seq)

    trio.run(main)


def test_a_link_that_breaks_ends_the_fetch(home, tmp_path):
    async def main():
        a, b = home.box(1), home.box(2)
        async with home.running(a, b):
            await until(lambda: a.hub.session(b.id) and b.hub.session(a.id))
            sha, _ = given(a, tmp_path, 4 << 20)
            session = b.hub.session(a.id)

            async def take(piece):
                session.tls.close()

            with trio.fail_after(10), pytest.raises(NotGiven):
                await b.hub.files.fetch(session, sha, 0, 4 << 20, take)

    trio.run(main)


def test_what_was_broken_off_is_gone_on_with_on_the_same_link(home, tmp_path):
    class Full(Exception):
        pass

    async def main():
        a, b = home.box(1), home.box(2)
        async with home.running(a, b):
            await until(lambda: a.hub.session(b.id) and b.hub.session(a.id))
            sha, content = given(a, tmp_path, 3 << 20)
            came, limits = bytearray(), [200_000, 900_000, 1_500_000]

            async def take(piece):
                if limits and len(came) >= limits[0]:
                    limits.pop(0)
                    raise Full
                came.extend(piece)

            with trio.fail_after(20):
                while limits:
                    with pytest.raises(Full):
                        await b.hub.files.fetch(b.hub.session(a.id), sha, len(came), 3 << 20, take)
                await b.hub.files.fetch(b.hub.session(a.id), sha, len(came), 3 << 20, take)
            assert came == content

    trio.run(main)
