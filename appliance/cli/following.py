"""`pocket peer join`: which box invites, and how far the new one has come."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from appliance.cli.common import ask
from appliance.cli.tables import dig, printable
from appliance.control import ControlError, call

LOOK_EVERY_S = 0.5
AWAY_S = 60.0
"""How long the box may not answer: between leaving the old state and being up in the new one."""
FIND_S = 3.0

NONE = (
    "no box in this network has an invitation open: say   pocket peer invite   on the other box, or type its"
    " address too; guest Wi-Fi often keeps devices apart"
)


def inviting_addresses(data: Path) -> list[str]:
    """Where the one box is that invites others now. Ends the command if there is none, or more than one."""
    from appliance.discovery import DiscoveryError, find_now

    own = dig(ask(data, "peer.list"), "announced")
    try:
        found = [box for box in find_now(FIND_S) if box.pairing and box.id != own]
    except DiscoveryError as error:
        raise click.ClickException(str(error)) from None
    if not found:
        raise click.ClickException(NONE)
    if len({box.id for box in found}) > 1:
        known = ", ".join(f"{box.name} at {_typed(box.addresses[0], box.port)}" for box in found)
        raise click.ClickException(f"several boxes let somebody in now: type the address too. {known}")
    return [_typed(address, found[0].port) for address in found[0].addresses]


def _typed(address: str, port: int) -> str:
    return f"=[{address}]:{port}" if ":" in address else f"={address}:{port}"


def follow(data: Path, box: str) -> Any:
    """Show how far the box is until it is `box` and serves; what it says of itself then."""
    told = ""
    away_since: float | None = None
    while True:
        try:
            listed = call(data, "peer.list", {}, 10.0)
            status = call(data, "status", {}, 10.0)
            away_since = None
        except ControlError as error:  # also a refusal, of a box that is just stopping
            away_since = away_since or time.monotonic()
            if time.monotonic() - away_since > AWAY_S:
                raise click.ClickException(f"{error}; it goes on with joining when it runs") from None
            time.sleep(LOOK_EVERY_S)
            continue
        joining = dig(listed, "joining")
        if joining is None:
            if dig(listed, "box") == box and dig(status, "state") in ("serving", "warning"):
                return {
                    key: dig(status, key) for key in ("site", "box", "state", "members", "copies", "address")
                }
            if dig(listed, "box") != box and dig(listed, "gave_up"):
                raise click.ClickException(str(dig(listed, "gave_up")))
        else:
            text = printable(str(dig(joining, "text")))
            if text != told:
                click.echo(text, err=True)
                told = text
        time.sleep(LOOK_EVERY_S)
