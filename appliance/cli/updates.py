"""`pocket update`: the firmware of a box that was started from an image."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from appliance.cli.common import ask, asks_box, print_json
from appliance.cli.tables import age, dig, facts, printable, size

LOOK_EVERY_S = 0.3
WORD_S = 300.0
"""Each of the places where updates may be can take its time."""

NOT_HERE = 3
"""The exit code where this machine is updated in another way."""

FROM = click.option(
    "--from",
    "folder",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Only this folder, on a stick or elsewhere. Not given: other boxes, sticks, updates.url.",
)
ALONE = click.option(
    "--alone", is_flag=True, help="Do not ask the other boxes whether one of them is being updated."
)
NO_RESTART = click.option(
    "--no-restart", is_flag=True, help="Let somebody restart the machine later: only then it changes."
)


@click.group()
def update() -> None:
    """A newer version of the whole system, and the way back.

    An update is signed, goes beside the version that runs, and has to prove itself at its first start: else
    the one before comes back by itself. Two boxes are never updated at once. updates.automatic in the
    configuration has it done at night.

    \b
    Examples:
      pocket update check
      pocket update install
      pocket update status
      pocket update rollback
    """


@update.command("check")
@FROM
@asks_box
def update_check(folder: Path | None, data: Path, as_json: bool) -> None:
    """Whether there is a newer version.

    \b
    Examples:
      pocket update check
      pocket update check --from /media/stick
    """
    here_or_end(as_json)
    found = ask(data, "update.check", WORD_S, folder=absolute(folder))
    if as_json:
        print_json(found)
        return
    runs, newest = dig(found, "running"), dig(found, "newest")
    for source in dig(found, "sources") or []:
        if problem := dig(source, "problem"):
            click.echo(f"! {printable(str(dig(source, 'source')))}: {printable(str(problem))}", err=True)
    if dig(found, "newer"):
        left = "; it was tried here before, and left" if dig(found, "left_before") else ""
        click.echo(f"version {newest} is there, from {printable(str(dig(found, 'source')))}{left}")
        click.echo(f"this box runs {runs}; to update it   pocket update install")
    elif newest is not None:
        click.echo(f"this box runs {runs}; nobody has a newer version")
    else:
        click.echo(f"this box runs {runs}; there is nobody who has an update")


@update.command("install")
@FROM
@click.option("--version", metavar="VERSION", help="This one. Not given: the newest.")
@click.option("--downgrade", is_flag=True, help="Also an older one.")
@click.option("--again", is_flag=True, help="Also one that was tried before, and given up or left.")
@ALONE
@NO_RESTART
@asks_box
def update_install(
    folder: Path | None,
    version: str | None,
    downgrade: bool,
    again: bool,
    alone: bool,
    no_restart: bool,
    data: Path,
    as_json: bool,
) -> None:
    """Take the newest version.

    The box goes on serving until the machine restarts. Whatever interrupts this, also a power cut, leaves the
    version that runs as it is, and what was fetched is gone on with.

    \b
    Examples:
      pocket update install
      pocket update install --from /media/stick
      pocket update install --version 1.2.0 --downgrade
    """
    here_or_end(as_json)
    ask(
        data,
        "update.install",
        folder=absolute(folder),
        version=version,
        downgrade=downgrade,
        again=again,
        alone=alone,
        no_restart=no_restart,
    )
    tell(follow(data, as_json), as_json)


@update.command("rollback")
@ALONE
@NO_RESTART
@asks_box
def update_rollback(alone: bool, no_restart: bool, data: Path, as_json: bool) -> None:
    """Go back to the version before.

    Everything stays: what came since it was left goes along. If that cannot be, nothing is done, and it says
    why. The version that is left is not taken again by itself.

    \b
    Examples:
      pocket update rollback
      pocket update rollback --no-restart
    """
    here_or_end(as_json)
    ask(data, "update.rollback", alone=alone, no_restart=no_restart)
    tell(follow(data, as_json), as_json)


@update.command("status")
@asks_box
def update_status(data: Path, as_json: bool) -> None:
    """What runs, and how updates are going.

    \b
    Examples:
      pocket update status
      pocket update status --json | jq .version
    """
    here_or_end(as_json)
    state = ask(data, "update.state", seen=True)
    if as_json:
        print_json(state)
    else:
        click.echo(described(state))


def here_or_end(as_json: bool) -> None:
    """Where the machine was not started from an image: say how it is updated, and end."""
    from appliance.updating.system import System, by_hand

    if System().is_managed:
        return
    commands = by_hand()
    if as_json:
        print_json({"managed": False, "do": commands})
    else:
        click.echo(
            "this machine was not started from an image, so the box does not update it. Do it with", err=True
        )
        for command in commands:
            click.echo(f"  {command}", err=True)
    raise SystemExit(NOT_HERE)


def follow(data: Path, as_json: bool) -> Any:
    """Show how far it is until it is over; what it came to. A failure ends the command."""
    told = ""
    while True:
        state = ask(data, "update.state")
        if dig(state, "running") is None:
            if (problem := dig(state, "problem")) is not None:
                raise click.ClickException(printable(str(problem)))
            return dig(state, "result")
        text = progress(state)
        if text != told and not as_json:
            click.echo(text, err=True)
            told = text
        time.sleep(LOOK_EVERY_S)


def progress(state: Any) -> str:
    """How far it is, for people."""
    version = dig(state, "target") or ""
    match dig(state, "phase"):
        case "fetching":
            total = dig(state, "octets_total")
            of = f" of {size(total)}" if total else ""
            return f"fetching {version}: {size(dig(state, 'octets'))}{of}"
        case "installing":
            return f"installing {version}: {dig(state, 'percent') or 0:.0f} %"
        case None:
            return "beginning"
        case phase:
            return str(phase)


def tell(result: Any, as_json: bool) -> None:
    if as_json:
        print_json(result)
    elif not dig(result, "installed"):
        click.echo(f"nobody has a newer version than {dig(result, 'version')}, which runs")
    elif dig(result, "restarts"):
        version = dig(result, "version")
        click.echo(
            f"{version} is installed: the machine restarts now, and tries it. Then   pocket update status"
        )
    else:
        click.echo(f"{dig(result, 'version')} is installed: it is tried when the machine restarts")
    if not as_json and (entries := dig(result, "entries")):
        click.echo(f"it takes over what came since: {entries:,} entries of the journal")


def described(state: Any) -> str:
    """All of it, for people."""

    def at(path: str) -> Any:
        return dig(state, path)

    rows = [("version", f"{at('version')} on {at('board')}")]
    if at("trial"):
        rows.append(
            ("trial", f"it has yet to prove itself: {at('unproven') or 'the system is about to keep it'}")
        )
    if at("held"):
        rows.append(("clients", str(at("held"))))
    if at("other"):
        rows.append(("other", f"{at('other')}, {at('other_state')}"))
    if at("phase"):
        rows.append(("under way", progress(state)))
    if at("turn"):
        rows.append(("turn", f"box {at('turn.name')} ({at('turn.box')}) is being updated"))
    if at("outcome"):
        when = age(time.time() - float(at("outcome_at") or 0))
        rows.append(("last", f"{at('outcome_version')}: {at('outcome')}, {when} ago: {at('outcome_text')}"))
    left = list(dict.fromkeys([*(at("given_up") or []), *(at("shunned") or [])]))
    if left:
        rows.append(("not again", ", ".join(map(str, left)) + " (pocket update install --again)"))
    if at("newest"):
        when = age(time.time() - float(at("checked") or 0))
        rows.append(("newest", f"{at('newest')}, from {at('newest_from')}, {when} ago"))
    if at("tables_before") is not None:
        rows.append(
            ("way back", f"the tables of before are kept for {age(at('tables_until') - time.time())}")
        )
    if at("kept"):
        rows.append(("for others", f"{at('kept')} is kept for the other boxes"))
    rows.append(
        ("automatic", f"every night from {at('at')}" if at("automatic") else "off (updates.automatic)")
    )
    rows.append(("from", at("url") or "other boxes and sticks only (updates.url)"))
    if at("last_problem"):
        rows.append(("problem", str(at("last_problem"))))
    return facts(rows)


def absolute(folder: Path | None) -> str | None:
    """The box has another current folder."""
    return str(folder.absolute()) if folder is not None else None
