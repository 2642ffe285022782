"""Two boxes that are to be of one site, and a hand on the button of each: what its presses mean.

A short press opens pairing. For as long a blank box looks for one that has a site, and one that has a site
answers. When both show the same number, on their lights and in words, and somebody has looked at it for one
whole round, a short press means no, and two of them within ``TWICE_S`` mean yes.

- **Once.** A press allows one try, whoever used it and however it ended: a stranger in the network has one
  chance in a million, and makes the boxes say that something went wrong.
- **Yes is said otherwise than "open".** Whoever opens pairing for a phone, and sees strange lights because
  somebody in the network has answered as a box would, presses once more: that must not let him in.
- **Two at a time are none.** A second guest ends the try of the first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import trio

from appliance.health import ROUND_S, Comparison, Health
from appliance.log import get_logger
from appliance.pairing import BoxCard, BoxGift
from appliance.session.pairing import NotNow

log = get_logger(__name__)

TOPIC = "pairing boxes"
COMPARE_S = 90.0
"""For both to say yes."""
TWICE_S = 2.0
TOLD_S = 600.0
"""How long health says why it came to nothing, unless somebody presses the button again."""

AGAIN = ": to try again, press the button of both boxes once more"
NO = f"somebody pressed the button here once, which says no{AGAIN}"
TOO_LATE = f"nobody said yes on both boxes within {COMPARE_S:.0f} s{AGAIN}"
TWO_GUESTS = (
    "two blank boxes want to join at once: press the button of one of them only; if you did, somebody in your"
    " network plays another: say   pocket peer invite   on the box that has the site"
)
USED = f"each press of the button allows one try, and this one was used{AGAIN}"
NOT_PRESSED = "the button of the box that has the site has to be pressed, too"
BLANK = "it is blank, too: let a member register there first, or say   pocket peer invite   on one of them"
CLOSED = "pairing was closed meanwhile"
TOO_EARLY = f"watch both lights for a whole round first ({ROUND_S:.0f} s), then press twice"


class Try:
    """One exchange with another box. ``theirs``: what it sent when somebody said yes there: its card, or what
    the site gives to it. ``reason``: why it has come to nothing.
    """

    def __init__(self, show: Callable[[Comparison | None], None]) -> None:
        self.theirs: BoxCard | BoxGift | None = None
        self.reason: str | None = None
        self._show = show
        self._shown: Comparison | None = None
        self._until = math.inf
        self._pressed_at: float | None = None
        self._yes_at: float | None = None
        self._news = trio.Event()

    @property
    def comparing(self) -> bool:
        return self._shown is not None and self.reason is None

    def compare(self, number: int) -> None:
        """Show this number from now on, for ``COMPARE_S``."""
        self._shown = Comparison(number, trio.current_time())
        self._until = self._shown.began + COMPARE_S
        self._show(self._shown)

    def press(self) -> None:
        """A short press. Raises ``NotNow`` if it would be a yes too early."""
        assert self._shown is not None
        now = trio.current_time()
        if self._yes_at is not None and now - self._yes_at <= TWICE_S:
            return
        first, self._pressed_at = self._pressed_at, now
        self._ring()
        if first is None or now - first > TWICE_S:
            return
        self._pressed_at = None
        if first - self._shown.began < ROUND_S:
            raise NotNow(TOO_EARLY)
        self._yes_at = now
        self._show(Comparison(self._shown.number, self._shown.began, yes=True))

    def sent(self, theirs: BoxCard | BoxGift) -> None:
        """The other box sent what it sends after a yes."""
        self.theirs = theirs
        self._ring()

    def end(self, reason: str) -> None:
        """It comes to nothing. The first reason counts."""
        self.reason = self.reason or reason
        self._ring()

    async def said(self, *, here: bool = False, there: bool = False) -> None:
        """Until it was said here, or there, or both; or it has come to nothing, and there is a ``reason``."""
        while self.reason is None and not (
            (self._yes_at is not None or not here) and (self.theirs is not None or not there)
        ):
            self._news = trio.Event()
            with trio.move_on_at(min(self._until, self._no_at())):
                await self._news.wait()
            now = trio.current_time()
            if now >= self._no_at():
                self.end(NO)
            elif now >= self._until:
                self.end(TOO_LATE)

    def _no_at(self) -> float:
        return math.inf if self._pressed_at is None else self._pressed_at + TWICE_S

    def _ring(self) -> None:
        self._news.set()


class Buttons:
    """The one owner of that truth. ``blank``: whether this box may still become one of another's site."""

    def __init__(self, health: Health, blank: Callable[[], bool] = lambda: False) -> None:
        self.blank = blank
        self._health = health
        self._until = -math.inf
        self._used = False
        self._try: Try | None = None
        self._told_until = math.inf
        self._news = trio.Event()

    # who presses

    def press(self) -> bool:
        """A short press: whether it was an answer about the number that is shown. If not, it opens pairing.
        Raises ``NotNow`` if it would be a yes too early.
        """
        if self._try is None or not self._try.comparing:
            return False
        self._try.press()
        return True

    def open_for(self, seconds: float) -> None:
        """Pairing was opened by a press: boxes may be paired, in one try, for so long."""
        self._until = trio.current_time() + seconds
        self._used = self._try is not None
        self._tell(None)

    def close(self) -> None:
        """No box is let in from now on, nor does this one join."""
        self._until = -math.inf
        if self._try is not None:
            self._try.end(CLOSED)

    # who tries

    @property
    def open_s(self) -> float:
        """Seconds for which a try may still begin."""
        return 0.0 if self._used else max(0.0, self._until - trio.current_time())

    @property
    def ran_out(self) -> bool:
        """Whether the time is over, and nobody has closed pairing or tried."""
        return not self._used and -math.inf < self._until <= trio.current_time()

    async def opened(self) -> None:
        """Until a try may begin. Keeps what is told of the last one true meanwhile."""
        while not self.open_s:
            self._news = trio.Event()
            with trio.move_on_at(self._told_until):
                await self._news.wait()
            if trio.current_time() >= self._told_until:
                self._tell(None)

    @contextmanager
    def host(self) -> Iterator[Try]:
        """Answer a blank box. Raises ``NotNow`` if that may not be; one that is raised inside is told to the
        person, like any other end.
        """
        if self.blank():
            raise NotNow(BLANK)
        if self._try is not None:
            self._try.end(TWO_GUESTS)
            raise NotNow(TWO_GUESTS)
        if self._used and trio.current_time() < self._until:
            raise NotNow(USED)
        if not self.open_s:
            raise NotNow(NOT_PRESSED)
        with self._trying() as one:
            yield one

    @contextmanager
    def guest(self) -> Iterator[Try]:
        """Join a box that has a site; see ``host``."""
        if self._try is not None or not self.open_s:
            raise NotNow(USED)
        with self._trying() as one:
            yield one

    def failed(self, reason: str) -> None:
        """Let people know why no box was paired."""
        log.warning("no box paired", reason=reason)
        self._tell(f"no box was paired: {reason}")

    @contextmanager
    def _trying(self) -> Iterator[Try]:
        self._used = True
        self._try = Try(self._show)
        try:
            yield self._try
        except NotNow as error:
            self.failed(str(error))
            raise
        finally:
            self._try = None
            self._show(None)

    def _show(self, comparison: Comparison | None) -> None:
        self._health.comparison = comparison

    def _tell(self, reason: str | None) -> None:
        self._told_until = math.inf if reason is None else trio.current_time() + TOLD_S
        self._health.warn(TOPIC, reason)
        self._news.set()
