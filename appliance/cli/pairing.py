"""`pocket pair`: let somebody register."""

from __future__ import annotations

from pathlib import Path

import click

from appliance.cli.common import ask, asks_box, print_json
from appliance.cli.tables import age, dig, facts


@click.group()
def pair() -> None:
    """Let new members register, for a few minutes.

    \b
    Examples:
      pocket pair open
      pocket pair close
    """


@pair.command("open")
@click.option(
    "--minutes",
    type=click.FloatRange(0, 60, min_open=True),
    default=2.0,
    metavar="N",
    help="For how long. [2]",
)
@asks_box
def pair_open(minutes: float, data: Path, as_json: bool) -> None:
    """Let new members register for a few minutes.

    \b
    Examples:
      pocket pair open
      pocket pair open --minutes 10
    """
    result = ask(data, "pair.open", minutes=minutes)
    if as_json:
        print_json(result)
        return
    click.echo(f"pairing is open for {age(minutes * 60)}: in the client, add an account with this address")
    click.echo(facts([("address", dig(result, "address")), ("fingerprint", dig(result, "fingerprint"))]))


@pair.command("close")
@asks_box
def pair_close(data: Path, as_json: bool) -> None:
    """Let nobody register from now on.

    \b
    Example:
      pocket pair close
    """
    result = ask(data, "pair.close")
    if as_json:
        print_json(result)
    else:
        click.echo("pairing is closed")
