"""Everything a member's devices can say at a site, one thing after the other, and what each device heard."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.kit import Client, Frame, before_curtain, mentions, with_sender, without_sender

CHESS = "chess on Fridays"
LARGE = bytes(range(256)) * 1200


@dataclass
class Cast:
    """`ann` and `tablet` are two devices of one member, the ones in question; the others are at the site."""

    ann: Client
    tablet: Client
    bob: Client
    phone: Client
    carol: Client
    others: dict[str, Client] = field(default_factory=dict)

    def named(self, name: str) -> Client:
        found: Client = self.others[name] if name in self.others else getattr(self, name)
        return found

    def all(self) -> dict[str, Client]:
        there = {
            "ann": self.ann,
            "tablet": self.tablet,
            "bob": self.bob,
            "phone": self.phone,
            "carol": self.carol,
            **self.others,
        }
        return {name: client for name, client in there.items() if client._line is not None}


Step = tuple[str, Callable[[Cast], Any]]


def _new_device(cast: Cast) -> Any:
    ack = cast.ann.edit_user(newnode="watch")
    told = cast.ann.find("user", newnode="watch")
    cast.others["watch"] = cast.ann.other_node(told["nodeid"])
    return [ack, told]


def _login(*names: str) -> Callable[[Cast], Any]:
    return lambda cast: [cast.named(name).login() for name in names]


def _close(*names: str) -> Callable[[Cast], Any]:
    def step(cast: Cast) -> None:
        for name in names:
            cast.named(name).log_out()

    return step


def steps() -> Iterator[Step]:
    yield "ping", lambda c: c.ann.ping("shall we?", c.bob)
    yield "ping back", lambda c: c.bob.ping("we shall <&>", c.ann)
    yield "ping by the other device", lambda c: c.tablet.ping("", c.carol, datasum=0)
    yield "invite makes a group", lambda c: c.ann.invite(c.bob, CHESS, "do come")
    yield "join", lambda c: c.bob.join(CHESS)
    yield "invited by another", lambda c: c.bob.invite(c.carol, CHESS)
    yield "join, too", lambda c: c.carol.join(CHESS)
    yield "invite who is in", lambda c: c.ann.invite(c.bob, CHESS, error=mentions())
    yield "post", lambda c: c.ann.post(b'{"subject":1}hello', c.bob, datahead=13, datasum=77)
    yield "post by the other device", lambda c: c.tablet.post(b"hello from the tablet", [c.bob, c.carol])
    yield "answer", lambda c: c.bob.post(b"hello yourself", c.ann)
    yield "to oneself, too", lambda c: c.ann.post(b"and me", [c.ann, c.bob])
    yield "to nobody else", lambda c: c.ann.post(b'{"nodesync":true}', [], datahead=17)
    yield "to the group", lambda c: c.ann.post(b"all", with_sender(CHESS))
    yield "to the others in it", lambda c: c.tablet.post(b"the others", without_sender(CHESS))
    yield "group and member", lambda c: c.ann.post(b"once each", [with_sender(CHESS), c.bob, c.ann])
    yield "from the group", lambda c: c.carol.post(b"from Carol", without_sender(CHESS))
    yield "to a stranger", lambda c: c.ann.post(b"x", [c.bob, "B" * 32], error=mentions())
    yield "to no group", lambda c: c.ann.post(b"x", with_sender("no such group"), error=mentions())
    yield "note", lambda c: c.ann.post_notify(b"note", b"message", c.bob, c.carol, notehead=2, datahead=3)
    yield "note, not for oneself", lambda c: c.ann.post_notify(b"n", b"m", c.bob, fornotself=True)
    yield "note only", lambda c: c.tablet.post_notify(b"note", b"kept", [], [c.bob], notesum=5, datasum=6)
    yield "note in the group", lambda c: c.ann.post_notify(b"note", b"message", with_sender(CHESS))
    yield "note from another", lambda c: c.bob.post_notify(b"note", b"message", c.ann, c.carol)
    yield "another name", lambda c: c.tablet.edit_user(newalias="Ann the great")
    yield "that name again", lambda c: c.ann.edit_user(newalias="Ann the great")
    yield "too short a name", lambda c: c.ann.edit_user(newalias="Ann", error=mentions())
    yield "Bob's name", lambda c: c.ann.edit_user(newalias=c.bob.alias, error=mentions())
    yield "ping by that name", lambda c: c.ann.ping("it is me", c.bob, from_="Ann the great")
    yield "ping by Bob's name", lambda c: c.ann.ping("x", c.carol, from_=c.bob.alias, error=mentions())
    yield "ping nobody", lambda c: c.ann.ping("x", "nobody at all", error=mentions())
    yield "renamed in the group", lambda c: c.ann.rename_in(CHESS, "Ann the great")
    yield "presence", lambda c: c.ann.edit_ohi("add", c.bob, c.carol)
    yield "presence of another", lambda c: c.bob.edit_ohi("add", c.ann)
    yield "less presence", lambda c: c.tablet.edit_ohi("drop", c.carol)
    yield "presence from the start", lambda c: c.tablet.edit_ohi("init", c.carol)
    yield "presence to a stranger", lambda c: c.ann.edit_ohi("add", "B" * 32, error=mentions())
    yield "a new device", _new_device
    yield "which logs in", _login("watch")
    yield "and writes", lambda c: c.others["watch"].post(b"from the watch", [c.ann, c.bob])
    yield "a large one", lambda c: c.ann.post(LARGE, [c.bob, c.ann], datahead=256)
    yield "a large one back", lambda c: c.bob.post(LARGE[::-1], c.ann)
    yield "a large note", lambda c: c.tablet.post_notify(LARGE[:70000], LARGE, c.bob, datahead=9, notehead=7)
    yield "it goes", _close("watch")
    yield "what it misses", lambda c: c.bob.post(b"for the watch, too", c.ann)
    yield "it comes", _login("watch")
    yield "the tablet goes", _close("tablet")
    yield "Bob goes", _close("bob", "phone")
    yield "Bob comes", _login("bob", "phone")
    yield "the tablet comes", _login("tablet")
    yield "dropped from the group", lambda c: c.ann.drop("Carol at the club", CHESS)
    yield "dropped again", lambda c: c.ann.drop("Carol at the club", CHESS, error=mentions())
    yield "one leaves", lambda c: c.tablet.drop("Ann the great", CHESS)
    yield "and posts to it", lambda c: c.ann.post(b"still invited", with_sender(CHESS))
    yield "and comes again", lambda c: c.ann.join(CHESS)


def play(cast: Cast) -> list[tuple[str, dict[str, list[Any]]]]:
    """All steps, and after each what everybody heard of it: comparable with another play."""
    reader = Reader(cast)
    heard = []
    for name, step in steps():
        said = step(cast)
        there = cast.all()
        frames = dict(zip(there, before_curtain(*there.values()), strict=True))
        told = {who: [reader.plain(frame) for frame in found] for who, found in frames.items()}
        told["answers"] = [reader.plain(frame) for frame in _flat(said)]
        heard.append((name, told))
    return heard


def _flat(said: Any) -> list[Frame]:
    if isinstance(said, Frame):
        return [said]
    if isinstance(said, list | tuple):
        return [frame for entry in said for frame in _flat(entry)]
    return []


class Reader:
    """Puts names for what differs from play to play: ids, times, uids, passwords."""

    def __init__(self, cast: Cast) -> None:
        self._names = {cast.ann.uid: "ANN", cast.bob.uid: "BOB", cast.carol.uid: "CAROL"}
        self._ids: dict[str, str] = {}
        self._posted: dict[str, str] = {}

    def plain(self, frame: Frame) -> Any:
        header = {key: self._value(value) for key, value in frame.header.items() if key != "headsum"}
        number = frame.header.get("msgid", frame.header.get("id", ""))
        if frame.op == "notify":
            header.pop("id")  # a box does not know that of a note of its own devices
            header["postid"] = self._id(frame["postid"])
        elif frame.op == "ack":
            header.pop("id")
            if "msgid" in header:
                header["msgid"] = self._id(number)
        elif "id" in header:
            header["id"] = self._id(number)
        if "posted" in header:
            first = self._posted.setdefault(number, frame["posted"])
            header["posted"] = "as always" if first == frame["posted"] else "another time"
        if "nodeid" in header:
            header["nodeid"] = "a password"
        return {**header, "data": frame.data}

    def _id(self, number: str) -> str:
        return self._ids.setdefault(number, f"id {len(self._ids) + 1}")

    def _value(self, value: Any) -> Any:
        if isinstance(value, str):
            return re.sub("[%+1-9B-Z]{32}", lambda found: self._names.get(found[0], found[0]), value)
        if isinstance(value, list):
            return [self._value(entry) for entry in value]
        if isinstance(value, dict):
            return {key: self._value(entry) for key, entry in value.items()}
        return value
