"""Messages that are about to be sent, so that those who are online need not be served from the card."""

from __future__ import annotations

from appliance.site import Message

OVERHEAD_OCTETS = 400


class Cache:
    """The newest messages, in at most ``max_octets`` of memory (data and a fixed overhead each)."""

    def __init__(self, max_octets: int) -> None:
        self._max = max_octets
        self._octets = 0
        self._messages: dict[int, Message] = {}

    def put(self, message: Message) -> None:
        if message.msgid in self._messages:
            self.drop(message.msgid)
        self._messages[message.msgid] = message
        self._octets += _weight(message)
        while self._octets > self._max:
            self.drop(next(iter(self._messages)))

    def get(self, msgid: int) -> Message | None:
        return self._messages.get(msgid)

    def drop(self, msgid: int) -> None:
        message = self._messages.pop(msgid, None)
        if message is not None:
            self._octets -= _weight(message)


def _weight(message: Message) -> int:
    return OVERHEAD_OCTETS + len(message.head) + (len(message.data) if message.data else 0)
