"""Who may come in now: the pairing window, and the codes that are out.

Two ways in, and both end by themselves. While the *window* is open a stranger may register (in mode
``pairing``; by button or word). A *code* lets one device of one member in, or one more box, for ``CODE_S``,
whether the window is open or not: whoever may ask for a code may open the window as well, and need not let
strangers in for it.

A code is good for one guess. At most ``CODES`` that were not used are made in ``CODE_S``, until somebody
opens the window anew: so nobody in the network gets more than three guesses for anything that a person does.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from appliance.pairing import CODES, Code

Mode = Literal["open", "pairing", "closed"]
Kind = Literal["node", "box"]
CODE_S = 300.0
BEGINNINGS_MAX = 10
"""How often an exchange may be begun with one code: each costs some 10 to 100 ms of computing."""


class NotNow(Exception):
    """Nobody is let in, or not with this code. The text is for whoever asked."""


@dataclass(slots=True)
class Offer:
    """A code that is out, and what for: a device of a member (kind ``node``), or another box of the site
    (``box``, with no member). ``void``: a guess was wrong. ``given``: it was used, and who used it has yet to
    say that it has what it was given; ``lost``: it never did.
    """

    code: Code
    member: int
    label: str
    until: float
    state: Literal["open", "void", "given", "lost", "paired"] = "open"
    beginnings: int = 0
    kind: Kind = "node"


class Pairing:
    """The one owner of that truth. ``told`` is called whenever it changes otherwise than by time, with the
    seconds for which somebody may come in.
    """

    def __init__(
        self,
        mode: Mode,
        told: Callable[[float], None] = lambda seconds: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.mode = mode
        self._told = told
        self._clock = clock
        self._until = -math.inf
        self._offers: dict[int, Offer] = {}

    # the window

    def open_for(self, seconds: float) -> None:
        """Open the window, for so long from now. Raises ``NotNow`` if the configuration says never."""
        self._check_mode()
        self._until = self._clock() + seconds
        self._offers = {n: offer for n, offer in self._offers.items() if offer.state != "void"}
        self._tell()

    def close_window(self) -> None:
        """Whom it was opened for is in: nobody else is to come in. Codes that are out stay good."""
        self._until = -math.inf
        self._tell()

    def close(self) -> None:
        """Close the window, and take all codes back."""
        self._until = -math.inf
        for offer in self._offers.values():
            offer.until = -math.inf  # somebody may have begun with it
        self._offers.clear()
        self._tell()

    @property
    def open_s(self) -> float:
        """Seconds that the window stays open; 0 if it is closed."""
        return max(0.0, self._until - self._clock())

    def problem(self) -> str | None:
        """Why a Register is refused; None if it is not."""
        if self.mode == "open" or (self.mode == "pairing" and self.open_s > 0):
            return None
        if self.mode == "closed":
            return "registration is closed on this site: ask its owner"
        return (
            "pairing is not open: press the button of the box, or ask its owner to open pairing,"
            " then try again within two minutes"
        )

    # the codes

    def offer(self, member: int, label: str) -> Offer:
        """Make a code for a new device of a member. Raises ``NotNow``."""
        self._check_mode()
        return self._offer(member, label, "node")

    def offer_box(self) -> Offer:
        """Make a code for another box; also where registration is closed. Raises ``NotNow``."""
        return self._offer(0, "", "box")

    def _offer(self, member: int, label: str, kind: Kind) -> Offer:
        number = next((n for n in range(1, CODES + 1) if not self._is_taken(n)), None)
        if number is None:
            wait_s = min(offer.until for offer in self._offers.values()) - self._clock()
            raise NotNow(
                f"{CODES} codes are out, or were tried and are void: wait {math.ceil(wait_s)} s,"
                " or open pairing anew, with the button or   pocket pair open"
            )
        until = self._clock() + CODE_S
        offer = self._offers[number] = Offer(Code.make(number), member, label, until, kind=kind)
        self._tell()
        return offer

    @property
    def offers(self) -> list[Offer]:
        """The latest code of each number."""
        return [self._offers[number] for number in sorted(self._offers)]

    def left_s(self, offer: Offer) -> float:
        """Seconds that a code is still good for; 0 if it is not."""
        return max(0.0, offer.until - self._clock()) if offer.state == "open" else 0.0

    def begin(self, number: int, kind: str) -> Offer:
        """A guest wants to use the code with this number, for a gift of this kind. Raises ``NotNow``."""
        offer = self._offers.get(number)
        if offer is None or (offer.state == "open" and not self.left_s(offer)):
            raise NotNow("no such code is out: ask for one at the box, with   pocket pair code")
        self._check_open(offer)
        if offer.kind != kind:
            raise NotNow(f"this code is not for {kind!r}")
        if offer.beginnings >= BEGINNINGS_MAX:
            self._void(offer)
            raise NotNow(f"this code was tried {BEGINNINGS_MAX} times and is void now: ask for another one")
        offer.beginnings += 1
        return offer

    def judge(self, offer: Offer, right: bool) -> None:
        """A guest made its guess: the code is used, or void. Raises ``NotNow`` if it gets nothing."""
        self._check_open(offer)
        if not right:
            self._void(offer)
            raise NotNow("wrong code: it is void now, ask for another one")
        offer.state = "given"
        self._tell()

    def ended(self, offer: Offer, paired: bool) -> None:
        """The exchange is over. ``paired``: the device has what it was given, and that is in force."""
        if offer.state == "given":
            offer.state = "paired" if paired else "lost"

    def _check_open(self, offer: Offer) -> None:
        if not self.left_s(offer):
            raise NotNow("this code is void or was used: ask for another one at the box")

    def _check_mode(self) -> None:
        if self.mode == "closed":
            raise NotNow(
                'registration is closed by the configuration: set registration = "pairing" and start again'
            )

    def _void(self, offer: Offer) -> None:
        offer.state = "void"
        self._tell()

    def _is_taken(self, number: int) -> bool:
        """Also by a code that is void: that is what bounds the guesses."""
        offer = self._offers.get(number)
        return offer is not None and offer.state in ("open", "void") and self._clock() < offer.until

    def _tell(self) -> None:
        self._told(max([self.open_s, *map(self.left_s, self._offers.values())]))
