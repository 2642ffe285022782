"""Three real boxes of one household, each on a machine of its own in one network, and the people in it."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import time
from collections.abc import Callable
from typing import Any

from tests.discovery.lab import Lab, Machine
from tests.kit import Box, Refused
from tests.kit.box import COMMAND

from .crowd import Crowd, read_queue
from .ledger import Account, Ledger

PORT = 4433
SITE = "Home"
JOIN_S = 60.0
CONFIG = """
[delivery]
window_messages = 4096
window_octets = "256 MiB"

[limits]
aliases_per_member = 1000
pings_per_member_per_day = 1000000

[panel]
show = "none"

[peer]
name = "{name}"
"""
"""The windows are large so that a whole queue is seen without acknowledging anything."""


class HomeBox(Box):
    """On `machine`; the control socket is reached from anywhere. `disk_mib`: on a small disk of its own."""

    def __init__(self, machine: Machine, name: str, disk_mib: int = 0) -> None:
        self.machine, self.label = machine, name
        self._disk_mib, self._mounted = disk_mib, False
        super().__init__(
            config=CONFIG.format(name=name),
            name=SITE,
            listen=f"0.0.0.0:{PORT}",
            within=["ip", "netns", "exec", machine.namespace],
        )
        self.id = self.status["box"]

    def start(self) -> None:
        if self._disk_mib and not self._mounted:
            self.data.mkdir()
            size = f"size={self._disk_mib}m"
            subprocess.run(["mount", "-t", "tmpfs", "-o", size, "pocket-test", self.data], check=True)
            self._mounted = True
        super().start()
        self.address = (self.machine.address, PORT)

    def close(self) -> None:
        try:
            if self.running:
                self.terminate()
        finally:
            if self._mounted:
                subprocess.run(["umount", "--lazy", self.data], check=True)
            super().close()

    @property
    def status(self) -> dict[str, Any]:
        result: dict[str, Any] = self.control("status")
        return result

    def pocket(self, *words: str, timeout_s: float = 90.0) -> Any:
        """A command on this box, as its owner types it; what it says with --json."""
        done = subprocess.run(
            [*COMMAND, *words, "--data", str(self.data), "--json"],
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_s,
        )
        assert done.returncode == 0, (words, done.stdout, done.stderr, self.words())
        return json.loads(done.stdout)

    def join(self, host: HomeBox) -> None:
        """Become one of the host's site, by the words that people say."""
        code = host.pocket("peer", "invite")["code"]
        self.pocket("peer", "join", f"={host.address[0]}:{PORT}", code)
        self.fingerprint = host.fingerprint
        self.id = self.status["box"]

    def state(self) -> dict[str, Any]:
        """Its digest, and how far it is in each journal; empty while it does not answer."""
        try:
            result: dict[str, Any] = self.control("state.digest")
        except (OSError, ValueError, Refused):
            return {}
        return result


def until(what: Callable[[], Any], within_s: float, wanted: str) -> float:
    """Wait until it is true; how many seconds that took."""
    began = time.monotonic()
    while True:
        try:
            if what():
                return time.monotonic() - began
        except (OSError, ValueError, Refused):
            pass
        assert time.monotonic() - began < within_s, f"not within {within_s} s: {wanted}"
        time.sleep(0.02)


class Home:
    """`boxes` by name, all in sync when it is made."""

    def __init__(
        self,
        lab: Lab,
        names: str = "abc",
        disk_mib: dict[str, int] | None = None,
        lay: Callable[[Lab], None] = lambda lab: None,
    ) -> None:
        self.lab = lab
        self.boxes: dict[str, HomeBox] = {}
        self.crowds: list[Crowd] = []
        self.ledger = Ledger()
        self.shelved: list[tuple[Crowd, Account]] = []
        self.spoiled = False
        """A test failed: the next one is to have another household."""
        lay(lab)
        try:
            for name in names:
                self.add(name, (disk_mib or {}).get(name, 0))
            first, *others = self.boxes.values()
            for number, box in enumerate(others, 2):
                box.join(first)
                self.in_sync(*list(self.boxes.values())[:number])
        except BaseException:
            self.close()
            raise

    def add(self, name: str, disk_mib: int = 0) -> HomeBox:
        """A blank box."""
        self.boxes[name] = HomeBox(self.lab.machine(name), name, disk_mib)
        return self.boxes[name]

    def in_sync(self, *boxes: HomeBox, within_s: float = JOIN_S) -> float:
        """Wait until each of these, or all, says that the others have everything; how long that took."""
        these = boxes or tuple(self.boxes.values())
        return until(
            lambda: all(box.control("peer.list")["copies"] == len(these) for box in these),
            within_s,
            "all boxes are in sync",
        )

    def agree(self, within_s: float) -> float:
        """Wait until all boxes have the same state; how long that took."""
        states: dict[str, dict[str, Any]] = {}

        def same() -> bool:
            states.update({name: box.state() for name, box in self.boxes.items()})
            digests = {state.get("digest") for state in states.values()}
            return len(digests) == 1 and None not in digests

        try:
            return until(same, within_s, "the same digest")
        except AssertionError as error:
            raise AssertionError(f"{error}: {states}") from None

    # people

    def people(self, machine: str = "x", known: int = 3, local: int = 2, seed: int = 1) -> Crowd:
        """Some on another machine: `known` of them know all addresses, `local` the site's name only."""
        place = self.lab.machine(machine)
        boxes = {name: box.machine.address for name, box in self.boxes.items()}
        crowd = Crowd(place.namespace, place.address, boxes, PORT, self.ledger, seed)
        self.crowds.append(crowd)
        names = [f"{machine} member {n} {time.monotonic_ns() % 10**9}" for n in range(known + local)]
        crowd.move_in(names[:known], names[known:])
        for other in self.crowds:
            other.everybody.update(crowd.everybody)
            crowd.everybody.update(other.everybody)
        return crowd

    def shelve(self, crowd: Crowd, number: int) -> None:
        """That member gets a tablet, which stays off; see `shelves_agree`."""
        account = crowd.shelve(number)
        self.shelved.append((crowd, account))

    def write(self, seconds: float) -> None:
        """Everybody writes for so long, and goes on after it."""
        for crowd in self.crowds:
            crowd.writing = True
        time.sleep(seconds)

    def settle(self, within_s: float = 30.0) -> None:
        """They write no more; wait until all has its answer, and what was acknowledged has come."""
        for crowd in self.crowds:
            crowd.writing = False
        try:
            until(
                lambda: all(crowd.quiet() for crowd in self.crowds) and not self.ledger.debts(),
                within_s,
                "an answer to everything, and everything acknowledged delivered",
            )
        except AssertionError as error:
            nodes = [node for crowd in self.crowds for node in crowd.nodes]
            waiting = [f"{node}: {len(node.waiting)} without an answer" for node in nodes if node.waiting]
            away = [str(node) for node in nodes if not node.ready]
            raise AssertionError(
                "\n".join([str(error), *waiting, *away, *self.ledger.faults, *self.ledger.debts()[:20]])
            ) from None

    def judge(self, order: bool = True, within_s: float = 30.0) -> float:
        """Everything that is promised holds on every box; how long it took until all agreed."""
        self.settle(within_s)
        agreed = self.agree(within_s)
        self.ledger.judge(order)
        self.shelves_agree()
        for box in self.boxes.values():
            verified = box.control("journal.verify")
            assert verified["ok"], (box.label, verified["problems"])
        return agreed

    def shelves_agree(self) -> None:
        """What waits for those who are off is on every box, all that was acknowledged, under the same ids."""
        for crowd, account in self.shelved:
            node = next(n for n in crowd.nodes if n.member == account.member)
            password = crowd.passwords[account.name]
            owed = self.ledger.owed(account)
            said, first = self.ledger.said, next(iter(self.boxes))
            everywhere: dict[str, dict[str, int]] = {}
            for box in self.boxes.values():
                found = crowd.do(read_queue, box.address, node.uid, password, 0.3)
                everywhere[box.label] = found
                wrong = {
                    t: (i, found.get(t))
                    for t, i in owed.items()
                    if found.get(t) != i and not (t in found and self.ledger.may_be_two(said[t]))
                }
                more = {t: i for t, i in found.items() if t not in owed}
                assert not wrong and not more, (
                    f"box {box.label}, {account.name}: {wrong}, and too much: {more}"
                )
                assert found == everywhere[first], f"{account.name}: {box.label} has another queue"

    # ends

    def let_go(self) -> None:
        """The people move out, and are forgotten by the test."""
        for crowd in self.crowds:
            crowd.close()
        self.crowds, self.shelved, self.ledger = [], [], Ledger()

    def close(self) -> None:
        try:
            for crowd in self.crowds:
                crowd.close()
        finally:
            for box in self.boxes.values():
                box.close()


def spread(seconds: list[float]) -> str:
    """p50 and the longest."""
    return f"p50 {statistics.median(seconds):.2f} s, max {max(seconds):.2f} s of {len(seconds)}"


SOAK = int(os.environ.get("POCKET_SOAK", "1"))
"""How many times as long the tests are that can be longer."""
