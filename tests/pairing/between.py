"""The two sides of a pairing against each other, and somebody in between."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, settings

from appliance.pairing import (
    Asked,
    BadFrame,
    Code,
    Confirmed,
    Given,
    Guest,
    Host,
    Introduced,
    Proved,
    Shared,
    Taken,
)

CODE = Code.make(2, lambda below: 12345)
WRONG = Code.make(2, lambda below: 12346)

slow = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])

Between = Callable[[int, bytes], bytes]


class Exchange:
    """Runs both sides, and notes what each was told; ``between`` sees each frame with its number, from 1,
    and may change it. ``frames`` are all that arrived. Who is given a ``place`` says first who it is.
    """

    def __init__(
        self,
        guest: Guest,
        host: Host,
        gift: Any,
        place: int | None = None,
        between: Between = lambda number, frame: frame,
    ) -> None:
        self.guest, self.host, self.gift, self.place = guest, host, gift, place
        self.between = between
        self.frames: list[bytes] = []
        self.right: bool | None = None
        self.card: Any = None
        self.given = self.taken = self.confirmed = False
        self.got: Any = None
        self.slot: int | None = None

    def run(self) -> Exchange:
        answer = self.to_host(self.guest.begin())
        while answer and not self.confirmed:
            request = self.to_guest(answer)
            if not request:
                break
            answer = self.to_host(request)
        return self

    def passed(self, octets: bytes) -> bytes:
        """As many frames as there are, changed by whoever is in between."""
        passed = b""
        while octets:
            size = 4 + int(octets[:4], 16)
            size += json.loads(octets[4:size]).get("datalen", 0)
            self.frames.append(self.between(len(self.frames) + 1, octets[:size]))
            passed += self.frames[-1]
            octets = octets[size:]
        return passed

    def to_host(self, octets: bytes) -> bytes:
        self.host.receive_data(self.passed(octets))
        try:
            event = self.host.next_event()
            if isinstance(event, Asked):
                return self.host.answer(CODE)
            if isinstance(event, Proved):
                self.right = event.right
                if not event.right:
                    return self.host.refuse("wrong code")
                if self.place is not None:
                    event = self.host.next_event()
        except BadFrame as error:
            return self.host.refuse(str(error))
        if isinstance(event, Introduced):
            self.card = event.card
        if isinstance(event, Introduced | Proved):
            self.given = True
            return self.host.give(self.gift)
        if isinstance(event, Taken):
            self.taken = True
            return self.host.confirm(self.place)
        return b""

    def to_guest(self, octets: bytes) -> bytes:
        self.guest.receive_data(self.passed(octets))
        event = self.guest.next_event()
        if isinstance(event, Shared):
            return self.guest.prove()
        if isinstance(event, Given):
            self.got = event.gift
            return self.guest.take()
        if isinstance(event, Confirmed):
            self.confirmed, self.slot = True, event.slot
        return b""


def head(frame: bytes) -> Any:
    """The header of the first frame."""
    return json.loads(frame[4 : 4 + int(frame[:4], 16)])


def other_octet(number: int, at: int, change: int) -> Between:
    """Somebody who changes one octet of this frame, if it is so long."""

    def between(n: int, frame: bytes) -> bytes:
        if n != number or at >= len(frame):
            return frame
        return frame[:at] + bytes([frame[at] ^ change]) + frame[at + 1 :]

    return between
