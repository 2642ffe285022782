"""Attachments on their way to a stick: each once, those that are there already are left alone."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping

from appliance.backup.errors import Damaged
from appliance.backup.format import Sealer
from appliance.backup.opening import check_file, has_parts, parts
from appliance.backup.pacing import each, thread
from appliance.backup.stick import Folder
from appliance.log import get_logger
from appliance.store import Blobs

log = get_logger(__name__)

PIECE_OCTETS = 1 << 20


class Attachments:
    """``written`` is told octets as they are written."""

    def __init__(self, folder: Folder, key: bytes, blobs: Blobs, written: Callable[[int], None]) -> None:
        self._folder = folder
        self._key = key
        self._blobs = blobs
        self._written = written

    async def missing(
        self, wanted: set[bytes], known: Mapping[bytes, int]
    ) -> tuple[dict[bytes, int], dict[bytes, int]]:
        """Of the ``wanted`` files that are here, by SHA-256 with their size: those that are on the stick, as
        its last state (``known``) says, and the others. Raises ``StickError``.
        """
        there: dict[bytes, int] = {}
        new: dict[bytes, int] = {}
        for sha in sorted(wanted):
            size = await thread(self._size_of, sha)
            if size is None:
                continue
            is_there = known.get(sha) == size and await thread(self._has, sha, size)
            (there if is_there else new)[sha] = size
        return there, new

    async def bring(self, sha: bytes, size: int) -> bool:
        """Whether it is on the stick then, and was read back; what is damaged here, or gone meanwhile, is
        not. Raises ``Damaged``, ``StickError``.
        """
        if await self._is_whole(sha, size):
            self._written(size)
            return True
        whole = hashlib.sha256()
        try:
            await each(self._copy(sha, size, whole.update), self._written)
        except FileNotFoundError:
            return False
        except OSError as error:
            log.warning("an attachment cannot be read", sha=sha.hex(), error=str(error))
            return False
        if whole.digest() != sha:
            log.warning("an attachment is damaged, and not in the backup", sha=sha.hex())
            return False
        await each(check_file(self._folder, self._key, sha, size))
        return True

    def _size_of(self, sha: bytes) -> int | None:
        try:
            return self._blobs.path(sha).stat().st_size
        except OSError:
            return None

    def _has(self, sha: bytes, size: int) -> bool:
        return has_parts(self._folder, self._key, sha, size)

    async def _is_whole(self, sha: bytes, size: int) -> bool:
        """Whether an earlier backup that came to no end has written it."""
        if not await thread(self._has, sha, size):
            return False
        try:
            await each(check_file(self._folder, self._key, sha, size))
        except Damaged:
            return False
        return True

    def _copy(self, sha: bytes, size: int, seen: Callable[[bytes], object]) -> Iterator[int]:
        with open(self._blobs.path(sha), "rb", buffering=0) as source:
            for part in parts(self._key, sha, size):
                writing, sealer = self._folder.create(part.name), Sealer(self._key, part.name)
                left = part.octets
                try:
                    writing.write(sealer.begin())
                    while left and (piece := source.read(min(PIECE_OCTETS, left))):
                        left -= len(piece)
                        seen(piece)
                        writing.write(sealer.seal(piece))
                        yield len(piece)
                    writing.write(sealer.finish())
                    writing.finish()
                finally:
                    writing.abort()
