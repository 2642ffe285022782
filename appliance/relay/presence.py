"""Presence over a relay (TMTP revision 1, section 4, OhiEdit): who is online at a membership's site, for its
devices; and whom they announce themselves to, which the site forgets with each of our links.

Bounds: ``ONLINE_MAX`` uids online, ``LISTED_MAX`` in the list; a site that says more is not heard.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import count

from appliance import wire
from appliance.site import OFFLINE, ONLINE

ONLINE_MAX = 10_000
LISTED_MAX = 10_000
UID_CHARS_MAX = 64
AT_ONCE = 500
"""Uids in one request: the message that tells of it must fit a header."""

EXPECTED_MAX = 64
REQUEST = "pocket-ohi-"
GONE_AFTER_S = 3.0
"""A device that changes its network is away for a moment."""


class Presence:
    """``notice`` sends a frame to those of the membership's devices that are connected."""

    def __init__(self, notice: Callable[[bytes], None]) -> None:
        self._notice = notice
        self._online: dict[str, None] = {}
        self._listed: dict[str, None] = {}
        self._expected: list[frozenset[str]] = []
        self._numbers = count(1)
        self._away_since: float | None = None

    # the site

    def began(self, online: Iterable[str]) -> None:
        """We have logged in: these are online."""
        for uid in online:
            self._set(uid, ONLINE)

    def ended(self) -> None:
        """The link is gone, and with it what we know."""
        for uid in list(self._online):
            self._set(uid, OFFLINE)
        self._expected.clear()

    def heard(self, ohi: wire.Ohi) -> None:
        """The site says that somebody has come or gone."""
        self._set(ohi.from_, ohi.status)

    def _set(self, uid: str, status: int) -> None:
        if len(uid) > UID_CHARS_MAX:
            return
        if status == ONLINE and len(self._online) < ONLINE_MAX:
            self._online[uid] = None
        elif status == OFFLINE:
            self._online.pop(uid, None)
        else:
            return
        self._notice(wire.encode_ohi(uid, status))

    def online(self) -> list[str]:
        """For a device that logs in."""
        return list(self._online)

    # the devices

    def done(self, request: wire.Request) -> None:
        """The site has carried out a request of a device."""
        if not isinstance(request, wire.OhiEdit):
            return
        for uid in request.to:
            if request.type == "drop":
                self._listed.pop(uid, None)
            elif len(self._listed) < LISTED_MAX:
                self._listed[uid] = None

    def again(self) -> list[wire.OhiEdit]:
        """After a login, what is to be said for devices that were here before it."""
        return self._requests("init")

    def look(self, now: float, anybody: bool) -> list[wire.OhiEdit]:
        """``anybody``: whether one of the devices has a link to any box. What is to be said about it: with
        the last link of the sender the list goes.
        """
        if anybody or not self._listed:
            self._away_since = None
            return []
        if self._away_since is None:
            self._away_since = now
        if now - self._away_since < GONE_AFTER_S:
            return []
        requests = self._requests("drop")
        for request in requests:
            self._expected.append(frozenset(request.to))
        del self._expected[:-EXPECTED_MAX]
        self._listed.clear()
        return requests

    def _requests(self, kind: str) -> list[wire.OhiEdit]:
        uids = list(self._listed)
        return [
            wire.OhiEdit(f"{REQUEST}{next(self._numbers)}", uids[at : at + AT_ONCE], kind)
            for at in range(0, len(uids), AT_ONCE)
        ]

    def is_ours(self, message: wire.Message) -> bool:
        """Whether an `ohiedit` message tells of a request that no device made."""
        if message.fields.get("type") != "drop":
            return False
        told = frozenset(str(entry.get("id")) for entry in message.fields.get("for", ()))
        if told not in self._expected:
            return False
        self._expected.remove(told)
        return True
