"""`pocket status`: how the box is doing."""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path
from typing import Any

import click

from appliance.cli.common import ask, asks_box, print_json
from appliance.cli.tables import age, count, dig, facts, printable, size

CHECK_S = 3.0
CLEAR = "\x1b[H\x1b[2J"
FIGURE = re.compile(r"\{([\w.]+)\}")
SIZES = {
    "queues.octets",
    "archives.octets",
    "store.octets_written",
    "disk.free",
    "disk.total",
    "disk.reserve",
    "disk.data",
}
LINKS = "{links.open} open, {links.unauthenticated} not logged in, {links.refused} refused"
MESSAGES = (
    "{messages.accepted} accepted, {messages.delivered} delivered, {messages.refused} refused, "
    "{messages.resent} sent again"
)
STORE = (
    "{store.commits} commits ({store.commits_per_s}/s), {store.syncs} syncs ({store.syncs_per_s}/s), "
    "{store.entries} journal entries, {store.octets_written} written"
)
MEMBERSHIPS = "{memberships.kept} at other sites, {memberships.online} online, {memberships.halted} halted"
ARCHIVES = "{archives.messages} messages, {archives.octets}"
DISK = "{disk.free} free of {disk.total}, {disk.reserve} kept in reserve, {disk.data} used by the box"


@click.command()
@asks_box
@click.option("--watch", is_flag=True, help="Ask again and again, until Ctrl-C.")
@click.option(
    "--every",
    "every_s",
    type=click.FloatRange(0.1, 3600),
    default=2.0,
    metavar="SECONDS",
    help="How often. [2]",
)
@click.option("--count", "times", type=click.IntRange(1), metavar="N", help="Watch N times, then stop.")
@click.option("--check", is_flag=True, help="Print nothing; the exit code is 1 unless the box serves.")
def status(data: Path, as_json: bool, watch: bool, every_s: float, times: int | None, check: bool) -> None:
    """How the box is doing.

    \b
    Examples:
      pocket status
      pocket status --watch
      pocket status --json | jq .queues.oldest_s
      pocket status --check && echo it serves
    """
    if check:
        if dig(ask(data, "status", CHECK_S), "state") not in ("serving", "warning"):
            raise SystemExit(1)
        return
    if not watch and times is None:
        result = ask(data, "status")
        print_json(result) if as_json else click.echo(describe(result))
        return
    turn = 0
    while True:
        turn += 1
        show_once(data, as_json, keep_trying=turn > 1)
        if turn == times:
            return
        time.sleep(every_s)


def show_once(data: Path, as_json: bool, keep_trying: bool) -> None:
    """One turn of watching. A box that restarts meanwhile is waited for."""
    try:
        result = ask(data, "status")
    except click.ClickException as error:
        if not keep_trying:
            raise
        click.echo(error.message, err=True)
        return
    if as_json:
        print_json(result, indent=None)
    else:
        click.echo((CLEAR if sys.stdout.isatty() else "") + describe(result))


def describe(status: Any) -> str:
    """Status for people: what it does, why if something is wrong, then figures."""

    def at(path: str) -> Any:
        return dig(status, path)

    def figures(text: str) -> str:
        """`text` with each {path} replaced by the figure there: as a size if it is one."""
        return FIGURE.sub(lambda found: (size if found[1] in SIZES else count)(at(found[1])), text)

    reasons = at("reasons")
    head = [
        printable(f"{at('site')}: {at('state')} for {age(at('uptime_s'))}"),
        *(f"  ! {printable(str(reason))}" for reason in (reasons if isinstance(reasons, list) else [])),
    ]
    if at("state") == "starting":
        box = f"{at('box')}, version {at('version')}"
        return "\n".join([*head, facts([("fingerprint", at("fingerprint")), ("box", box)])])
    return "\n".join(
        [
            *head,
            facts(
                [
                    ("address", at("address")),
                    ("fingerprint", at("fingerprint")),
                    ("registration", registration(at("registration"), at("pairing_open_s"))),
                    *([("compare", words)] if (words := at("comparison.words")) else []),
                    ("members", figures("{members} with {nodes} devices, {groups} groups")),
                    *([("copies", copies(status))] if at("copies") is not None else []),
                    ("links", figures(LINKS)),
                    ("queues", figures("{queues.messages} messages, {queues.octets}") + oldest(at("queues"))),
                    ("messages", figures(MESSAGES)),
                    *(
                        [("memberships", figures(MEMBERSHIPS) + unsent(status))]
                        if at("memberships.kept")
                        else []
                    ),
                    *([("kept", figures(ARCHIVES))] if at("archives.messages") else []),
                    *([("backup", last)] if (last := backup(status)) else []),
                    *([("update", words)] if (words := update(status)) else []),
                    ("store", figures(STORE)),
                    ("disk", figures(DISK)),
                    ("box", f"{at('box')}, version {at('version')}"),
                ]
            ),
        ]
    )


def unsent(status: Any) -> str:
    """What waits to be sent to other sites."""
    waiting = dig(status, "memberships.outbox")
    since = f" for {age(oldest_s)}" if (oldest_s := dig(status, "memberships.outbox_oldest_s")) else ""
    return f"; {count(waiting)} requests wait to be sent{since}" if waiting else ""


def copies(status: Any) -> str:
    """On how many boxes everything is, and whether this one may go."""
    safe = "safe to unplug" if dig(status, "safe_to_unplug") else "not safe to unplug"
    acks = dig(status, "one_copy_acks")
    one_copy = f"; {count(acks)} acknowledged with one copy" if acks else ""
    return f"{count(dig(status, 'copies'))}, {safe}: {dig(status, 'why')}{one_copy}"


def registration(mode: Any, open_s: Any) -> str:
    if mode != "pairing":
        return str(mode)
    return f"pairing, open for another {age(open_s)}" if open_s else "pairing, closed now (pocket pair open)"


def backup(status: Any) -> str:
    """When the last one was made; nothing if none was ever asked for."""
    made = dig(status, "backup.made")
    each = ", every day" if dig(status, "backup.automatic") else ""
    if not made:
        return f"none yet{each}" if each else ""
    return f"{age(time.time() - made)} ago, {size(dig(status, 'backup.octets'))}{each}"


def update(status: Any) -> str:
    """What is to be told of updates; nothing where the box does not do them."""
    if not dig(status, "update.managed"):
        return ""
    version = dig(status, "firmware")
    if dig(status, "update.trial"):
        return f"{version} is being tried (pocket update status)"
    if dig(status, "update.under_way"):
        return f"{version}, an update is under way (pocket update status)"
    if dig(status, "update.available"):
        return f"{version}; {dig(status, 'firmware_newest')} is there (pocket update install)"
    return f"{version}{', updates at night' if dig(status, 'update.automatic') else ''}"


def oldest(queues: Any) -> str:
    oldest_s = dig(queues, "oldest_s")
    return f", the oldest waiting for {age(oldest_s)}" if oldest_s else ""
