"""A household whose box, or boxes, keep memberships at other sites."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tests.kit import Box, Client, HungUp, Quit, Refused, Silence, fresh
from tests.kit.box import COMMAND
from tests.kit.line import Line
from tests.kit.place import Place
from tests.kit.ports import free_port

READY_S = 60.0
CONFIG = """
[panel]
show = "none"

[limits]
pings_per_member_per_day = 1000000

[relay]
retry_s = 0.2
takeover_s = 2
"""
SITE_CONFIG = """
[panel]
show = "none"

[limits]
pings_per_member_per_day = 1000000
"""


def until(what: Callable[[], Any], wanted: str, within_s: float = 30.0) -> Any:
    """Wait until it is true; what it is then."""
    deadline = time.monotonic() + within_s
    while True:
        with contextlib.suppress(OSError, ValueError, Refused):
            if found := what():
                return found
        assert time.monotonic() < deadline, f"not within {within_s} s: {wanted}"
        time.sleep(0.02)


@contextlib.contextmanager
def remote(name: str = "The club", config: str = SITE_CONFIG) -> Iterator[Box]:
    """A site of our own make, at an address that stays when it is killed."""
    with Box(name=name, config=config, listen=f"127.0.0.1:{free_port()}") as box:
        yield box


def words(place: Any) -> str:
    """The address of a site as it is typed."""
    host, port = place.address
    return f"={host}:{port}"


def pocket(box: Box, *said: str, fails: bool = False) -> Any:
    """A command on this box, as its owner types it; what it says with --json, or (`fails`) why not."""
    done = subprocess.run(
        [*COMMAND, *said, "--data", str(box.data), "--json"],
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )
    if fails:
        assert done.returncode == 1, (said, done.stdout, done.stderr)
        return done.stderr
    assert done.returncode == 0, (said, done.stdout, done.stderr, box.words())
    return json.loads(done.stdout)


class House:
    """`count` boxes in sync, and Ann, a member."""

    def __init__(self, count: int = 1, config: str = CONFIG) -> None:
        self.boxes: list[Box] = []
        self._stack = ExitStack()
        try:
            for _ in range(count):
                box = Box(name="Home", config=config, listen=f"127.0.0.1:{free_port()}")
                self.boxes.append(self._stack.enter_context(box))
            for box in self.boxes[1:]:
                invited = self.boxes[0].control("peer.invite")
                box.control("peer.join", code=invited["code"], addresses=invited["addresses"])
                box.fingerprint = self.boxes[0].fingerprint
            self.in_sync()
        except BaseException:
            self.close()
            raise

    @property
    def box(self) -> Box:
        return self.boxes[0]

    def in_sync(self) -> None:
        """Wait until all boxes have everything."""
        if len(self.boxes) > 1:
            until(
                lambda: all(box.control("peer.list")["copies"] == len(self.boxes) for box in self.boxes),
                "all boxes are in sync",
                READY_S,
            )

    def member(self, name: str = "Ann Smith") -> str:
        """A new member of the household; the uid."""
        return str(self.box.control("member.add", alias=name)["uid"])

    def add(
        self, member: str, site: Place, name: str, alias: str, address: str = "", *, wait: bool = True
    ) -> Membership:
        """Let `member` become one of that site's, known there by `alias`, here as `name`; it is linked then,
        if the test is to `wait`.
        """
        at = address or words(site)
        seen = self.box.control("membership.look", member=member, address=at)
        made = self.box.control(
            "membership.add",
            member=member,
            address=at,
            fingerprint=seen["fingerprint"],
            name=name,
            alias=alias,
        )
        assert not made["trouble"], made
        membership = Membership(self, member, name, alias, site)
        if wait:
            membership.is_online()
        return membership

    def add_many(self, site: Place, aliases: Sequence[str]) -> list[Membership]:
        """A membership each for new members, who are known there by these; they may not be linked yet."""

        def add(alias: str) -> Membership:
            return self.add(self.member(fresh("member")), site, alias, alias, wait=False)

        with ThreadPoolExecutor(8) as pool:
            return list(pool.map(add, aliases))

    def also(self, box: Box) -> Box:
        """One more, which is the first from now on."""
        self.boxes.insert(0, self._stack.enter_context(box))
        return box

    def close(self) -> None:
        self._stack.close()


@dataclass
class Membership:
    """One of `member`'s, `name` here, at `site`."""

    house: House
    member: str
    name: str
    alias: str
    site: Place

    @property
    def words(self) -> str:
        """What the box is told that it is about this one."""
        return f"{self.member}/{self.name}"

    @cached_property
    def uid(self) -> str:
        """The member's uid at the site."""
        return str(self.show()["uid"])

    def device(self, label: str, *typed: str, box: int = 0, **how: Any) -> Client:
        """A new device of it, not logged in; made by the command, if that is to have options."""
        where = self.house.boxes[box]
        if typed:
            made = pocket(where, "device", "add", self.member, label, "--membership", self.name, *typed)
        else:
            made = where.control("device.add", member=self.member, label=label, membership=self.name, **how)
        return self._client(where, made["uid"], made["node"])

    def devices(self, *labels: str) -> list[Client]:
        """New devices, logged in, with nothing pending."""
        made = [self.device(label) for label in labels]
        for client in made:
            client.login()
        return made

    def show(self, box: int = 0) -> dict[str, Any]:
        """What the box says of it."""
        shown: dict[str, Any] = self.house.boxes[box].control("membership.show", membership=self.words)
        return shown

    def is_online(self, box: int = 0, within_s: float = 30.0) -> None:
        """Wait until the box has a link to the site."""
        until(lambda: self.show(box)["state"] == "online", "a link to the site", within_s)

    def drop(self) -> None:
        """The box keeps it no more."""
        self.house.box.control("membership.drop", membership=self.words)

    def at(self, client: Client, box: int) -> Client:
        """The same device, at another box."""
        return self._client(self.house.boxes[box], client.uid, client.node)

    def _client(self, box: Box, uid: str, node: str) -> Client:
        client = Client(Kept(box, self.site), uid=uid, node=node, alias=self.alias)
        client.order = "sender"
        return client


@dataclass
class Kept:
    """A membership at `site` as `box` keeps it: what a device of it talks to."""

    box: Box
    site: Place

    @property
    def name(self) -> str:
        return self.box.name

    @property
    def address(self) -> tuple[str, int]:
        return self.box.address

    @property
    def fingerprint(self) -> str:
        return self.box.fingerprint

    @property
    def lines(self) -> set[Line]:
        return self.box.lines

    @property
    def prompter_uid(self) -> str:
        return self.site.prompter_uid

    def prompter(self) -> Client:
        return self.site.prompter()


AWAY = (OSError, HungUp, Quit, Silence)


def come_back(client: Client, within_s: float = 30.0) -> None:
    """Log in, as soon as that can be done."""
    deadline = time.monotonic() + within_s
    while True:
        try:
            client.login()
            return
        except AWAY:
            assert time.monotonic() < deadline, f"{client} could not log in within {within_s} s"
            time.sleep(0.05)


def post_surely(client: Client, octets: Sequence[bytes], *to: Any) -> list[str]:
    """Posts one after the other, each sent again, octet for octet, until it is acknowledged; their ids."""
    numbers = []
    for data in octets:
        request = b""
        while True:
            try:
                ack = client.send_again(request) if request else client.post(data, list(to))
                break
            except AWAY:
                request = client.last_request
                come_back(client)
        numbers.append(str(ack["msgid"]))
    return numbers


def data_of(frames: Sequence[Any]) -> list[bytes]:
    """The deliveries among them, each id once."""
    seen = {frame["id"]: frame.data for frame in frames if frame.op == "delivery"}
    return list(seen.values())
