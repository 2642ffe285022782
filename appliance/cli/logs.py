"""`pocket log`: what happened lately."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import click

from appliance.cli.common import ask, asks_box, print_json
from appliance.log.outputs import Text

LEVELS = ("debug", "info", "warning", "error")
FOLLOW_LINES = 500
"""Asked for at each turn of --follow; the box writes far fewer in the meantime."""


@click.command()
@click.option("--lines", "-n", type=click.IntRange(1, 2000), default=50, metavar="N", help="How many. [50]")
@click.option("--level", type=click.Choice(LEVELS), default="debug", help="Only these and above.")
@click.option("--follow", "-f", is_flag=True, help="Go on with what comes, until Ctrl-C.")
@click.option("--every", "every_s", type=click.FloatRange(0.05, 60), default=1.0, hidden=True)
@click.option("--turns", type=click.IntRange(1), hidden=True)
@asks_box
def log(
    lines: int, level: str, follow: bool, every_s: float, turns: int | None, data: Path, as_json: bool
) -> None:
    """What the box did lately, newest last.

    \b
    Examples:
      pocket log
      pocket log --level warning --lines 200
      pocket log --follow
    """
    records = ask(data, "log", lines=lines, level=level)
    show(records, as_json)
    turn = 1
    while follow and turn != turns:
        turn += 1
        time.sleep(every_s)
        known = {identity(record) for record in records}
        try:
            latest = ask(data, "log", lines=FOLLOW_LINES, level=level)
        except click.ClickException as error:
            click.echo(error.message, err=True)
            continue
        show(
            [record for record in latest if identity(record) not in known and not older(record, records)],
            as_json,
        )
        records = latest or records


def identity(record: dict[str, Any]) -> tuple[Any, Any]:
    """Numbers begin anew with each run of the box, times do not."""
    return record.get("n"), record.get("time")


def older(record: dict[str, Any], known: list[dict[str, Any]]) -> bool:
    """Whether a record was left out of `known` because that had not room for it."""
    return bool(known) and record.get("time", "") < known[0].get("time", "")


def show(records: list[dict[str, Any]], as_json: bool) -> None:
    text = Text(sys.stdout)
    for record in records:
        if as_json:
            print_json(record, indent=None)
        else:
            text.write({"level": "info", "time": "", "event": "", **record})
