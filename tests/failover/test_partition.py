"""Promise: boxes that cannot see each other go on serving, and agree when they meet again."""

from __future__ import annotations

import os
import time

import pytest

from appliance import wire
from tests.discovery.lab import ip

from .home import SOAK, Home, spread, until

APART_S = float(os.environ.get("POCKET_APART_S", "12")) * SOAK
AGREE_S = 5.0

pytestmark = pytest.mark.slow


def test_both_sides_of_a_broken_network_go_on_and_agree_within_seconds_of_its_repair(home: Home) -> None:
    here = home.people("x", known=3, local=1, seed=1)
    there = home.people("y", known=2, local=1, seed=2)
    home.shelve(here, 0)
    home.shelve(there, 0)
    home.write(1.0)
    switch = home.lab.switch
    ip("-n", switch, "link", "add", "br1", "type", "bridge", "mcast_snooping", "0")
    ip("-n", switch, "link", "set", "br1", "up")
    island = [home.boxes["b"].machine, home.lab.machine("y")]
    nodes = here.nodes + there.nodes
    try:
        cut_at = time.monotonic()
        for machine in island:
            home.lab.cable(machine, "master", "br1")
        home.ledger.island, home.ledger.parted_at = frozenset("b"), time.monotonic()
        for node in nodes:
            near = node.box == "b" if node in there.nodes else node.box != "b"
            node.mark(cut_at, anew=not near)
        until(lambda: all(node.took_s is not None for node in nodes), 20, "acks go on, on both sides")
        name = f"the same name {time.monotonic_ns()}"
        group = f"the same group {time.monotonic_ns()}"
        for crowd in (here, there):
            first, second = crowd.nodes[:2]
            answers = [
                crowd.do(first.ask, lambda key: wire.UserEdit(key, None, name)),
                crowd.do(
                    first.ask,
                    lambda key, to=second.member, by=first.member: wire.GroupInvite(
                        key, group, by, to, 0, 0, None
                    ),
                ),
                crowd.do(second.ask, lambda key: wire.GroupEdit(key, "join", group, None, None)),
            ]
            assert [answer.error for answer in answers] == [None] * 3, answers
        digests = {box.state()["digest"] for box in home.boxes.values()}
        assert len(digests) > 1, "they were never apart"
        time.sleep(max(0.0, cut_at + APART_S - time.monotonic()))
        for crowd in home.crowds:
            crowd.writing = False
        until(lambda: all(crowd.quiet() for crowd in home.crowds), 10, "an answer to everything")
    finally:
        for machine in island:
            home.lab.cable(machine, "master", "br0")
        ip("-n", switch, "link", "del", "br1")
    healed_at = time.monotonic()
    home.agree(4 * AGREE_S)
    agreed_s = time.monotonic() - healed_at
    home.judge(order=False)
    took = [node.took_s for node in nodes if node.took_s is not None]
    print(
        f"\n{APART_S:.0f} s apart; next ack {spread(took)}; the same digest {agreed_s:.2f} s after the repair"
        f"\n{home.ledger.summary()}"
    )
    told = {node.account.name: b" ".join(node.subjects).decode() for node in nodes}
    for node in there.nodes[:2]:
        assert f"The group {group} is no more" in told[node.account.name], told
    assert f"The name {name} is not yours any more" in told[there.nodes[0].account.name], told
    for node in here.nodes:
        assert "is no more" not in told[node.account.name], told
        assert "not yours" not in told[node.account.name], told
    for box in home.boxes.values():
        owner = next(m for m in box.control("member.list") if name in m["aliases"])
        assert owner["uid"] == here.nodes[0].uid
        members = next(g for g in box.control("group.list") if g["gid"] == group)["members"]
        assert {member["uid"] for member in members} == {node.uid for node in here.nodes[:2]}
    assert agreed_s < AGREE_S
