"""Machines of a trial, and how it gets into them: with a key that is preset."""

from __future__ import annotations

import subprocess
from pathlib import Path

from image.boot import Machine
from image.build import Build
from tests.kit import Client

from .machine import PROMPT, Emulated
from .shell import Shell


def machine_of(build: Build, name: str) -> Machine:
    """A machine with a fresh disk, and a key for it."""
    machine = Machine(build, build.place / "trial" / name)
    machine.flash()
    key = key_of(machine)
    key.unlink(missing_ok=True)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    return machine


def key_of(machine: Machine) -> Path:
    return machine.folder / "key"


def preset_key(box: Emulated) -> str:
    """For pocket.toml: lets us in."""
    return f'[ssh]\nkey = "{key_of(box.machine).with_suffix(".pub").read_text().strip()}"\n'


def enter(box: Emulated) -> Shell:
    """Root's shell in there."""
    return box.enter(key_of(box.machine))


def converse(box: Emulated) -> tuple[Client, Client]:
    """Two members register over TLS; what one posts, the other gets."""
    box.console.say("pair open", rf"(?s)pairing is open.*{PROMPT}")
    ann = Client.register(box, alias="ann and her laptop")
    bob = Client.register(box, alias="bob and his phone")
    ann.post(b"are you there?", bob)
    bob.find("delivery", from_=ann)
    return ann, bob
