"""Whose turn it is to be updated: never two boxes of a site at once. No input or output, no clock.

A box that wants to be updated *asks* all other boxes of the site, and begins when all have *granted*. Who has
granted keeps it on disk, and grants nobody else, nor asks itself, until the box has given its turn *back* and
is in sync again, or was put out of the site. Of two that ask at once the one with the lower id goes first.

    none --ask--> asking --all granted--> having --back--> none          what this box wants
    free --asked by X--> granted to X --X gave it back, and is in sync--> free       what it has granted

A box that is killed in between goes on from what is on its disk: it says ``held`` to whom it has granted, who
answers ``back`` if it wants that turn no longer.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Literal

import msgspec

TOPIC = "turn"


class Turn(msgspec.Struct):
    """On the disk of each box. ``mine``: the id of the turn that it asked for, and ``has`` it if all granted.
    ``holder`` (a box id) has the turn ``granted``, which it may have given ``back``.
    """

    mine: str = ""
    has: bool = False
    holder: str = ""
    granted: str = ""
    back: bool = False


class Asks(msgspec.Struct, frozen=True, array_like=True, tag="asks"):
    id: str


class Granted(msgspec.Struct, frozen=True, array_like=True, tag="granted"):
    id: str


class Denied(msgspec.Struct, frozen=True, array_like=True, tag="denied"):
    """``holder`` (a box id) goes first."""

    id: str
    holder: str


class Back(msgspec.Struct, frozen=True, array_like=True, tag="back"):
    id: str


class Held(msgspec.Struct, frozen=True, array_like=True, tag="held"):
    """You have this turn, as far as I know."""

    id: str


Said = Asks | Granted | Denied | Back | Held
_encode = msgspec.msgpack.Encoder().encode
_decoder: msgspec.msgpack.Decoder[Said] = msgspec.msgpack.Decoder(Said)


def encode(said: Said) -> bytes:
    return _encode(said)


def decode(octets: bytes) -> Said | None:
    """None for what a newer box may say."""
    try:
        return _decoder.decode(octets)
    except msgspec.MsgspecError:
        return None


class Turns:
    """``own`` is this box's id, ``known`` as long as a box counts. What ``heard``, ``ask`` and the others
    return is to be said, to whom, after ``turn`` is on the disk, if it has ``changed``.
    """

    def __init__(self, own: str, turn: Turn, counts: Callable[[], Collection[str]]) -> None:
        self.turn = turn
        self.granted_by: set[str] = set()
        self.denied: str | None = None
        """Who goes first, if somebody said so to the last asking."""

        self.changed = False
        self._own = own
        self._counts = counts

    @property
    def state(self) -> Literal["none", "asking", "having"]:
        if not self.turn.mine:
            return "none"
        return "having" if self.turn.has else "asking"

    @property
    def holder(self) -> str | None:
        """Another box that has the turn, as this one knows."""
        return self.turn.holder or None

    def ask(self, id: str) -> list[tuple[str, Said]]:
        """This box wants to be updated. Not while another one has the turn: then nothing is said."""
        self.tidy()
        if self.turn.holder:
            self.denied = self.turn.holder
            return []
        self._set(mine=id, has=False)
        self.granted_by, self.denied = set(), None
        return self.again()

    def again(self) -> list[tuple[str, Said]]:
        """What is still to be asked."""
        if self.state != "asking":
            return []
        if not self.waits_for:
            self._set(has=True)
            return []
        return [(box, Asks(self.turn.mine)) for box in sorted(self.waits_for)]

    @property
    def waits_for(self) -> set[str]:
        """The boxes that have yet to grant it."""
        return set(self._counts()) - {self._own} - self.granted_by

    def give_back(self) -> list[tuple[str, Said]]:
        """It is over, or is not to be."""
        id = self.turn.mine
        if not id:
            return []
        self._set(mine="", has=False)
        return [(box, Back(id)) for box in self._counts() if box != self._own]

    def heard(self, box: str, said: Said) -> list[tuple[str, Said]]:
        """Another box says something."""
        turn = self.turn
        match said:
            case Asks():
                return self._asked(box, said.id)
            case Granted() if said.id == turn.mine and not turn.has:
                self.granted_by.add(box)
                self.again()
            case Denied() if said.id == turn.mine and not turn.has:
                self.denied = said.holder
            case Back() if box == turn.holder and said.id == turn.granted:
                self._set(back=True)
            case Held() if said.id != turn.mine:
                return [(box, Back(said.id))]
        return []

    def met(self, box: str) -> list[tuple[str, Said]]:
        """A box is in reach: it may have been away when it was to give its turn back."""
        if box == self.turn.holder and not self.turn.back:
            return [(box, Held(self.turn.granted))]
        return []

    def tidy(self, in_sync: Callable[[str], bool] = lambda box: False) -> None:
        """A turn is over when its box has given it back and is in sync, or counts no more."""
        turn = self.turn
        if turn.holder and (turn.holder not in self._counts() or (turn.back and in_sync(turn.holder))):
            self._set(holder="", granted="", back=False)

    def _asked(self, box: str, id: str) -> list[tuple[str, Said]]:
        self.tidy()
        turn = self.turn
        said: list[tuple[str, Said]] = []
        if turn.holder and turn.holder != box:
            return [(box, Denied(id, turn.holder))]
        if turn.mine and (turn.has or self._own < box):
            return [(box, Denied(id, self._own))]
        if turn.mine:
            said = self.give_back()
            self.denied = box
        if (turn.holder, turn.granted, turn.back) != (box, id, False):
            self._set(holder=box, granted=id, back=False)
        return [*said, (box, Granted(id))]

    def _set(self, **fields: object) -> None:
        for name, value in fields.items():
            setattr(self.turn, name, value)
        self.changed = True
