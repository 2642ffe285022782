"""Boxes that find each other after a press of the button: links in memory, people, and a clock that jumps."""

from __future__ import annotations

from contextlib import suppress
from hashlib import sha256
from types import SimpleNamespace
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from appliance.health import ROUND_S, Health
from appliance.pairing import BoxCard, BoxEntry, BoxGift, is_pairing
from appliance.peering import looking as looking_module
from appliance.peering.errors import PeeringError
from appliance.peering.looking import Looking
from appliance.session import Buttons, LinkLost, NotNow
from appliance.session.buttons import COMPARE_S, TOPIC
from appliance.session.comparing import compare
from appliance.session.pairing import Pairing

CERT = "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n"
DER = b"hello"
PRINT = f"SHA256:{sha256(DER).hexdigest()}"
CARD = BoxCard(b"\x07" * 32, "kitchen", ["=192.168.1.6:4433"])
WINDOW_S = 120.0
LOOK_S = 3.0


class End:
    """One end of a link in memory: a guest's stream, and a host's link."""

    certificate = DER
    address = "192.168.1.6"

    def __init__(self, out: Any, come: Any) -> None:
        self._out, self._come = out, come

    def send(self, octets: bytes) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            self._out.send_nowait(octets)

    async def send_all(self, octets: bytes) -> None:
        try:
            await self._out.send(octets)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise LinkLost("closed") from None

    async def receive(self, max_octets: int = 0) -> bytes:
        try:
            return bytes(await self._come.receive())
        except trio.EndOfChannel:
            return b""
        except trio.ClosedResourceError:
            raise LinkLost("closed") from None

    def allow(self, seconds: float) -> None:
        pass

    def close(self) -> None:
        self._out.close()
        self._come.close()


class Box:
    """A box, blank or not, at an address; ``entered`` is the site that it became a box of, ``admitted`` who
    is a box of its own.
    """

    def __init__(self, home: Home, address: str, blank: bool) -> None:
        self.home, self.address = home, address
        self.has = None if blank else "3 members"
        self.health = Health()
        self.health.serving()
        self.buttons = Buttons(self.health, lambda: self.has is None)
        self.pairing = Pairing("pairing", clock=trio.current_time)
        self.entered: BoxGift | None = None
        self.admitted: list[str] = []
        self.looked = 0
        self.certificate = DER
        self.service: Any = SimpleNamespace(
            place=SimpleNamespace(fingerprint=PRINT),
            household=self,
            buttons=self.buttons,
            pairing=self.pairing,
            pairing_limiter=None,
        )

    @property
    def told(self) -> str:
        return self.health._warnings.get(TOPIC, "")

    def press(self) -> None:
        if not self.buttons.press():
            self.buttons.open_for(WINDOW_S)
            self.pairing.open_for(WINDOW_S)

    async def say(self, yes: bool) -> None:
        for _ in range(2 if yes else 1):
            self.press()
            await trio.sleep(0.5)

    # as a household

    def gift(self, card: BoxCard) -> BoxGift:
        boxes = [BoxEntry("3F2A+%BC", b"\x01" * 32, 0, "living room", [])]
        return BoxGift(f"site of {self.address}", PRINT, CERT, "key", boxes, "3F2A+%BC")

    async def admit(self, card: BoxCard) -> int:
        self.admitted.append(card.name)
        return 1

    # as one that joins

    async def look(self) -> list[list[str]]:
        self.looked += 1
        await trio.sleep(LOOK_S)
        return [[box.address] for box in self.home.boxes if box is not self and box.buttons._until > 0]

    async def enter(self, ask: Any) -> None:
        async def keep(gift: BoxGift) -> None:
            await trio.lowlevel.checkpoint()

        accepted = await ask(CARD, keep)
        self.entered, self.has = accepted.gift, "1 other boxes"


class Home:
    def __init__(self, nursery: trio.Nursery) -> None:
        self.nursery = nursery
        self.boxes: list[Box] = []
        self.links: list[End] = []

    def box(self, blank: bool = False) -> Box:
        made = Box(self, f"=192.168.1.{len(self.boxes) + 5}:4433", blank)
        self.boxes.append(made)
        peering: Any = made
        self.nursery.start_soon(Looking(made.buttons, peering, made.look).run)
        return made

    async def comparing(self) -> tuple[Box, Box]:
        """A box with a site and a blank one, which show their numbers after a press on each."""
        site, blank = self.box(), self.box(blank=True)
        site.press()
        blank.press()
        await until_compared(site, blank)
        return site, blank

    async def connect(self, addresses: Any) -> tuple[Any, str]:
        box = next((box for box in self.boxes if box.address == addresses[0]), None)
        if box is None:
            raise PeeringError(f"cannot connect to {addresses[0]}")
        there, back = (trio.open_memory_channel[bytes](100) for _ in range(2))
        guest, host = End(there[0], back[1]), End(back[0], there[1])
        guest.certificate = box.certificate
        self.links.append(host)
        self.nursery.start_soon(self._serve, box, host)
        return guest, box.address

    async def _serve(self, box: Box, link: End) -> None:
        first = b""
        while not is_pairing(first):
            first += await link.receive()
        await compare(box.service, link, first)
        await trio.sleep(1)
        link.close()


@pytest.fixture
def run(monkeypatch):
    """Runs a test in a home of its own. Threads are none: the clock would not wait for them."""

    async def at_once(function, *args, **_):
        await trio.lowlevel.checkpoint()
        return function(*args)

    def runs(test):
        async def main():
            async with trio.open_nursery() as nursery:
                home = Home(nursery)
                monkeypatch.setattr(looking_module, "connect", home.connect)
                await test(home)
                nursery.cancel_scope.cancel()

        monkeypatch.setattr(trio.to_thread, "run_sync", at_once)
        trio.run(main, clock=MockClock(autojump_threshold=0))

    return runs


async def until_compared(*boxes: Box) -> None:
    """Until all of them show a number, and it was shown for a whole round."""
    with trio.fail_after(20):
        while not all(box.health.comparison for box in boxes):  # noqa: ASYNC110
            await trio.sleep(0.05)
    await trio.sleep(ROUND_S + 0.1)


def test_a_blank_box_becomes_one_of_the_site_when_somebody_says_yes_on_both(run):
    async def test(home):
        site, blank = await home.comparing()
        one, other = site.health.comparison, blank.health.comparison
        assert one.number == other.number and abs(one.began - other.began) < 0.1
        await blank.say(yes=True)
        await trio.sleep(5)
        assert blank.entered is None and not site.admitted
        await site.say(yes=True)
        await trio.sleep(1)
        assert blank.entered is not None and blank.entered.site == f"site of {site.address}"
        assert site.admitted == ["kitchen"]
        assert not site.told and not blank.told
        assert site.health.comparison is None and blank.health.comparison is None
        assert not site.pairing.open_s, "it was opened for that box, and for nobody else"

    run(test)


def test_it_does_not_matter_whose_button_is_pressed_first(run):
    async def test(home):
        site, blank = home.box(), home.box(blank=True)
        blank.press()
        await trio.sleep(60)
        assert not blank.health.comparison and not site.told
        site.press()
        await until_compared(site, blank)
        await site.say(yes=True)
        await blank.say(yes=True)
        await trio.sleep(1)
        assert blank.entered and site.admitted

    run(test)


@pytest.mark.parametrize("refuser", ["site", "blank"])
@pytest.mark.parametrize("before", [True, False])
def test_a_no_on_either_side_pairs_nothing_and_both_say_so(run, refuser, before):
    async def test(home):
        site, blank = await home.comparing()
        one, other = (site, blank) if refuser == "site" else (blank, site)
        if not before:
            await other.say(yes=True)
        await one.say(yes=False)
        await trio.sleep(3)
        assert blank.entered is None and not site.admitted
        assert "says no: to try again" in one.told and "says: somebody pressed the button" in other.told
        await trio.sleep(30)
        assert not site.health.comparison and not blank.health.comparison

    run(test)


def test_where_nobody_says_anything_nothing_is_paired(run):
    async def test(home):
        site, blank = await home.comparing()
        await site.say(yes=True)
        await trio.sleep(COMPARE_S)
        assert blank.entered is None and not site.admitted
        assert "nobody said yes on both boxes" in site.told and "nobody said yes on both boxes" in blank.told

    run(test)


def test_a_stranger_who_plays_a_site_as_well_lets_nobody_join_anything(run):
    async def test(home):
        site, stranger, blank = home.box(), home.box(), home.box(blank=True)
        for box in (site, stranger, blank):
            box.press()
        await trio.sleep(30)
        assert not any(box.health.comparison for box in home.boxes)
        assert "2 boxes with a site let a blank one in now" in blank.told
        assert "the blank box says: 2 boxes with a site" in site.told
        await site.say(yes=True)
        await blank.say(yes=True)
        await trio.sleep(1)
        assert blank.entered is None and not site.admitted

    run(test)


def test_a_stranger_who_plays_a_blank_box_as_well_is_not_let_in_nor_is_the_other(run):
    async def test(home):
        site, blank, stranger = home.box(), home.box(blank=True), home.box(blank=True)
        site.press()
        blank.press()
        await until_compared(site, blank)
        stranger.press()
        await trio.sleep(5)
        assert "two blank boxes want to join at once" in site.told
        assert "two blank boxes want to join at once" in blank.told
        await site.say(yes=True)
        await blank.say(yes=True)
        await trio.sleep(1)
        assert blank.entered is None and stranger.entered is None and not site.admitted

    run(test)


def test_somebody_in_between_with_another_certificate_shows_no_number_to_the_guest(run):
    async def test(home):
        site, blank = home.box(), home.box(blank=True)
        site.certificate = b"his"
        site.press()
        blank.press()
        await trio.sleep(10)
        assert "somebody in between" in blank.told and not blank.health.comparison
        assert "the link to the blank box ended" in site.told and not site.health.comparison
        assert blank.entered is None and not site.admitted

    run(test)


def test_a_box_that_gets_a_member_meanwhile_joins_nobody(run):
    async def test(home):
        site, blank = await home.comparing()
        await site.say(yes=True)
        blank.has = "1 members"
        await trio.sleep(1)
        assert "has a site of its own, with 1 members" in blank.told and "1 members" in site.told
        assert blank.entered is None and not site.admitted

    run(test)


def test_a_box_that_is_not_blank_looks_for_nobody_and_one_that_is_no_more_stops(run):
    async def test(home):
        site, blank = home.box(), home.box(blank=True)
        site.press()
        await trio.sleep(WINDOW_S + 1)
        assert site.looked == 0
        blank.press()
        await trio.sleep(30)
        blank.has = "1 members"
        looked = blank.looked
        await trio.sleep(WINDOW_S)
        assert blank.looked <= looked + 1 and not blank.told

    run(test)


def test_a_blank_box_that_nobody_answers_says_what_to_do(run):
    async def test(home):
        blank = home.box(blank=True)
        blank.press()
        await trio.sleep(WINDOW_S + 5)
        assert "press the button of the box that has the site" in blank.told
        looked = blank.looked
        await trio.sleep(60)
        assert blank.looked == looked

    run(test)


def test_two_blank_boxes_are_told_that_one_needs_a_site(run):
    async def test(home):
        boxes = home.box(blank=True), home.box(blank=True)
        for box in boxes:
            box.press()
        await trio.sleep(WINDOW_S + 5)
        assert all("it is blank, too" in box.told for box in boxes)

    run(test)


def test_a_link_that_ends_ends_it_on_both(run):
    async def test(home):
        site, blank = await home.comparing()
        home.links[-1].close()
        await trio.sleep(1)
        assert "went away" in blank.told and "the link to the blank box ended" in site.told
        assert not site.health.comparison and not blank.health.comparison

    run(test)


def test_a_site_that_lets_nobody_in_now_says_so_when_both_said_yes(run):
    async def test(home):
        site, blank = home.box(), home.box(blank=True)

        def gift(card):
            raise NotNow("box attic is away")

        site.gift = gift
        site.press()
        blank.press()
        await until_compared(site, blank)
        await site.say(yes=True)
        await blank.say(yes=True)
        await trio.sleep(1)
        assert "box attic is away" in site.told and "box attic is away" in blank.told
        assert blank.entered is None

    run(test)
