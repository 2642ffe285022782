"""`pocket mail`: what is kept of messages, to look through and to take away."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from appliance.cli.common import ask, asks_box, print_json
from appliance.cli.people import complete_member, complete_name
from appliance.cli.tables import NONE, count, dig, facts, names, printable, size, table

SEARCH_S = 60.0
"""The first search after a long time brings the index up to date."""

HITS_MAX = 200
PAGE_S = 120.0
TOLD_EVERY_S = 0.2


@click.group()
def mail() -> None:
    """What is kept of members' messages.

    The box keeps what the other sites of a member deliver (see pocket membership), and of this site for those
    who want it, within a part of the disk.

    \b
    Examples:
      pocket mail search "Ann Smith" summer camp
      pocket mail export "Ann Smith" --to ann-2026
      pocket mail archive "Ann Smith" on
      pocket mail show "Ann Smith"
    """


@mail.command("search")
@click.argument("member", shell_complete=complete_member)
@click.argument("words", nargs=-1, required=True)
@click.option("--membership", metavar="NAME", shell_complete=complete_name, help="Only what came from there.")
@click.option("--best", is_flag=True, help="First those with all words in the subject. Else: the newest.")
@click.option(
    "--limit", type=click.IntRange(1, HITS_MAX), default=20, metavar="N", help="How many to show. [20]"
)
@click.option("--after", metavar="PLACE", help="Go on from there: what an earlier search said.")
@asks_box
def mail_search(
    member: str,
    words: tuple[str, ...],
    membership: str | None,
    best: bool,
    limit: int,
    after: str | None,
    data: Path,
    as_json: bool,
) -> None:
    """Look for messages of MEMBER.

    All WORDS have to be there, in the text, the subject or the names; the last one may be the beginning of a
    word. "Several words" in quotes have to follow each other. There are also from:NAME, subject:WORD,
    since:2026-05, until:2026-05-31 and has:attachment.

    \b
    Examples:
      pocket mail search "Ann Smith" invoice
      pocket mail search "Ann Smith" "summer camp" from:bob since:2026
      pocket mail search "Ann Smith" camp --membership Club --json | jq -r '.found[].subject'
    """
    found = ask(
        data,
        "mail.search",
        timeout_s=SEARCH_S,
        member=member,
        words=" ".join(quoted(word) for word in words),
        membership=membership,
        order="best" if best else "newest",
        limit=limit,
        after=after or "",
    )
    if as_json:
        print_json(found)
        return
    hits = dig(found, "found") or []
    for hit in hits:
        click.echo(described(hit))
    if not hits:
        click.echo("nothing was found")
    if dig(found, "next"):
        click.echo(f"there is more: add   --after {printable(str(dig(found, 'next')))}")
    if dig(found, "indexed") is False:
        click.echo("what came last is not looked through yet: search again in a minute")


def quoted(word: str) -> str:
    """An argument with spaces is a phrase; the shell has eaten its quotes."""
    if '"' in word or not any(char.isspace() for char in word):
        return word
    field, colon, rest = word.partition(":")
    if colon and field.isalpha() and rest:
        return f'{field}:"{rest.strip()}"'
    return f'"{word}"'


def described(hit: Any) -> str:
    """A message that was found, in two lines."""
    files = dig(hit, "attachments")
    sender = printable(str(dig(hit, "alias") or dig(hit, "from") or NONE))
    where = printable(str(dig(hit, "archive") or "this site"))
    subject = printable(str(dig(hit, "subject") or "")) or "(no subject)"
    more = f" [{count(files)} {'attachment' if files == 1 else 'attachments'}]" if files else ""
    text = printable(" ".join(str(dig(hit, "snippet") or "").split()))
    head = f"{moment(dig(hit, 'posted'))}  {where}  {sender}: {subject}{more}"
    return "\n".join([head, *([f"    {text}"] if text else []), f"    {printable(str(dig(hit, 'msgid')))}"])


def moment(posted: Any) -> str:
    """When a message was posted, in local time."""
    try:
        return datetime.fromisoformat(str(posted)).astimezone().strftime("%Y-%m-%d %H:%M")
    except (ValueError, OverflowError, OSError):
        return NONE


@mail.command("export")
@click.argument("member", shell_complete=complete_member)
@click.option(
    "--to",
    "folder",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="The folder, new or empty; one with an earlier export gets what has come since.",
)
@click.option("--membership", metavar="NAME", shell_complete=complete_name, help="Only what came from there.")
@asks_box
def mail_export(member: str, folder: Path, membership: str | None, data: Path, as_json: bool) -> None:
    """Write all that is kept for MEMBER into a folder.

    Messages go into messages/*.jsonl, one JSON object a line, and attachments into files. Whatever stops it,
    the same command again goes on. The format is described in appliance/mail/README.md.

    \b
    Examples:
      pocket mail export "Ann Smith" --to /media/stick/ann
      pocket mail export "Ann Smith" --to club --membership Club
    """
    from appliance.mail import Export, ExportError

    shown = sys.stderr is not None and sys.stderr.isatty() and not as_json
    told_at = 0.0

    def tell(progress: Any) -> None:
        nonlocal told_at
        if shown and time.monotonic() - told_at > TOLD_EVERY_S:
            told_at = time.monotonic()
            line = f"{count(progress.messages)} of {count(progress.total)} messages, {size(progress.octets)}"
            click.echo(f"\r\x1b[K{line}", nl=False, err=True)

    def page(word: str, args: Mapping[str, Any]) -> Any:
        return ask(data, word, timeout_s=PAGE_S, **args)

    whose = {"member": member} | ({} if membership is None else {"membership": membership})
    try:
        done = Export(folder, page, whose, tell).run()
    except ExportError as error:
        raise click.ClickException(str(error)) from None
    finally:
        if shown:
            click.echo("\r\x1b[K", nl=False, err=True)
    if as_json:
        print_json({"folder": str(folder), "messages": done.messages, "octets": done.octets})
    else:
        click.echo(f"{count(done.messages)} messages, {size(done.octets)}, are in {folder}")


@mail.command("archive")
@click.argument("member", shell_complete=complete_member)
@click.argument("switch", type=click.Choice(("on", "off")), metavar="on|off")
@click.option("--yes", is_flag=True, help="Do not ask.")
@asks_box
def mail_archive(member: str, switch: str, yes: bool, data: Path, as_json: bool) -> None:
    """Keep a member's messages of this site.

    A site forgets a message when every device has it. With `on` the box keeps what the member sends and gets
    from now on. With `off` it forgets all that it has kept. What comes from other sites is kept in any case.

    \b
    Examples:
      pocket mail archive "Ann Smith" on
      pocket mail archive "Ann Smith" off --yes
    """
    from appliance.cli.people import at_terminal

    if switch == "off" and not yes and not as_json and at_terminal():
        kept = [
            each
            for each in dig(ask(data, "mail.show", member=member), "archives") or []
            if not dig(each, "membership")
        ]
        messages = count(sum(int(dig(each, "messages") or 0) for each in kept))
        octets = size(sum(int(dig(each, "octets") or 0) for each in kept))
        click.confirm(
            f"Forget {messages} messages of this site, {octets}, kept for {printable(member)}?", abort=True
        )
    result = ask(data, "mail.archive", member=member, on=switch == "on")
    if as_json:
        print_json(result)
    elif switch == "on":
        click.echo(f"messages of {printable(member)} are kept from now on")
    else:
        click.echo(f"messages of {printable(member)} are not kept any more, and those that were are gone")


@mail.command("show")
@click.argument("member", shell_complete=complete_member)
@click.argument("message", required=False)
@asks_box
def mail_show(member: str, message: str | None, data: Path, as_json: bool) -> None:
    """What is kept for a member, or one message of it.

    MESSAGE is an id, 16 hex digits, as the search shows it.

    \b
    Examples:
      pocket mail show "Ann Smith"
      pocket mail show "Ann Smith" 18b4c1d5a3f20000
      pocket mail show "Ann Smith" --json | jq .octets
    """
    if message is not None:
        found = ask(data, "mail.message", timeout_s=SEARCH_S, member=member, message=message)
        print_json(found) if as_json else click.echo(letter(found))
        return
    found = ask(data, "mail.show", timeout_s=SEARCH_S, member=member)
    if as_json:
        print_json(found)
        return
    archives = dig(found, "archives") or []
    rows = (
        (
            dig(each, "name") or "this site",
            count(dig(each, "messages")),
            size(dig(each, "octets")),
            moment(dig(each, "oldest")),
        )
        for each in archives
    )
    if archives:
        click.echo(table(("OF", "MESSAGES", "SIZE", "SINCE"), rows, right=(1, 2)))
        click.echo(f"{size(dig(found, 'used'))} of {size(dig(found, 'budget'))} are used")
    if not dig(found, "kept"):
        name = f'"{printable(member)}"' if " " in member else printable(member)
        click.echo(f"messages of this site are not kept: say   pocket mail archive {name} on")
    if dig(found, "trouble"):
        click.echo(f"  ! {printable(str(dig(found, 'trouble')))}")


def letter(found: Any) -> str:
    """One message for people."""
    pairs = [
        ("from", f"{dig(found, 'alias') or ''} {dig(found, 'from') or ''}".strip()),
        ("posted", moment(dig(found, "posted"))),
        ("at", dig(found, "archive") or "this site"),
        ("subject", dig(found, "subject") or NONE),
        ("to", names([person.get("name") or person.get("uid") for person in dig(found, "cc") or []])),
    ]
    pairs += [
        ("attached", f"{dig(each, 'name')}, {size(dig(each, 'size'))}")
        for each in dig(found, "attachments") or []
    ]
    body = dig(found, "body")
    text = "(no text)" if body is None else "\n".join(printable(line) for line in str(body).splitlines())
    return f"{facts(pairs)}\n\n{text}"
