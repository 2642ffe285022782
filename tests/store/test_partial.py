"""Files from other boxes: however they are cut and broken off, what is kept is what was meant."""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
from pathlib import Path

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.store.blobs import Blobs
from appliance.store.disk import Disk
from appliance.store.errors import DiskFull
from appliance.store.partial import PARTS_MAX, Partials, WrongBlob


def make(folder: Path) -> Partials:
    (folder / "blobs").mkdir(exist_ok=True)
    blobs = Blobs(folder / "blobs", Disk(folder, 0, 0), lambda: None)
    (folder / "blobs" / "incoming").mkdir(exist_ok=True)
    return Partials(blobs)


def run(function, *args):
    return trio.run(function, *args)


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.binary(min_size=1, max_size=5000), st.lists(st.tuples(st.integers(1, 2000), st.booleans())))
def test_a_file_is_whole_however_often_it_was_broken_off(octets, pieces):
    async def main(folder):
        digest = hashlib.sha256(octets).digest()
        partial = await make(folder).open(digest, len(octets))
        for size, breaks in pieces:
            await partial.write(octets[partial.size : partial.size + size])
            if breaks:
                partial.close()
                partial = await make(folder).open(digest, len(octets))
        await partial.write(octets[partial.size :])
        await partial.finish()
        partial.close()
        partials = make(folder)
        assert partials.blobs.path(digest).read_bytes() == octets
        assert await partials.read(digest, 1, 3) == octets[1:4]
        assert not list((folder / "blobs" / "incoming").iterdir())

    with tempfile.TemporaryDirectory() as folder:
        run(main, Path(folder))


def test_what_is_not_the_wanted_file_is_gone_and_can_be_begun_anew(tmp_path):
    async def main():
        partials = make(tmp_path)
        digest = hashlib.sha256(b"right").digest()
        for wrong in (b"wrong", b"righ"):
            partial = await partials.open(digest, 5)
            assert partial.size == 0
            await partial.write(wrong)
            with pytest.raises(WrongBlob):
                await partial.finish()
            partial.close()
        partial = await partials.open(digest, 5)
        with pytest.raises(WrongBlob):
            await partial.write(b"right and more")
        partial.close()
        assert not list((tmp_path / "blobs" / "incoming").iterdir())
        assert await partials.read(digest, 0, 5) is None

    run(main)


def test_octets_that_rotted_while_the_box_was_off_are_found_at_the_end(tmp_path):
    async def main():
        digest = hashlib.sha256(b"right").digest()
        partial = await make(tmp_path).open(digest, 5)
        await partial.write(b"rig")
        partial.close()
        (path,) = (tmp_path / "blobs" / "incoming").iterdir()
        path.write_bytes(b"rit")
        partial = await make(tmp_path).open(digest, 5)
        await partial.write(b"ht")
        with pytest.raises(WrongBlob):
            await partial.finish()
        partial.close()

    run(main)


def test_a_file_that_is_there_longer_than_it_should_be_is_begun_anew(tmp_path):
    async def main():
        partials = make(tmp_path)
        digest = hashlib.sha256(b"right").digest()
        (tmp_path / "blobs" / "incoming" / (digest.hex() + ".part")).write_bytes(b"much too long")
        partial = await partials.open(digest, 5)
        assert partial.size == 0
        await partial.write(b"right")
        await partial.finish()
        partial.close()
        assert await partials.read(digest, 0, 100) == b"right"

    run(main)


def test_no_room_is_said_before_anything_is_written_and_keeps_what_came(tmp_path, monkeypatch):
    async def main():
        partials = make(tmp_path)
        digest = bytes(32)
        with pytest.raises(DiskFull):
            await partials.open(digest, 1 << 60)
        partial = await partials.open(digest, 1000)
        await partial.write(bytes(300))
        monkeypatch.setattr(partials.blobs.disk, "problem", lambda size: "disk full")
        with pytest.raises(DiskFull):
            await partial.write(bytes(300))
        partial.close()
        monkeypatch.undo()
        partial = await partials.open(digest, 1000)
        assert partial.size == 300
        partial.close()

    run(main)


def test_a_disk_that_fills_up_while_it_is_written_keeps_what_fitted(tmp_path, monkeypatch):
    async def main():
        partials = make(tmp_path)
        octets = os.urandom(1000)
        digest = hashlib.sha256(octets).digest()
        partial = await partials.open(digest, 1000)

        class Full:
            def __init__(self, file):
                self.file, self.left = file, 400

            def write(self, view):
                if not self.left:
                    raise OSError(errno.ENOSPC, "no space")
                written = self.file.write(view[: self.left])
                self.left -= written
                return written

            def __getattr__(self, name):
                return getattr(self.file, name)

        monkeypatch.setattr(partial, "_file", Full(partial._file))
        with pytest.raises(DiskFull):
            await partial.write(octets)
        assert partial.size == 400
        partial.close()
        partial = await partials.open(digest, 1000)
        assert partial.size == 400
        await partial.write(octets[400:])
        await partial.finish()
        partial.close()

    run(main)


def test_unfinished_files_are_bounded_and_those_nobody_wants_go(tmp_path):
    async def main():
        partials = make(tmp_path)
        held = await partials.open(bytes(32), 10)
        for number in range(1, PARTS_MAX + 19):
            partial = await partials.open(number.to_bytes(32, "big"), 10)
            await partial.write(b"x")
            partial.close()
        incoming = tmp_path / "blobs" / "incoming"
        assert len(list(incoming.iterdir())) <= PARTS_MAX
        assert (incoming / (bytes(32).hex() + ".part")).exists(), "one that is open stays"
        last = (PARTS_MAX + 18).to_bytes(32, "big")
        await partials.tidy({last})
        assert {path.stem for path in incoming.iterdir()} == {bytes(32).hex(), last.hex()}
        held.close()

    run(main)


def test_the_blob_is_pinned_until_those_who_want_it_know(tmp_path):
    async def main():
        partials = make(tmp_path)
        digest = hashlib.sha256(b"right").digest()
        partial = await partials.open(digest, 5)
        await partial.write(b"right")
        await partial.finish()
        partial.close()
        await partials.blobs.remove([digest])
        assert await partials.read(digest, 0, 9) == b"right"
        partials.blobs.unpin(digest)
        await partials.blobs.remove([digest])
        assert await partials.read(digest, 0, 9) is None

    run(main)
