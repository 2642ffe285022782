"""`pocket member`, `pocket device`, `pocket group`: who there is, and what waits for them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from appliance.cli.cards import card_options, pictures, show_card
from appliance.cli.common import ask, asks_box, candidates, print_json
from appliance.cli.spans import span
from appliance.cli.tables import NONE, age, count, dig, facts, names, printable, size, table

SHOWN_ONCE = "the password is shown this once: scan or type it now (pocket device drop undoes it)"

LOGIN_KEYS = ("addresses", "uid", "node", "fingerprint")
"""What `device add --membership` tells programs, and no more."""

HISTORY = span(60, 100 * 365 * 86400, "90d or 1y")


def complete_member(context: click.Context, _: click.Parameter, start: str) -> list[CompletionItem]:
    known = candidates(context, "member.list")
    found = [name for member in known for name in [*(dig(member, "aliases") or []), dig(member, "uid")]]
    return [CompletionItem(name) for name in found if isinstance(name, str) and name.startswith(start)]


def complete_device(context: click.Context, _: click.Parameter, start: str) -> list[CompletionItem]:
    known = candidates(context, "device.list")
    found = [
        f"{dig(one, 'alias') or dig(one, 'member')}/{f'{of}/' if (of := dig(one, 'membership')) else ''}"
        f"{dig(one, 'label')}"
        for one in known
    ]
    return [CompletionItem(name) for name in found if name.startswith(start)]


def complete_name(context: click.Context, _: click.Parameter, start: str) -> list[CompletionItem]:
    found = {str(dig(each, "name")) for each in candidates(context, "membership.list")}
    return [CompletionItem(name) for name in sorted(found) if name.startswith(start)]


@click.group()
def member() -> None:
    """The site's members.

    \b
    Examples:
      pocket member add "Ann Smith" --device phone
      pocket member list
      pocket member show "Ann Smith"
    """


@member.command("add")
@click.argument("name")
@click.option("--device", "label", metavar="LABEL", help="Make the member's first device, too.")
@card_options
@asks_box
def member_add(
    name: str,
    label: str | None,
    svg: Path | None,
    png: Path | None,
    qr: bool | None,
    data: Path,
    as_json: bool,
) -> None:
    """Make an account for somebody.

    NAME is what the others find the member by: at least 8 characters, and nobody else's. Without a device the
    member gets no messages yet, and none later of what others send until then.

    \b
    Examples:
      pocket member add "Ann Smith"
      pocket member add "Ann Smith" --device phone
      pocket member add "Ann Smith" --device phone --svg ann.svg
    """
    if label is None and (svg or png):
        raise click.UsageError("there is a QR code for a device only: add --device LABEL")
    with pictures(svg, png) as files:
        login = ask(data, "member.add", alias=name, label=label)
        hint = SHOWN_ONCE if label else f'give the member a device with   pocket device add "{name}" LABEL'
        show_card(login, files, as_json, qr, hint)


@member.command("owner")
@click.argument("member", shell_complete=complete_member)
@asks_box
def member_owner(member: str, data: Path, as_json: bool) -> None:
    """Say whose box it is.

    The first member is the owner until another one is named.

    \b
    Example:
      pocket member owner "Ann Smith"
    """
    result = ask(data, "member.owner", member=member)
    if as_json:
        print_json(result)
    else:
        click.echo(f"{printable(member)} is the owner now")


@member.command("list")
@asks_box
def member_list(data: Path, as_json: bool) -> None:
    """All members with their devices and what waits for them.

    \b
    Examples:
      pocket member list
      pocket member list --json | jq -r .[].uid
    """
    members = ask(data, "member.list")
    if as_json:
        print_json(members)
    elif not members:
        click.echo(
            "no members yet: make one with   pocket member add NAME   or let one in with   pocket pair open"
        )
    else:
        rows = (
            (
                names(dig(member, "aliases")) + (" (owner)" if dig(member, "owner") else ""),
                dig(member, "uid"),
                f"{count(dig(member, 'devices'))} ({count(dig(member, 'online'))} online)",
                count(dig(member, "queued")),
            )
            for member in members
        )
        click.echo(table(("ALIASES", "UID", "DEVICES", "QUEUED"), rows, right=(3,)))


@member.command("show")
@click.argument("member", shell_complete=complete_member)
@asks_box
def member_show(member: str, data: Path, as_json: bool) -> None:
    """One member, by uid or alias, with groups and devices.

    \b
    Example:
      pocket member show "Ann Smith"
    """
    found = ask(data, "member.show", member=member)
    if as_json:
        print_json(found)
        return
    click.echo(
        facts(
            [
                ("aliases", names(dig(found, "aliases"))),
                ("uid", dig(found, "uid")),
                *([("owner", "of this box")] if dig(found, "owner") else []),
                ("groups", names(dig(found, "groups"))),
                ("queued", f"{count(dig(found, 'queued'))} messages for all devices"),
                ("stored", f"{size(dig(found, 'stored_octets'))} of messages sent and not yet delivered"),
            ]
        )
    )
    click.echo()
    click.echo(device_table(dig(found, "device_list") or [], whose=False))


@click.group()
def device() -> None:
    """The members' devices, each with its own queue.

    \b
    Examples:
      pocket device add "Ann Smith" tablet
      pocket device list
      pocket device drop "Ann Smith/old phone"
    """


@device.command("add")
@click.argument("member", shell_complete=complete_member)
@click.argument("label")
@click.option(
    "--membership",
    metavar="NAME",
    shell_complete=complete_name,
    help="A device of the member's account at another site: see   pocket membership",
)
@click.option(
    "--history",
    "history_s",
    type=HISTORY,
    metavar="SPAN",
    help="Of a membership: give it what came in this time, as far as it is kept: 90d, 1y.",
)
@card_options
@asks_box
def device_add(
    member: str,
    label: str,
    membership: str | None,
    history_s: int | None,
    svg: Path | None,
    png: Path | None,
    qr: bool | None,
    data: Path,
    as_json: bool,
) -> None:
    """Give a member another device.

    Shows what the device logs in with, once: the box keeps no more than a hash of the password. With
    `pocket pair code` nothing secret is shown.

    \b
    Examples:
      pocket device add "Ann Smith" tablet
      pocket device add "Ann Smith" tablet --png tablet.png --no-qr
      pocket device add "Ann Smith" tablet --json | jq -r .uri
      pocket device add "Ann Smith" phone --membership Club --history 90d
    """
    more: dict[str, Any] = {}
    if membership is not None:
        more = {"membership": membership} | ({} if history_s is None else {"history_s": history_s})
    elif history_s is not None:
        raise click.UsageError("--history goes with --membership NAME")
    with pictures(svg, png) as files:
        login = ask(data, "device.add", member=member, label=label, **more)
        show_card(login, files, as_json, qr, SHOWN_ONCE, LOGIN_KEYS if membership else None)


@device.command("show")
@click.argument("device", shell_complete=complete_device)
@card_options
@asks_box
def device_show(
    device: str, svg: Path | None, png: Path | None, qr: bool | None, data: Path, as_json: bool
) -> None:
    """One device, and where it logs in.

    The password is not known: for a new one add another device and drop this one. DEVICE is its number in
    `pocket device list`, or MEMBER/LABEL.

    \b
    Examples:
      pocket device show 17
      pocket device show "Ann Smith/phone"
    """
    with pictures(svg, png) as files:
        found = ask(data, "device.show", device=device)
        waits = f"{count(dig(found, 'queued'))} messages, {size(dig(found, 'queued_octets'))}, wait for it"
        show_card(found, files, as_json, qr, f"{'online' if dig(found, 'online') else 'offline'}; {waits}")


@device.command("list")
@click.argument("member", required=False, shell_complete=complete_member)
@asks_box
def device_list(member: str | None, data: Path, as_json: bool) -> None:
    """Devices, and what waits for them.

    All of them, or those of one MEMBER (a uid or an alias).

    \b
    Examples:
      pocket device list
      pocket device list "Ann Smith"
    """
    devices = ask(data, "device.list") if member is None else ask(data, "device.list", member=member)
    if as_json:
        print_json(devices)
    elif not devices:
        click.echo("no devices yet: make one with   pocket device add MEMBER LABEL")
    else:
        click.echo(device_table(devices, whose=True))


@device.command("drop")
@click.argument("device", shell_complete=complete_device)
@click.option("--yes", is_flag=True, help="Do not ask whether you are sure.")
@asks_box
def device_drop(device: str, yes: bool, data: Path, as_json: bool) -> None:
    """Drop a lost device.

    It can never log in again, and its queue is deleted.

    DEVICE is its number in `pocket device list`, or MEMBER/LABEL.

    \b
    Examples:
      pocket device drop 17
      pocket device drop "Ann Smith/old phone"
    """
    if not yes and not as_json and at_terminal():
        click.confirm(f"Drop {device} and delete what waits for it?", abort=True)
    result = ask(data, "device.drop", device=device)
    if as_json:
        print_json(result)
    else:
        click.echo(f"dropped {device}")


def at_terminal() -> bool:
    """Whether there is a person to ask."""
    return sys.stdin is not None and sys.stdin.isatty()


@click.group()
def group() -> None:
    """The site's groups.

    \b
    Example:
      pocket group list
    """


@group.command("list")
@asks_box
def group_list(data: Path, as_json: bool) -> None:
    """All groups with who is in, invited and barred.

    \b
    Examples:
      pocket group list
      pocket group list --json
    """
    groups = ask(data, "group.list")
    if as_json:
        print_json(groups)
    elif not groups:
        click.echo("no groups yet: a member's client makes one by inviting somebody to it")
    else:
        rows = (
            (
                dig(one, "gid"),
                names(dig(one, "members")),
                names(dig(one, "invited")),
                names(dig(one, "barred")),
            )
            for one in groups
        )
        click.echo(table(("GROUP", "MEMBERS", "INVITED", "BARRED"), rows))


def device_table(devices: list[Any], whose: bool) -> str:
    """Devices for people; `whose`: with a column for the member. Memberships have one where it tells
    something.
    """
    of = {dig(one, "membership") for one in devices}
    elsewhere = len(of) > 1 or (whose and of != {None})
    heads = ["DEVICE", *(["MEMBER"] if whose else []), *(["MEMBERSHIP"] if elsewhere else [])]
    heads += ["LABEL", "ONLINE", "QUEUED", "SIZE", "OLDEST"]
    rows = []
    for one in devices:
        owner = dig(one, "alias") or dig(one, "member") or dig(one, "uid") or NONE
        oldest_s = dig(one, "oldest_s")
        rows.append(
            [
                str(dig(one, "device")),
                *([owner] if whose else []),
                *([dig(one, "membership") or NONE] if elsewhere else []),
                dig(one, "label"),
                "yes" if dig(one, "online") else "no",
                count(dig(one, "queued")),
                size(dig(one, "queued_octets")),
                age(oldest_s) if dig(one, "queued") else NONE,
            ]
        )
    last = len(heads)
    return table(heads, rows, right=(0, last - 3, last - 2, last - 1))
