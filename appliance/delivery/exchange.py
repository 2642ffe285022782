"""Who is connected: hands what was committed to the couriers of those who are there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from appliance.delivery.courier import Courier
from appliance.site import Message


class Connection(Protocol):
    """A logged-in link, as the exchange sees it."""

    courier: Courier
    member: int

    def notice(self, frame: bytes) -> None:
        """Send now or never."""

    def cut(self) -> None:
        """End the link."""

    def wake(self) -> None:
        """There may be something to send."""

    def suspect(self) -> None:
        """Somebody says that this link is dead: look at once."""


class Exchange:
    """At most one connection per node."""

    def __init__(self) -> None:
        self.online: dict[int, Connection] = {}
        self.delivered = 0
        self.resent = 0

    def publish(self, messages: Sequence[Message]) -> None:
        """Messages are on stable storage, in the queues of ``message.nodes``."""
        online = self.online
        for message in messages:
            for node in message.nodes:
                connection = online.get(node)
                if connection is not None:
                    connection.courier.push(message.msgid, message.rank)

    def enter(self, node: int, connection: Connection) -> bool:
        """Take the node's place; False if another connection has it."""
        if node in self.online:
            return False
        self.online[node] = connection
        return True

    def leave(self, node: int, connection: Connection) -> None:
        if self.online.get(node) is connection:
            del self.online[node]
            self.delivered += connection.courier.delivered
            self.resent += connection.courier.resent

    def notice(self, nodes: Iterable[int], frame: bytes) -> None:
        """Send a frame to those of the nodes that are connected, if their links take it at once."""
        for node in nodes:
            connection = self.online.get(node)
            if connection is not None:
                connection.notice(frame)

    def cut(self, nodes: Iterable[int]) -> None:
        """Their nodes are no more."""
        for node in nodes:
            connection = self.online.get(node)
            if connection is not None:
                connection.cut()

    def totals(self) -> tuple[int, int]:
        """Messages acknowledged by nodes and messages sent again, since the start."""
        couriers = [connection.courier for connection in self.online.values()]
        return (
            self.delivered + sum(courier.delivered for courier in couriers),
            self.resent + sum(courier.resent for courier in couriers),
        )
