"""make image-test BOARD=...: the image in QEMU does what a person expects of it. Minutes, hence no part of
make test."""

from __future__ import annotations

import json
import re
import shutil
import socket
import sys

from image.boot import forwards
from image.build import Build, build_of
from image.errors import ImageError
from tests.kit import Box, Client, free_port, pocket

from . import cable, look, panel, radio
from .machine import PROMPT, Emulated, kept
from .panel import Panel
from .peers import peers_part
from .progress import step, tell
from .raspberry import card_part
from .rhythm import DARK, DOUBLE_PULSE, FOUR_HZ, ONE_HZ, SLOW, SOLID, TEN_HZ
from .shell import Shell
from .way_in import converse, enter, machine_of, preset_key

TURN_S = 60.0


def first_start(box: Emulated) -> tuple[Client, Client]:
    """As it comes out of the factory: two members register over TLS; what one posts, the other gets."""
    with step("first start, to the serial console's word that it serves"):
        box.start()
    with step("a conversation over TLS"):
        ann, bob = converse(box)
        bob.close()
        ann.post(b"while you were away", bob)
        ann.close()
    with step("without a preset key nobody answers at the port of SSH"), socket.socket() as probe:
        probe.settimeout(20)
        probe.connect(("127.0.0.1", box.ports["ssh"]))
        assert probe.recv(100) == b""
    with step("the power button: an orderly stop"):
        box.press_power()
    return ann, bob


def second_start(box: Emulated, other: Box, ann: Client, bob: Client) -> None:
    """With a preset, lights, a button, a cable, and another box."""
    box.preset(
        preset_key(box)
        + radio.PRESET_TOML
        + f'[console]\nports = ["{board_port(box)}", {cable.PRESET_PORTS}]\n'
        f'[peer]\naddresses = ["{box.typed_address}"]\n' + panel.PRESET
    )
    with step("start after the power button"):
        box.start()
    with step("what waited over the restart comes"):
        bob.login()
        assert bob.find("delivery", from_=ann).data == b"while you were away"
        bob.close()
    with step("SSH with the preset key"):
        shell = enter(box)
    with step("everything has started, nothing failed"):
        look.settled(shell)
    with step("read-only, grown, no password, nothing listens that should not"):
        look.system(shell)
        assert "preset" in shell.run("nmcli -g NAME connection")
    with step("the hardware watchdog is armed"):
        look.watchdog(shell)
    with step(f"systemd-analyze security: {look.EXPOSURE} or better"):
        look.hardened(shell)
    tell(look.timeline(shell))
    with step("lights and a button appear"):
        seen = Panel(shell)
    with seen:
        touch(box, shell, seen)
        with_another(box, other, seen, ann)
    plug_cable(box, shell)
    with step("the plug is pulled"):
        box.pull_the_plug()


def board_port(box: Emulated) -> str:
    return "/dev/ttyS1" if box.machine.build.machine.arch == "amd64" else "/dev/ttyAMA1"


def touch(box: Emulated, shell: Shell, seen: Panel) -> None:
    """Lights and button, for states that are brought about."""
    with step("light: dark while stopped, double pulse: serving, one copy"):
        shell.run("systemctl stop pocket")
        seen.sees(DARK)
        seen.sees(DOUBLE_PULSE, when=lambda: shell.run("systemctl start pocket"))
        box.console.wait_until_serving(TURN_S)
    with step("light: 10 Hz after `identify`"):
        seen.sees(TEN_HZ, when=lambda: box.console.say("identify", rf"(?s)flicker.*{PROMPT}"))
    with step("button: a short press opens pairing; light: fades"):
        seen.sees(SLOW, when=lambda: seen.hold(0.3))
        seen.sees_a_fade()
        Client.register(box, alias="cleo and her tablet").close()
        box.console.say("pair close", rf"(?s)closed.*{PROMPT}")
    with step("light: 1 Hz, a warning: the disk is nearly full"):
        fill = "fallocate -l $(($(stat -fc '%a * %S' /data) - (64 << 20))) /data/full && sync"
        seen.sees(ONE_HZ, when=lambda: shell.run(fill))
        box.console.say("status", rf"(?s)nearly full.*{PROMPT}")
        seen.sees(DOUBLE_PULSE, when=lambda: shell.run("rm /data/full"))


def with_another(box: Emulated, other: Box, seen: Panel, ann: Client) -> None:
    """Another box, on this computer, joins; it goes, and comes back."""
    with step("another box joins; light: solid, two copies"):
        told = box.console.say("peer invite", rf"(?s)code +([\d-]+).*{PROMPT}")
        found = re.search(r"code +([\d-]+)", told)
        assert found is not None
        pocket(other, "peer", "join", box.typed_address, found[1])
        other.fingerprint = box.fingerprint
        seen.sees(SOLID)
        ann.login()
        ann.post(b"for both boxes", ann)
        ann.close()
    with step("light: double pulse while the other box is gone, solid when it is back"):
        seen.sees(DOUBLE_PULSE, when=other.kill9)
        seen.sees(SOLID, when=other.launch)


def plug_cable(box: Emulated, shell: Shell) -> None:
    with step("serial console on a USB adapter, also when it was pulled out and put in again"):
        adapter = cable.Adapter(box, shell)
        for _ in range(2):
            person = adapter.plug_in()
            person.wait_until_serving(TURN_S)
            person.say("member list", rf"(?s)ann and her laptop.*{PROMPT}")
            adapter.pull_out(person)
    with step("the serial console on the board goes on"):
        box.console.say("member list", rf"(?s)ann and her laptop.*{PROMPT}")


def third_start(box: Emulated, other: Box, ann: Client) -> None:
    """After a power cut; then the box is put out of its site, reset, and switched off with its button."""
    with step("start after the power cut"):
        box.start()
    with step("what was acknowledged is there"):
        ann.login()
        assert ann.find("delivery", from_=ann).data == b"for both boxes"
        ann.close()
        shell = enter(box)
        look.settled(shell)
        told = json.loads(shell.run("runuser -u pocket -- pocket journal verify --json"))
        assert told["problems"] == [], told
    with step("lights and a button appear again"):
        seen = Panel(shell)
        shell.run("systemctl restart pocket")
        box.console.wait_until_serving(TURN_S)
    with seen:
        with step("light: solid, the other box is in sync"):
            seen.sees(SOLID)
        with step("light: 4 Hz, an error: the other box has put this one out of the site"):
            own = next(each["box"] for each in other.control("peer.list")["boxes"] if not each["own"])
            seen.sees(FOUR_HZ, when=lambda: pocket(other, "peer", "revoke", own, "--yes"))
        with step("button: 10 s and a short press reset it; light: double pulse, a new box"):
            seen.hold(11)
            seen.sees(DOUBLE_PULSE, when=lambda: seen.hold(0.3))
            box.console.say("member list", rf"(?s)no members.*{PROMPT}")
        with step("button: 5 s switch the machine off; light: dark"):
            seen.hold(6)
            box.wait_until_off()
            assert seen.level == 0


def box_part(build: Build) -> None:
    """One machine, started three times, and a box on this computer as its peer."""
    machine = machine_of(build, build.machine.name)
    ports = {"tmtp": free_port(), "ssh": free_port()}
    network = "user,id=net,restrict=on" + forwards(ports)
    with (
        Emulated(machine, ports, network, cable.has(machine.folder)) as box,
        Box(config="[discovery]\nenabled = false\n") as other,
        kept(box),
    ):
        ann, bob = first_start(box)
        second_start(box, other, ann, bob)
        third_start(box, other, ann)
    machine.disk.unlink()


def wifi_part(build: Build) -> None:
    """One machine, with a preset network, whose radios are simulated."""
    machine = machine_of(build, "wifi")
    ports = {"tmtp": free_port(), "ssh": free_port()}
    with Emulated(machine, ports, "user,id=net,restrict=on" + forwards(ports)) as box, kept(box):
        box.preset(preset_key(box) + radio.PRESET_TOML + panel.PRESET)
        with step("start with a preset network, lights and a button"):
            box.start()
        shell = enter(box)
        with Panel(shell) as seen:
            shell.run("systemctl restart pocket")
            box.console.wait_until_serving(TURN_S)
            radio.part(shell, box.console, seen)
    machine.disk.unlink()


PARTS = {"box": box_part, "wifi": wifi_part, "peers": peers_part, "card": card_part}


def main() -> int:
    if shutil.which("ssh") is None:
        raise ImageError("ssh is missing: sudo apt-get install openssh-client")
    name, *parts = sys.argv[1:]
    if unknown := sorted(set(parts) - set(PARTS)):
        raise ImageError(f"no such part: {', '.join(unknown)}; there are: {', '.join(PARTS)}")
    build = build_of(name)
    build.run()
    for part in parts or ["card" if build.machine.qemu and build.machine.qemu.disk == "sd" else "box"]:
        with step(f"{name}: {part}"):
            PARTS[part](build)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ImageError as problem:
        sys.exit(str(problem))
