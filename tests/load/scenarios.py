"""The scenarios: who posts how much to whom, and what is measured."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from appliance import wire
from appliance.control import call

from .proc import peak_mb, reset_peak, rss_mb, usage
from .reactor import Reactor
from .tally import Tally, percentiles, significant
from .user import User

ENTERING_MAX = 8
QUIET_S = 0.5
STRAY_S = 0.2
"""How long we wait for what should not come."""


@dataclass(frozen=True, slots=True)
class Preset:
    """`senders` of the `users` keep `window` posts of `size` octets in flight, to the next `recipients`
    users: `count` posts each, or for `seconds`."""

    about: str
    users: int
    senders: int
    window: int
    size: int
    recipients: int
    count: int = 0
    seconds: float = 0.0


KIB, MIB = 1 << 10, 1 << 20

PRESETS = {
    "seq": Preset("1 to 1, one at a time, 1 KiB", 2, 1, 1, KIB, 1, count=2000),
    "many": Preset("50 users, 8 in flight each, 1 KiB", 50, 50, 8, KIB, 1, seconds=10),
    "group": Preset("1 to a group of 100, 4 in flight, 1 KiB", 100, 1, 4, KIB, 99, count=300),
    "attach": Preset("1 to 1, one at a time, 8 MiB", 2, 1, 1, 8 * MIB, 1, count=25),
    "attach20": Preset("20 to 20, one at a time each, 8 MiB", 40, 20, 1, 8 * MIB, 1, count=2),
    "drain": Preset("10,000 queued, 1 KiB, then login", 2, 1, 8, KIB, 1, count=10_000),
    "idle": Preset("1,000 links that do nothing", 1000, 0, 1, KIB, 0, seconds=3),
}


class Scenario:
    """One run of the preset `name` against the server at `address`.

    `pid`: also measure this process. `data`: also ask the box with this data folder for its syncs.
    """

    def __init__(
        self, name: str, preset: Preset, address: tuple[str, int], pid: int = 0, data: Path | None = None
    ) -> None:
        self.name = name
        self.preset = preset
        self.pid = pid
        self.data = data
        self.reactor = Reactor()
        self.tally = Tally()
        self.users = [User(self.reactor, address, self.tally, index) for index in range(preset.users)]
        self.senders = self.users[: preset.senders]

    def run(self, patience_s: float = 20.0) -> dict[str, object]:
        """What was measured. `ok` says whether everything is as it must be; a run ends at the latest when
        nothing has arrived for `patience_s`."""
        result: dict[str, object] = {"scenario": self.name}
        base_mb = rss_mb(self.pid) if self.pid else 0.0
        try:
            self._enter(self.users)
            result |= self._idle(base_mb) if self.name == "idle" else self._load(patience_s)
            self._leave(self.users)
        finally:
            self.reactor.close()
        return result | self.tally.verdict(self.users)

    def _idle(self, base_mb: float) -> dict[str, object]:
        self._quiet()
        self.reactor.run(self.preset.seconds)
        if not self.pid:
            return {"users": len(self.users)}
        now_mb = rss_mb(self.pid)
        return {
            "users": len(self.users),
            "rss_before_mb": significant(base_mb),
            "rss_sessions_mb": significant(now_mb),
            "kb_per_session": significant((now_mb - base_mb) * 1024 / len(self.users)),
        }

    def _load(self, patience_s: float) -> dict[str, object]:
        preset, tally, reactor = self.preset, self.tally, self.reactor
        self._address_posts()
        self._quiet()
        if self.name == "drain":
            self._leave(self.users[preset.senders :])
        if self.pid:
            reset_peak(self.pid)
        syncs = self._syncs()
        before = usage(self.pid) if self.pid else None
        begin = time.monotonic_ns()
        end = time.monotonic() + preset.seconds
        for sender in self.senders:
            sender.begin(preset.size, preset.window, self._more(sender, end))
        while not all(sender.done for sender in self.senders):
            reactor.turn(0.005)
        began = begin
        if self.name == "drain":
            began = time.monotonic_ns()
            self._enter(self.users[preset.senders :])
        tally.last_delivery_ns = max(tally.last_delivery_ns, began)
        while tally.delivered < tally.expected and (
            time.monotonic_ns() - tally.last_delivery_ns < patience_s * 1e9
        ):
            reactor.turn(0.005)
        after = usage(self.pid) if self.pid else None
        syncs = self._syncs() - syncs
        reactor.run(STRAY_S)
        span = max(tally.last_delivery_ns - began, 1) / 1e9
        acked = max(tally.acked, 1)
        result: dict[str, object] = {
            "acked": tally.acked,
            "delivered": tally.delivered,
            "acked_per_s": significant(tally.acked / (max(tally.last_ack_ns - begin, 1) / 1e9)),
            "delivered_per_s": significant(tally.delivered / span),
            "delivered_mb_per_s": significant(tally.octets / 1e6 / span),
            **percentiles((ns for user in self.users for ns in user.ack_ns), "ack"),
        }
        if self.name != "drain":
            result |= percentiles((ns for user in self.users for ns in user.delivery_ns), "delivery")
        if before is not None and after is not None:
            used = after - before
            result |= {
                "rss_peak_mb": significant(peak_mb(self.pid)),
                "cpu_ms_per_post": significant(used.cpu_ms / acked),
                "write_kb_per_post": significant(used.written / 1e3 / acked),
            }
        if self.data is not None:
            result["syncs_per_post"] = significant(syncs / acked)
        return result

    def _more(self, sender: User, end: float) -> Callable[[], bool]:
        count = self.preset.count
        if count:
            return lambda: len(sender.msgids) < count
        return lambda: time.monotonic() < end

    def _address_posts(self) -> None:
        if self.name == "group":
            gid = self._make_group()
            self.users[0].recipients = self.users[1:]
            self.users[0].targets = [wire.Target(gid, 3)]
            return
        count = len(self.users)
        for sender in self.senders:
            step = self.preset.senders if self.name == "attach20" else 1
            sender.recipients = [
                self.users[(sender.index + step * k) % count] for k in range(1, self.preset.recipients + 1)
            ]
            sender.targets = [wire.Target(user.uid, 1) for user in sender.recipients]

    def _make_group(self) -> str:
        """All users in one new group, whose first member invites the rest."""
        gid = f"group-{self.tally.run:x}"
        first, *others = self.users
        for n, user in enumerate(others):
            first.ask(wire.GroupInvite(f"invite {n}", gid, first.alias, user.alias, 2, 0, None), data=b"hi")
        self._wait(lambda: not first.asking)
        for user in others:
            user.ask(wire.GroupEdit("join", "join", gid, None, None))
        self._wait(lambda: not any(user.asking for user in others))
        return gid

    def _enter(self, users: list[User]) -> None:
        for number, user in enumerate(users):
            user.enter()
            self._wait(partial(self._few_entering, users[: number + 1]))
        self._wait(lambda: all(user.ready for user in users))

    def _few_entering(self, users: list[User]) -> bool:
        return sum(not user.ready for user in users[-2 * ENTERING_MAX :]) < ENTERING_MAX

    def _leave(self, users: list[User]) -> None:
        for user in users:
            user.leave()
        self._wait(lambda: not any(user.up for user in users))

    def _quiet(self) -> None:
        """Until nothing has come for a while."""
        seen = -1
        while (count := sum(user.messages for user in self.users)) != seen:
            seen = count
            self.reactor.run(QUIET_S)

    def _wait(self, true: Callable[[], bool]) -> None:
        if not self.reactor.until(lambda: true() or self.tally.broken > 0, 60):
            self.tally.note("the server has not answered for 60 s")
        if self.tally.broken:
            raise RuntimeError(f"the run could not be made: {'; '.join(self.tally.samples)}")

    def _syncs(self) -> int:
        return int(call(self.data, "status", {}, 10.0)["store"]["syncs"]) if self.data is not None else 0


def scaled(preset: Preset, share: float) -> Preset:
    """The same, shorter."""
    return replace(
        preset,
        count=max(1, round(preset.count * share)) if preset.count else 0,
        seconds=preset.seconds * share,
        users=max(50, round(preset.users * share)) if preset.users >= 1000 else preset.users,
    )
