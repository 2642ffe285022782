"""Whose certificate another site has, before anybody logs in there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from appliance.cli.common import ask
from appliance.cli.people import at_terminal
from appliance.cli.tables import dig, facts, printable

SITE_ANSWER_S = 75.0
"""What another site may take: to be reached, to answer, and both once more for the registration."""


def look(data: Path, member: str, address: str, expected: str | None, sure: bool) -> Any:
    """What the site at ``address`` says before anybody logs in, when the person agrees that it is the one."""
    trusted = address.startswith("+")
    if trusted and expected is not None:
        raise click.UsageError("--fingerprint is for =HOST:PORT: an authority vouches for +HOST:PORT")
    found = ask(data, "membership.look", timeout_s=SITE_ANSWER_S, member=member, address=address)
    shown = str(dig(found, "fingerprint"))
    if expected is not None and bare(expected) != bare(shown):
        raise click.ClickException(
            f"the certificate at {printable(address)} is another one: {shown}. Somebody may be in between:"
            " nothing was done"
        )
    how = "an authority vouches for it" if trusted else "compare with what the site's people say"
    lines = [("site", dig(found, "site")), ("address", dig(found, "address"))]
    click.echo(facts([*lines, ("certificate", how if trusted else f"{shown}: {how}")]), err=True)
    if not trusted and expected is None and not sure and at_terminal():
        click.confirm("Is that the right certificate?", abort=True, err=True)
    return found


def bare(fingerprint: str) -> str:
    """A fingerprint's hex digits, however it is written."""
    return fingerprint.upper().removeprefix("SHA256:").replace(":", "").strip()
