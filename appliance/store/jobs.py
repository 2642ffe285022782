"""Requests that wait for their commit, and how the store is set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from appliance.site import Decision, Scene


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """Seconds, octets, counts."""

    acks_delay_s: float = 0.05
    spill_every_s: float = 30.0
    spill_weight: int = 20_000
    cache_octets: int = 16 << 20
    queue_messages: int = 100_000
    queue_octets: int = 8 << 30
    reserve_percent: float = 5.0
    reserve_octets: int = 512 << 20
    second_copy_wait_s: float = 0.5
    strict: bool = False


class Job:
    """A request that waits for its commit.

    ``decide`` is called by the owner with the scene, once or more; ``done`` after the commit, or with an
    error (it has not happened), or never if the store breaks in between; it must not block or raise. ``key``
    (with ``node`` and ``link``) is what a repetition is recognised by; ``lookup`` says that the node may
    have sent this on an earlier link. ``takes_room``: refused while the
    disk is low. ``octets`` is the memory that the job holds; ``files``: it has more in files. ``repeated``:
    it was carried out before.
    """

    __slots__ = (
        "decide",
        "decision",
        "done",
        "files",
        "key",
        "link",
        "lookup",
        "node",
        "octets",
        "repeated",
        "takes_room",
    )

    def __init__(
        self,
        decide: Callable[[Scene], Decision],
        done: Callable[[Decision], None],
        *,
        node: int = 0,
        link: int = 0,
        key: bytes | None = None,
        lookup: bool = False,
        takes_room: bool = False,
        octets: int = 0,
        files: bool = False,
    ) -> None:
        self.decide = decide
        self.done = done
        self.node = node
        self.link = link
        self.key = key
        self.lookup = lookup
        self.takes_room = takes_room
        self.octets = octets
        self.files = files
        self.repeated = False
        self.decision = Decision()


@dataclass(slots=True)
class Counts:
    """Since the start."""

    commits: int = 0
    requests: int = 0
    messages: int = 0
    refused: int = 0
    repeated: int = 0
    failed_commits: int = 0
