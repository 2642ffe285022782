"""Updates from the other boxes of the site: each keeps the payload of the version that it runs, if there is
room, and gives it to who asks. A box that knows nothing of this says nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol

import msgspec
import trio

from appliance.log import get_logger
from appliance.updating.errors import NoSource
from appliance.updating.incoming import Incoming
from appliance.updating.sums import SIGNATURE, SIGNATURE_OCTETS_MAX, SUMS, SUMS_OCTETS_MAX, most, payloads

log = get_logger(__name__)

TOPIC = "update"
WAIT_S = 3.0
TELL_OCTETS_MAX = 60 << 10
ASKED_MAX = 16

Take = Callable[[bytes], Awaitable[None]]


class Wants(msgspec.Struct, frozen=True, array_like=True, tag="wants"):
    """Which payload does the other box keep, for this board?"""

    board: str


class Has(msgspec.Struct, frozen=True, array_like=True, tag="has"):
    """The one of ``version``; ``sizes`` of its files in octets, by name."""

    board: str
    version: str
    sums: bytes
    signature: bytes
    sizes: dict[str, int]


_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(Wants | Has)


class NotGiven(Exception):
    """A box gives no more of a file."""


class Links(Protocol):
    """The links to other boxes."""

    def linked(self) -> list[str]: ...

    def name(self, box: str) -> str: ...

    def tell(self, box: str, topic: str, payload: bytes) -> None: ...

    def give(self, files: dict[bytes, Path]) -> None:
        """What others may fetch from now on, by SHA-256: this and nothing else."""

    async def fetch(self, box: str, sha: bytes, offset: int, size: int, take: Take) -> None:
        """Raises ``NotGiven``."""


class Peer:
    """A box, and what it has."""

    def __init__(self, links: Links, box: str, has: Has) -> None:
        self.where = f"box {links.name(box)}"
        self.version = has.version
        self._links = links
        self._box = box
        self._has = has

    async def small(self, name: str, most: int) -> bytes:
        return {SUMS: self._has.sums, SIGNATURE: self._has.signature}[name]

    async def fetch(self, name: str, sha: bytes, incoming: Incoming) -> None:
        """Go on with a file. Raises ``NoSource``, and ``UpdateError`` as ``incoming`` does."""
        if name not in self._has.sizes:
            raise NoSource(f"{self.where} does not have {name}")
        await incoming.expect(self._has.sizes[name])
        try:
            await self._links.fetch(self._box, sha, incoming.size, self._has.sizes[name], incoming.write)
        except NotGiven as error:
            raise NoSource(f"{self.where} does not give the update ({error}); what came is kept") from None


class Peers:
    """Asks the other boxes, and answers them."""

    def __init__(self, links: Links) -> None:
        self._links = links
        self._kept: Has | None = None
        self._answers: dict[str, Has] | None = None
        self._lock = trio.Lock()

    def keep(self, folder: Path | None, board: str, version: str) -> None:
        """From now on give the payload in ``folder``, whose files are right; None: nothing. Blocks. Raises
        ``OSError``.
        """
        self._kept, files = None, {}
        if folder is not None:
            sums, signature = (folder / SUMS).read_bytes(), (folder / SIGNATURE).read_bytes()
            for payload in payloads(sums, board):
                if payload.version == version and len(sums) + len(signature) < TELL_OCTETS_MAX:
                    files = {sha: folder / name for name, sha in payload.files.items()}
                    sizes = {name: (folder / name).stat().st_size for name in payload.files}
                    self._kept = Has(board, version, sums, signature, sizes)
        self._links.give(files)

    @property
    def kept(self) -> str | None:
        """The version that is given."""
        return self._kept.version if self._kept is not None else None

    def heard(self, box: str, topic: str, payload: bytes) -> None:
        """What another box tells. What makes no sense is left alone."""
        if topic != TOPIC:
            return
        try:
            said = _decoder.decode(payload)
        except msgspec.MsgspecError as error:
            log.debug("what a box told of updates is not understood", peer=box, error=str(error))
            return
        if isinstance(said, Wants):
            if self._kept is not None and said.board == self._kept.board:
                self._links.tell(box, TOPIC, _encode(self._kept))
        elif self._answers is not None and len(self._answers) < ASKED_MAX and _is_bounded(said):
            self._answers[box] = said

    async def ask(self, board: str) -> list[Peer]:
        """Who has a payload for this board."""
        async with self._lock:
            return await self._ask(board)

    async def _ask(self, board: str) -> list[Peer]:
        boxes = self._links.linked()
        self._answers = {}
        try:
            for box in boxes:
                self._links.tell(box, TOPIC, _encode(Wants(board)))
            with trio.move_on_after(WAIT_S if boxes else 0):
                while len(self._answers) < len(boxes):  # noqa: ASYNC110
                    await trio.sleep(0.05)
            return [Peer(self._links, box, has) for box, has in self._answers.items() if has.board == board]
        finally:
            self._answers = None


def _is_bounded(has: Has) -> bool:
    named = {name for payload in payloads(has.sums, has.board) for name in payload.files}
    return (
        len(has.sums) <= SUMS_OCTETS_MAX
        and len(has.signature) <= SIGNATURE_OCTETS_MAX
        and all(name in named and 0 < size <= most(name) for name, size in has.sizes.items())
    )
