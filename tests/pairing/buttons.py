"""Two boxes that are paired by their buttons, and somebody who sees each frame on its way."""

from __future__ import annotations

import json
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from appliance.pairing import (
    BoxCard,
    BoxEntry,
    BoxGift,
    ButtonGuest,
    ButtonHost,
    Committed,
    Compared,
    Confirmed,
    Given,
    Introduced,
    Opened,
    Shared,
    Taken,
)

CERT = "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n"
PRINT = "SHA256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
OTHER_PRINT = "SHA256:" + "0af7" * 16
KEY = "-----BEGIN PRIVATE KEY-----\nsecret\n-----END PRIVATE KEY-----\n"
CARD = BoxCard(b"\x07" * 32, "kitchen", ["=192.168.1.6:4433"])
BOXES = [BoxEntry("3F2A+%BC", b"\x01" * 32, 0, "living room", ["=192.168.1.5:4433"])]
GIFT = BoxGift("Home & Söhne", PRINT, CERT, KEY, BOXES, "3F2A+%BC")
SLOT = 2


def private(*name) -> X25519PrivateKey:
    """The same one for the same name, so that no test depends on luck."""
    return X25519PrivateKey.from_private_bytes(sha256(repr(name).encode()).digest())


class Pair:
    """Runs both sides, and both people say yes; ``between`` sees each frame with its number and may change
    it.
    """

    def __init__(self, between=lambda number, frame: frame, guest=None, host=None):
        self.guest = guest or ButtonGuest(PRINT, private("guest"))
        self.host = host or ButtonHost(PRINT, private("host"))
        self.between = between
        self.frames = []
        self.numbers = []
        self.card = self.got = self.slot = None

    def run(self):
        to_host = self.guest.begin()
        while to_host:
            self.host.receive_data(self.passed(to_host))
            event = self.host.next_event()
            if event is None:
                break
            self.guest.receive_data(self.passed(self.host_says(event)))
            event = self.guest.next_event()
            to_host = self.guest_says(event) if event is not None else b""
        return self

    def host_says(self, event):
        if isinstance(event, Committed):
            return self.host.answer()
        if isinstance(event, Opened):
            self.numbers.append(event.number)
            return self.host.compare()
        if isinstance(event, Introduced):
            self.card = event.card
            return self.host.give(GIFT)
        assert isinstance(event, Taken), event
        return self.host.confirm(SLOT)

    def guest_says(self, event):
        if isinstance(event, Shared):
            return self.guest.open()
        if isinstance(event, Compared):
            self.numbers.append(event.number)
            return self.guest.agree(CARD)
        if isinstance(event, Given):
            self.got = event.gift
            return self.guest.take()
        assert isinstance(event, Confirmed), event
        self.slot = event.slot
        return b""

    def passed(self, octets):
        passed = b""
        while octets:
            size = 4 + int(octets[:4], 16)
            size += json.loads(octets[4:size]).get("datalen", 0)
            self.frames.append(self.between(len(self.frames) + 1, octets[:size]))
            passed += self.frames[-1]
            octets = octets[size:]
        return passed
