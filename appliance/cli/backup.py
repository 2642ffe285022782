"""`pocket backup`, `pocket restore`, `pocket recovery-key`: what is on a stick when all boxes are gone."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import click

from appliance.cli.common import ask, asks_box, print_json
from appliance.cli.prompts import secret
from appliance.cli.tables import age, count, dig, facts, printable, size, table

LOOK_EVERY_S = 0.3
WORD_S = 60.0
"""A stick that sleeps takes its time."""

FOLDER = click.Path(path_type=Path)
KEY_FILE = click.option(
    "--key-file",
    type=click.Path(dir_okay=False, exists=True, path_type=Path),
    metavar="FILE",
    help="A file with the recovery key. Not given: it is asked for.",
)
KEY = click.option(
    "--key",
    metavar="KEY",
    help="The recovery key itself: for a console that cannot ask. Others on this computer may see it.",
)
WRITE_DOWN = "Write this down and keep it away from the sticks: without it a backup is worthless."
NOW = {"make": "backing up", "verify": "verifying"}


@click.group()
def backup() -> None:
    """Everything on a USB stick, encrypted.

    A stick keeps what the site would lose with its last box. The first backup has everything, later ones add
    what is new. What they are opened with is the recovery key: pocket recovery-key show.

    \b
    Examples:
      pocket backup make
      pocket backup auto on
      pocket backup list
      pocket backup verify
    """


@backup.command("make")
@click.option(
    "--to", "folder", type=FOLDER, metavar="DIR", help="A folder on the stick. Not given: the stick."
)
@asks_box
def backup_make(folder: Path | None, data: Path, as_json: bool) -> None:
    """Back up what is new, and read it back.

    The box goes on serving meanwhile. What interrupts it, also a stick that is pulled out, costs nothing but
    this backup.

    \b
    Examples:
      pocket backup make
      pocket backup make --to /media/stick
    """
    began = ask(data, "backup.make", WORD_S, folder=absolute(folder))
    result = follow(data, as_json) if began is not None else None
    if as_json:
        print_json(result)
        return
    what = "everything, anew" if dig(result, "anew") else "what was new"
    click.echo(f"backed up {what}, in {age(dig(result, 'took_s'))}, and read back")
    click.echo(
        facts(
            [
                ("folder", dig(result, "folder")),
                ("size", size(dig(result, "octets"))),
                (
                    "messages",
                    f"{count(dig(result, 'messages'))}, {count(dig(result, 'attachments'))} attachments",
                ),
            ]
        )
    )


@backup.command("list")
@click.argument("folder", required=False, type=FOLDER, metavar="[DIR]")
@asks_box
def backup_list(folder: Path | None, data: Path, as_json: bool) -> None:
    """The backups on the sticks that are plugged in, or in DIR.

    \b
    Examples:
      pocket backup list
      pocket backup list /media/stick
    """
    listed = ask(data, "backup.list", WORD_S, folder=absolute(folder))
    if as_json:
        print_json(listed)
        return
    found = dig(listed, "backups") or []
    rows = (
        (
            when(dig(one, "made")),
            size(dig(one, "octets")),
            str(dig(one, "box")) + (" (this one)" if dig(one, "own") else ""),
            dig(one, "key"),
            dig(one, "folder"),
        )
        for one in found
    )
    if found:
        click.echo(table(("MADE", "SIZE", "BOX", "KEY", "FOLDER"), rows))
    else:
        click.echo("there is no backup on any stick that is plugged in")
    each = f"every day at {dig(listed, 'at')}" if dig(listed, "automatic") else "off (pocket backup auto on)"
    problem = dig(listed, "last_problem")
    click.echo(
        facts(
            [
                ("automatic", each),
                ("last", when(dig(listed, "made")) if dig(listed, "made") else "never"),
                *([("problem", problem)] if problem else []),
            ]
        )
    )


@backup.command("verify")
@click.argument("folder", required=False, type=FOLDER, metavar="[DIR]")
@KEY_FILE
@KEY
@asks_box
def backup_verify(
    folder: Path | None, key_file: Path | None, key: str | None, data: Path, as_json: bool
) -> None:
    """Prove that a backup is whole.

    Reads all of it, and checks it against its hashes and signatures. Without DIR the newest one on the sticks
    that are plugged in, with the recovery key of this box's site.

    \b
    Examples:
      pocket backup verify
      pocket backup verify /media/stick --key-file key.txt
    """
    ask(data, "backup.verify", WORD_S, folder=absolute(folder), key=key_of(key_file, key))
    result = follow(data, as_json)
    if as_json:
        print_json(result)
    else:
        click.echo(f"everything is there, and as it was written: {described(result)}")


@backup.command("auto")
@click.argument("on", type=click.Choice(["on", "off"]), metavar="on|off")
@asks_box
def backup_auto(on: str, data: Path, as_json: bool) -> None:
    """Have a backup made every day, or do so no more.

    At the hour that backup.at in the configuration says, to the stick that is plugged in then. Status warns
    when none could be made for three days.

    \b
    Examples:
      pocket backup auto on
      pocket backup auto off
    """
    result = ask(data, "backup.auto", on=on == "on")
    if as_json:
        print_json(result)
    elif dig(result, "automatic"):
        click.echo(f"a backup is made every day at {dig(result, 'at')}: leave a stick plugged in")
    else:
        click.echo("no backups are made by themselves any more")


@click.command()
@click.argument("folder", type=FOLDER, metavar="DIR")
@KEY_FILE
@KEY
@click.option("--yes", is_flag=True, help="Do not ask.")
@asks_box
def restore(
    folder: Path, key_file: Path | None, key: str | None, yes: bool, data: Path, as_json: bool
) -> None:
    """Make this blank box what was backed up.

    DIR is where the stick is mounted. Only a new box can be restored, or one that was reset. It becomes a new
    box of the site; the boxes that the site had before are put out. If one of them still lives, let this one
    join it instead: pocket peer join.

    \b
    Examples:
      pocket restore /media/stick
      pocket restore /media/stick --key-file /media/other/recovery-key.txt --yes
    """
    from appliance.cli.following import follow as follow_box

    key = key_of(key_file, key) or secret("recovery key")
    place = absolute(folder)
    found = ask(data, "restore", WORD_S, folder=place, key=key, look=True)
    if not yes and os.environ.get("POCKET_CONFIRMED") != "1":
        click.echo(described(found), err=True)
        click.echo(
            "If a box of this site still lives, do not restore: let this one join it   pocket peer join",
            err=True,
        )
        click.confirm("Restore this?", abort=True, err=True)
    began = time.monotonic()
    begun = ask(data, "restore", WORD_S, folder=place, key=key)
    done = follow_box(data, str(dig(begun, "box")))
    result = {**begun, **done, "took_s": round(time.monotonic() - began, 1)}
    if as_json:
        print_json(result)
    else:
        took = age(result["took_s"])
        click.echo(
            f"done in {took}: this box has what was backed up, and serves {printable(str(result['site']))}"
        )


@click.group("recovery-key")
def recovery_key() -> None:
    """What a backup is opened with.

    One for the whole site, the same on all its boxes. Whoever has it and a stick has everything.

    \b
    Examples:
      pocket recovery-key show
      pocket recovery-key new
    """


@recovery_key.command("show")
@asks_box
def recovery_key_show(data: Path, as_json: bool) -> None:
    """The recovery key, to be written down.

    \b
    Examples:
      pocket recovery-key show
      pocket recovery-key show --json | jq -r .key > /media/stick/recovery-key.txt
    """
    show_key(ask(data, "recovery.show"), as_json)


@recovery_key.command("new")
@click.option("--yes", is_flag=True, help="Do not ask.")
@asks_box
def recovery_key_new(yes: bool, data: Path, as_json: bool) -> None:
    """Another recovery key, when the old one is in wrong hands.

    Backups that there are keep theirs, so keep the old key as long as the old backups, or delete them. The
    next backup is a new one, of everything.

    \b
    Examples:
      pocket recovery-key new
      pocket recovery-key new --yes
    """
    if not yes and os.environ.get("POCKET_CONFIRMED") != "1":
        click.confirm("The key that was written down opens no later backup. Go on?", abort=True, err=True)
    show_key(ask(data, "recovery.new"), as_json)


def show_key(shown: Any, as_json: bool) -> None:
    if as_json:
        print_json(shown)
    else:
        click.echo(f"\n  {printable(str(dig(shown, 'key')))}\n")
        click.echo(WRITE_DOWN)


def follow(data: Path, as_json: bool) -> Any:
    """Show how far it is until it is over; what it came to. A failure ends the command."""
    told = ""
    while True:
        state = ask(data, "backup.state")
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
    what, octets, total = (
        NOW.get(str(dig(state, "running")), ""),
        dig(state, "octets"),
        dig(state, "octets_total"),
    )
    entries, entries_total = dig(state, "entries"), dig(state, "entries_total")
    match dig(state, "phase"):
        case "journals":
            return f"{what}: {count(entries)} of {count(entries_total)} journal entries"
        case "checking":
            return f"{what}: reading back"
        case _ if total:
            return f"{what}: {size(octets)} of {size(total)}"
    return f"{what}: beginning"


def described(found: Any) -> str:
    """What is in a backup."""
    made = f"{printable(str(dig(found, 'site')))}, backed up {when(dig(found, 'made'))}"
    return (
        f"{made}: {count(dig(found, 'members'))} members, {count(dig(found, 'messages'))} messages that wait,"
        f" {size(dig(found, 'octets'))}"
    )


def when(made: Any) -> str:
    if not isinstance(made, int | float):
        return "-"
    return f"{time.strftime('%Y-%m-%d %H:%M', time.localtime(made))}, {age(time.time() - made)} ago"


def absolute(folder: Path | None) -> str | None:
    """The box has another current folder."""
    return str(folder.absolute()) if folder is not None else None


def key_of(file: Path | None, key: str | None) -> str | None:
    """The recovery key that was given; None if none was."""
    if file is None:
        return key
    try:
        return file.read_text(encoding="ascii")[:1024].strip()
    except (OSError, ValueError) as error:
        raise click.ClickException(f"{file} cannot be read: {error}") from None
