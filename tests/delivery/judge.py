"""Checks each message as it goes out, over all the links that a node has."""

from __future__ import annotations

from typing import Any

import trio

from appliance.delivery import CourierSettings
from appliance.site import Message

from .shelf import NODE, Carrier


class Judge(Carrier):
    """`acked`: what the node has acknowledged, on this link or on one before."""

    def __init__(self, store: Any, settings: CourierSettings, acked: set[int], node: int = NODE) -> None:
        super().__init__(store, settings, node)
        self.acked = acked
        self.late: set[int] = set()
        """Kept back by the store for a while: out of their turn."""
        self.kept: dict[int, tuple[Message, float]] = {}
        """What this link has sent and the node has not acknowledged, with the time."""
        self._highest = [0, 0]

    def note(self, messages: list[Message]) -> None:
        now = trio.current_time()
        for message in messages:
            msgid = message.msgid
            assert msgid not in self.acked, f"{msgid} after its ack"
            if msgid in self.kept:
                assert now >= self.kept[msgid][1] + self.settings.resend_after_s, f"{msgid} twice"
            elif msgid not in self.late:
                assert msgid > self._highest[message.rank], f"{msgid} out of order"
                self._highest[message.rank] = msgid
            self.kept[msgid] = message, now
        window = self.settings.window_octets
        sizes = [message.octets for message, _ in self.kept.values()]
        assert len(sizes) <= self.settings.window_messages, "more messages in flight than the window has"
        assert sum(size for size in sizes if size <= window) <= window, "more octets than the window has"
        assert sum(size > window for size in sizes) <= 1, "two large messages at once"
        super().note(messages)

    def ack(self, *msgids: int) -> None:
        """Of messages that are in the node's queue, or were."""
        for msgid in msgids:
            self.kept.pop(msgid, None)
            self.acked.add(msgid)
            super().ack(msgid)
