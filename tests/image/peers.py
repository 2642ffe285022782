"""Two machines in one home network: they find each other, become one site, and one of them dies."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from image.build import Build
from tests.kit import Client, free_port, mentions

from . import look
from .lan import Lan
from .machine import PROMPT, Emulated, kept
from .progress import step, tell, until
from .shell import Shell
from .way_in import enter, machine_of, preset_key

JOIN_S = 240.0
SYNC_S = 120.0
TAKEOVER_S = 60.0
SITE, BLANK = "Home", "Pocket"
SITE_NAME = "home.local"


def peers_part(build: Build) -> None:
    with (
        Lan(build, build.place / "trial" / "lan", 2) as lan,
        machine(build, lan, 0, SITE) as kitchen,
        machine(build, lan, 1, BLANK) as attic,
        kept(kitchen),
        kept(attic),
    ):
        for box, name in ((kitchen, "kitchen"), (attic, "attic")):
            site = f'name = "{SITE}"\n' if box is kitchen else ""
            box.preset(site + preset_key(box) + f'[peer]\nname = "{name}"\nstrict = true\n')
        with step("two boxes start, one of them blank"):
            kitchen.plug_in()
            attic.plug_in()
            for box in (kitchen, attic):
                box.wait_until_serving()
                lan.forward(box.ports, address(box))
        shells = enter(kitchen), enter(attic)
        find_each_other(kitchen, attic, *shells)
        ann, bob = become_one(kitchen, attic, *shells)
        die_and_come_back(lan, (kitchen, attic), ann, bob)
    for box in (kitchen, attic):
        box.machine.disk.unlink()


def machine(build: Build, lan: Lan, number: int, name: str) -> Emulated:
    made = machine_of(build, f"peer{number}")
    return Emulated(made, {"tmtp": free_port(), "ssh": free_port()}, lan.plug(number), name=name)


def address(box: Emulated) -> str:
    """Where it is in the home network."""
    assert re.fullmatch(r"10\.[\d.]+", box.told_address), f"no address from the router: {box.told_address!r}"
    return box.told_address


def find_each_other(kitchen: Emulated, attic: Emulated, in_kitchen: Shell, in_attic: Shell) -> None:
    with step("mDNS: each box resolves the other's name"):
        resolves(in_attic, SITE_NAME, address(kitchen))
        resolves(in_kitchen, "pocket.local", address(attic))
    with step("mDNS: each box finds both"):
        for shell in (in_kitchen, in_attic):
            found = {(box["name"], box["host"]) for box in pocket(shell, "find")}
            assert {name for name, _ in found} == {SITE, BLANK}, found


def resolves(shell: Shell, name: str, wanted: str, patience_s: float = TAKEOVER_S) -> None:
    """Wait until that name leads to that address and to no other one."""
    until(
        lambda: shell.program("resolve.py", name).split() == [wanted], f"{name} is not {wanted}", patience_s
    )


def pocket(shell: Shell, *words: str) -> Any:
    return json.loads(shell.run(" ".join(["runuser -u pocket -- pocket", *words, "--json"])))


def in_sync(*shells: Shell) -> None:
    for shell in shells:
        until(lambda shell=shell: pocket(shell, "peer", "list")["copies"] == 2, "not in sync", SYNC_S)  # type: ignore[misc]


def become_one(
    kitchen: Emulated, attic: Emulated, in_kitchen: Shell, in_attic: Shell
) -> tuple[Client, Client]:
    with step("the blank box joins by a code, on the serial consoles"):
        told = kitchen.console.say("peer invite", rf"(?s)code +[\d-]+.*{PROMPT}")
        code = re.search(r"code +([\d-]+)", told)
        assert code is not None
        attic.console.say(f"peer join {code[1]}", rf"(?s)(paired with|serves) {SITE}|Error: .*\n", JOIN_S)
        in_sync(in_kitchen, in_attic)
        attic.name, attic.fingerprint = kitchen.name, kitchen.fingerprint
    with step("a conversation over both, each message on two disks"):
        kitchen.console.say("pair open", rf"(?s)pairing is open.*{PROMPT}")
        ann = Client.register(kitchen, alias="ann and her laptop")
        bob = Client.register(kitchen, alias="bob and his phone")
        bob.close()
        there = at(attic, bob)
        there.login()
        ann.post(b"over there", there)
        there.find("delivery", from_=ann)
        there.close()
        ann.post(b"the last one before", there)
        ann.close()
    return ann, bob


def at(box: Emulated, client: Client) -> Client:
    """The same node, at another box."""
    return Client(box, uid=client.uid, node=client.node, alias=client.alias)


def holds_the_name(boxes: Sequence[Emulated], asking: Shell) -> Emulated:
    """Which of them the site's name leads to."""
    found: list[str] = []

    def one() -> bool:
        found[:] = asking.program("resolve.py", SITE_NAME).split()
        return found in ([address(box)] for box in boxes)

    until(one, f"{SITE_NAME} leads to no box, or to both", TAKEOVER_S)
    return next(box for box in boxes if [address(box)] == found)


def die_and_come_back(lan: Lan, boxes: Sequence[Emulated], ann: Client, bob: Client) -> None:
    with step("the site's name leads to one of the boxes"):
        dead = holds_the_name(boxes, enter(boxes[0]))
        (survivor,) = (box for box in boxes if box is not dead)
        shell = enter(survivor)
    with step("that box is killed: the other serves, and has everything"):
        dead.pull_the_plug()
        bob = at(survivor, bob)
        bob.login()
        assert bob.find("delivery", from_=ann).data == b"the last one before"
    with step("the other takes over the site's name"):
        resolves(shell, SITE_NAME, address(survivor))
    with step("with peer.strict it refuses what it cannot have on two disks"):
        bob.post(b"on one disk only", bob, error=mentions())
    with step("the killed box comes back, and is in sync"):
        dead.start()
        lan.forward(dead.ports, address(dead))
        back = enter(dead)
        in_sync(back, shell)
        ann = at(dead, ann)
        ann.login()
        bob.post(b"welcome back", ann)
        assert ann.find("delivery", from_=bob).data == b"welcome back"
        ann.close()
        bob.close()
        for each in (back, shell):
            look.settled(each)
            assert pocket(each, "journal", "verify")["problems"] == []
    tell(shell.run("runuser -u pocket -- pocket peer list"))
