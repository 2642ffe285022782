"""Turns over the links to the other boxes: what is said, and what is on the disk before it is."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from typing import Protocol

import trio

from appliance.log import get_logger
from appliance.updating import turns
from appliance.updating.errors import NotYourTurn, UpdateError
from appliance.updating.notes import Place
from appliance.updating.turns import TOPIC, Said, Turn, Turns

log = get_logger(__name__)

FILE = "turn.json"
ASK_EVERY_S = 2.0
ASK_S = 12.0
LOOK_S = 1.0
HELD_EVERY_S = 30.0
SAID_MAX = 64
"""What others said and was not yet looked at; beyond that it is not heard, and they say it again."""

BUSY = (
    "box {name} is being updated, or was and is not in sync yet: two never are at once. Wait for it, or if it"
    " is gone for good:   pocket peer revoke {box}"
)
AWAY = (
    "box {name} is away, and might be updating itself: two boxes never do at once. Bring it back, or if it is"
    " gone for good:   pocket peer revoke {box}   To update this one all the same, add   --alone"
)
SILENT = (
    "box {name} does not say whether it is being updated: it is busy, or of a version that cannot. Update it"
    " first, or to update this one all the same, add   --alone"
)


class Boxes(Protocol):
    """The other boxes of the site."""

    @property
    def own(self) -> str: ...

    def counting(self) -> list[str]:
        """The ids of those that belong to the site, but for this one."""

    def linked(self) -> list[str]:
        """Those of them that are in reach."""

    def in_sync(self, box: str) -> bool: ...

    def name(self, box: str) -> str: ...

    def tell(self, box: str, topic: str, payload: bytes) -> None:
        """Best effort."""


class Turning:
    """``run`` in a task. ``busy`` says whether this box is in the middle of an update, so that it may have
    the turn that its disk says it has.
    """

    def __init__(self, place: Place, boxes: Boxes) -> None:
        self.turns = Turns(boxes.own, place.read(FILE, Turn) or Turn(), lambda: boxes.counting())
        self._place = place
        self._boxes = boxes
        self._said: list[tuple[str, Said]] = []
        self._bell = trio.Event()
        self._lock = trio.Lock()
        self._moved = trio.Event()

    # what others call

    def heard(self, box: str, topic: str, payload: bytes) -> None:
        """What another box tells. May not block."""
        if topic == TOPIC and len(self._said) < SAID_MAX and (said := turns.decode(payload)) is not None:
            self._said.append((box, said))
            self._bell.set()

    def met(self, box: str, up: bool) -> None:
        """A box came in reach, or is out of it. May not block."""
        if up:
            for other, said in self.turns.met(box):
                self._boxes.tell(other, TOPIC, turns.encode(said))

    @property
    def holder(self) -> str | None:
        """The id of another box whose turn it is."""
        return self.turns.holder

    @property
    def has(self) -> bool:
        return self.turns.state == "having"

    async def take(self) -> None:
        """Have the turn. Cancelled, or when it cannot be had, it is given back. Raises ``NotYourTurn``,
        ``UpdateError``.
        """
        boxes = self._boxes
        if away := sorted(set(boxes.counting()) - set(boxes.linked())):
            raise NotYourTurn(AWAY.format(name=boxes.name(away[0]), box=away[0]))
        try:
            await self._do(lambda: self.turns.ask(secrets.token_hex(8)))
            with trio.move_on_after(ASK_S):
                while not self.has and self.turns.denied is None:
                    self._moved = trio.Event()
                    with trio.move_on_after(ASK_EVERY_S):
                        await self._moved.wait()
                    await self._do(self.turns.again)
            if self.has:
                return
            first = self.turns.denied or min(self.turns.waits_for, default="")
            text = BUSY if self.turns.denied else SILENT
            raise NotYourTurn(text.format(name=boxes.name(first), box=first))
        except BaseException:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + 2):
                await self.give_back()
            raise

    async def give_back(self) -> None:
        """It is over. Raises ``UpdateError``."""
        await self._do(self.turns.give_back)

    async def run(self) -> None:
        """Until cancelled."""
        held_at = trio.current_time()
        while True:
            while self._said:
                box, said = self._said.pop(0)
                await self._settled(lambda box=box, said=said: self.turns.heard(box, said))  # type: ignore[misc]
                self._moved.set()
            await self._settled(self._tidy)
            if trio.current_time() - held_at > HELD_EVERY_S:
                held_at = trio.current_time()
                if (holder := self.holder) is not None:
                    self.met(holder, True)
            self._bell = trio.Event()
            with trio.move_on_after(LOOK_S):
                await self._bell.wait()

    def _tidy(self) -> Iterable[tuple[str, Said]]:
        self.turns.tidy(self._boxes.in_sync)
        return ()

    async def _settled(self, work: Callable[[], Iterable[tuple[str, Said]]]) -> None:
        """What cannot be kept is not said either; whoever asked asks again."""
        try:
            await self._do(work)
        except UpdateError as error:
            log.warning("the turn to be updated cannot be kept", error=str(error))

    async def _do(self, work: Callable[[], Iterable[tuple[str, Said]]]) -> None:
        """First the disk, then words."""
        async with self._lock:
            said = list(work())
            if self.turns.changed:
                try:
                    await trio.to_thread.run_sync(self._place.write, FILE, self.turns.turn)
                except OSError as error:
                    self.turns.turn = self._place.read(FILE, Turn) or Turn()
                    raise UpdateError(f"{FILE} cannot be written: {error.strerror}") from error
                finally:
                    self.turns.changed = False
                turn = self.turns.turn
                log.debug("turn", mine=turn.mine, has=turn.has, holder=turn.holder, back=turn.back)
            for box, what in said:
                self._boxes.tell(box, TOPIC, turns.encode(what))
