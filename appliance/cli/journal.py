"""`pocket journal`: prove that the journal and the tables derived from it hold; have everything that is
stored read again, and mended.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import click

from appliance.cli.common import ask, asks_box, print_json
from appliance.cli.tables import count, dig, printable, size
from appliance.control import ControlError, NoBox, call

VERIFY_TIMEOUT_S = 900.0
"""It reads everything there is, on a slow card."""
POLL_S = 0.3


@click.group()
def journal() -> None:
    """The record of everything durable that happened.

    \b
    Examples:
      pocket journal verify
      pocket journal scrub --now
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


@journal.command("scrub")
@click.option("--now", is_flag=True, help="Read everything at once, and wait for the end.")
@asks_box
def journal_scrub(data: Path, as_json: bool, now: bool) -> None:
    """Find what the disk has damaged, and have it mended.

    A running box reads everything that it stores once a day, slowly: journals, messages and attachments. What
    is damaged is fetched from another box of the site; what no other box has is lost. Without --now this says
    how far it is. The exit code is 1 if something is damaged and could not be mended.

    \b
    Examples:
      pocket journal scrub
      pocket journal scrub --now
      pocket journal scrub --now --json
    """
    state = ask(data, "journal.scrub", now=now)
    shown = now and not as_json and sys.stderr.isatty()
    while now and dig(state, "running"):
        if shown:
            click.echo(f"\r{_progress(state):<70}", err=True, nl=False)
        time.sleep(POLL_S)
        state = ask(data, "journal.scrub")
    if shown:
        click.echo(f"\r{'':<70}\r", err=True, nl=False)
    if as_json:
        print_json(state)
    else:
        click.echo(_scrubbed(state))
        for problem in dig(state, "problems") or []:
            click.echo(f"  {printable(str(problem))}")
    if dig(state, "open") or dig(state, "problems"):
        raise SystemExit(1)


def _progress(state: Any) -> str:
    octets, total = dig(state, "octets") or 0, dig(state, "total") or 0
    percent = min(100, 100 * octets // total) if total else 0
    return f"reading: {percent} %, {size(octets)} of {size(total)}; damaged: {count(dig(state, 'found'))}"


def _scrubbed(state: Any) -> str:
    read = ", ".join(
        f"{count(dig(state, kind))} {name}"
        for kind, name in (("entries", "entries"), ("messages", "messages"), ("attachments", "attachments"))
    )
    found, repaired = dig(state, "found") or 0, dig(state, "repaired") or 0
    damage = f"{count(found)} damaged, {count(repaired)} repaired" if found else "nothing is damaged"
    return f"read {read}: {damage}" if not dig(state, "running") else f"so far read {read}: {damage}"


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
