"""`pocket journal verify`: prove that the journal and the tables derived from it hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from appliance.cli.common import asks_box, print_json
from appliance.cli.tables import count, dig, printable
from appliance.control import ControlError, NoBox, call

VERIFY_TIMEOUT_S = 900.0
"""It reads everything there is, on a slow card."""


@click.group()
def journal() -> None:
    """The record of everything durable that happened.

    \b
    Example:
      pocket journal verify
    """


@journal.command("verify")
@asks_box
def journal_verify(data: Path, as_json: bool) -> None:
    """Prove that the journal is whole.

    Checks every entry's place in the chain and its signature, and the tables derived from them. Works with
    and without a running box; of a card that is mounted read-only, verify a copy. The exit code is 1 if
    anything is wrong.

    \b
    Examples:
      pocket journal verify
      pocket journal verify --data /mnt/old-card/pocket --json
    """
    try:
        result = verify(data)
    except ControlError as error:
        raise click.ClickException(str(error)) from None
    problems = dig(result, "problems") or []
    if as_json:
        print_json(result)
    elif dig(result, "ok"):
        click.echo(
            f"the journal holds: {count(dig(result, 'entries'))} entries; chain, signatures and tables agree"
        )
    else:
        click.echo(
            f"the journal does not hold: {count(dig(result, 'entries'))} entries, {len(problems)} problems"
        )
        for problem in problems:
            click.echo(f"  {printable(str(problem))}")
    if not dig(result, "ok"):
        raise SystemExit(1)


def verify(data: Path) -> Any:
    """By the box that runs on `data`, which alone may touch its store; by ourselves if there is none."""
    try:
        return call(data, "journal.verify", {}, VERIFY_TIMEOUT_S)
    except NoBox:
        if not data.is_dir():
            raise
    import sqlite3

    from appliance.store import verify as verify_offline

    try:
        return verify_offline(data)
    except (OSError, sqlite3.Error) as error:
        raise ControlError(f"the store in {data} cannot be read: {error}") from None
