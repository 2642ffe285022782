"""`pocket membership`: accounts at other sites, which the box keeps."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from appliance.cli.certificates import SITE_ANSWER_S, bare, look
from appliance.cli.common import ask, asks_box, candidates, print_json
from appliance.cli.people import at_terminal, complete_member, device_table
from appliance.cli.prompts import secret
from appliance.cli.spans import span
from appliance.cli.tables import NONE, age, count, dig, facts, printable, size, table

METERED = span(60, 7 * 86400, "30m or 2h")


def complete_membership(context: click.Context, _: click.Parameter, start: str) -> list[CompletionItem]:
    found = [_title(each) for each in candidates(context, "membership.list")]
    return [CompletionItem(name) for name in found if name.startswith(start)]


@click.group()
def membership() -> None:
    """The members' accounts at other sites.

    The box stays logged in there, keeps what comes, and sends what the devices write.

    \b
    Examples:
      pocket membership add "Ann Smith" =club.example.org:4433 --alias "Ann Smith"
      pocket device add "Ann Smith" phone --membership Club
      pocket membership list
      pocket membership set Club --metered 30m
    """


def joining(command: Any) -> Any:
    """What the two words share that begin a membership."""
    for option in (
        click.option("--yes", is_flag=True, help="Do not ask whether the certificate is the right one."),
        click.option(
            "--fingerprint", metavar="SHA256:HEX", help="Go on only if the site's certificate has this one."
        ),
        click.option("--alias", metavar="ALIAS", help="What the others there find the member by."),
        click.option("--name", metavar="NAME", help="What it is called here. Not given: the site's name."),
        click.argument("address"),
        click.argument("member", shell_complete=complete_member),
    ):
        command = option(command)
    return command


@membership.command("add")
@joining
@click.option("--no-login", is_flag=True, help="Register without a login provider, where the site allows it.")
@asks_box
def membership_add(
    member: str,
    address: str,
    name: str | None,
    alias: str | None,
    fingerprint: str | None,
    no_login: bool,
    yes: bool,
    data: Path,
    as_json: bool,
) -> None:
    """Make MEMBER a member of another site.

    ADDRESS is what people type to get there: =HOST:PORT for a site with a certificate of its own, whose
    fingerprint is shown and remembered, or +HOST:PORT for one that an authority vouches for. Where the site
    asks for a login with OpenID Connect, the address to open is shown, and you type where the browser is sent
    to then. The account there belongs to the member, and the box is its first device.

    \b
    Examples:
      pocket membership add "Ann Smith" =club.example.org:4433 --alias "Ann Smith"
      pocket membership add "Ann Smith" +work.example.com:443 --name Work --yes
    """
    found = look(data, member, address, fingerprint, yes or as_json)
    oidc = None
    if dig(found, "auth"):
        from appliance.cli.vouching import vouch

        oidc = {} if no_login else vouch(dig(found, "authby"))
    _make("add", data, as_json, found, member, name=name, alias=alias, oidc=oidc)


@membership.command("adopt")
@joining
@click.option("--uid", required=True, metavar="UID", help="The member's uid at that site.")
@asks_box
def membership_adopt(
    member: str,
    address: str,
    name: str | None,
    alias: str | None,
    uid: str,
    fingerprint: str | None,
    yes: bool,
    data: Path,
    as_json: bool,
) -> None:
    """Keep an account that MEMBER has already at another site.

    Add a new node (device) with a client that is logged in there: it shows a password for it. Type that when
    you are asked, or let it come from the standard input. The box is that node from then on.

    \b
    Examples:
      pocket membership adopt "Ann Smith" =club.example.org:4433 --uid 6ZQ4K%...
      pocket membership adopt "Ann Smith" =club.example.org:4433 --uid 6ZQ4K%... < password.txt
    """
    found = look(data, member, address, fingerprint, yes or as_json)
    password = secret("password of the new node")
    _make("adopt", data, as_json, found, member, name=name, alias=alias, uid=uid, node=password)


def _make(
    word: str, data: Path, as_json: bool, found: Any, member: str, *, name: str | None, **more: Any
) -> None:
    """Have the box keep an account of the member at the site that was ``found``, and tell what came of it."""
    made = ask(
        data,
        f"membership.{word}",
        timeout_s=SITE_ANSWER_S,
        member=member,
        address=dig(found, "address"),
        fingerprint=dig(found, "fingerprint"),
        name=name or dig(found, "name"),
        **more,
    )
    if as_json:
        print_json(made)
        return
    name = printable(str(dig(made, "name")))
    click.echo(f"{name} is membership {dig(made, 'membership')}: {_state(made)}")
    if dig(made, "trouble"):
        click.echo(f"  ! {printable(str(dig(made, 'trouble')))}")
    click.echo(_device_hint(made))


def _device_hint(found: Any) -> str:
    member = _quoted(dig(found, "member_alias") or dig(found, "member"))
    return (
        f"give it a device with   pocket device add {member} LABEL --membership {_quoted(dig(found, 'name'))}"
    )


def _quoted(text: Any) -> str:
    plain = printable(str(text))
    return f'"{plain}"' if " " in plain else plain


@membership.command("list")
@click.argument("member", required=False, shell_complete=complete_member)
@asks_box
def membership_list(member: str | None, data: Path, as_json: bool) -> None:
    """All memberships, and how they are.

    \b
    Examples:
      pocket membership list
      pocket membership list "Ann Smith"
      pocket membership list --json | jq '.[] | select(.outbox > 0)'
    """
    args: dict[str, Any] = {} if member is None else {"member": member}
    found = ask(data, "membership.list", **args)
    if as_json:
        print_json(found)
    elif not found:
        click.echo("no memberships yet: make one with   pocket membership add MEMBER =HOST:PORT")
    else:
        rows = (
            (
                dig(each, "membership"),
                dig(each, "member_alias") or dig(each, "member"),
                dig(each, "name"),
                dig(each, "address"),
                _state(each),
                count(dig(each, "devices")),
                count(dig(each, "outbox")),
                count(dig(each, "archived")),
            )
            for each in found
        )
        heads = ("NUMBER", "MEMBER", "NAME", "ADDRESS", "STATE", "DEVICES", "TO SEND", "KEPT")
        click.echo(table(heads, rows, right=(0, 5, 6, 7)))


@membership.command("show")
@click.argument("membership", shell_complete=complete_membership)
@asks_box
def membership_show(membership: str, data: Path, as_json: bool) -> None:
    """One membership, with its devices.

    MEMBERSHIP is its number in `pocket membership list`, its name, or MEMBER/NAME.

    \b
    Examples:
      pocket membership show Club
      pocket membership show "Ann Smith/Club"
    """
    found = ask(data, "membership.show", membership=membership)
    if as_json:
        print_json(found)
        return
    waits = f"{count(dig(found, 'outbox'))} requests, {size(dig(found, 'outbox_octets'))}"
    if dig(found, "outbox"):
        waits += f", the oldest waiting for {age(dig(found, 'outbox_oldest_s'))}"
    metered = dig(found, "metered_s")
    kept = f"{count(dig(found, 'archived'))} messages, {size(dig(found, 'archived_octets'))}"
    click.echo(
        facts(
            [
                ("membership", f"{dig(found, 'membership')} ({dig(found, 'name')})"),
                ("member", dig(found, "member_alias") or dig(found, "member")),
                ("site", dig(found, "site") or NONE),
                ("address", dig(found, "address")),
                ("uid there", dig(found, "uid")),
                ("alias there", dig(found, "alias") or NONE),
                ("certificate", _certificate(found)),
                ("state", _state(found)),
                *([("problem", problem)] if (problem := dig(found, "trouble")) else []),
                *(
                    [("it shows now", f"{new}: see   pocket membership repin")]
                    if (new := dig(found, "offered"))
                    else []
                ),
                ("connects", f"every {age(metered)}" if metered else "always"),
                ("to send", waits),
                ("kept", kept),
                ("boxes", f"{count(dig(found, 'boxes'))} can log in there"),
            ]
        )
    )
    click.echo()
    devices = dig(found, "device_list") or []
    click.echo(device_table(devices, whose=False) if devices else f"no devices yet: {_device_hint(found)}")


@membership.command("drop")
@click.argument("membership", shell_complete=complete_membership)
@click.option("--yes", is_flag=True, help="Do not ask.")
@asks_box
def membership_drop(membership: str, yes: bool, data: Path, as_json: bool) -> None:
    """Keep a membership no more.

    Its devices cannot log in any more, and what is kept of it and what waits to be sent is deleted. The
    account at the other site stays as it is; a client that has a node of its own there can go on with it.

    \b
    Examples:
      pocket membership drop Club
      pocket membership drop 12 --yes
    """
    found = ask(data, "membership.show", membership=membership)
    lost = (
        f"{count(dig(found, 'outbox'))} requests that were not sent yet, {count(dig(found, 'archived'))} kept"
        f" messages and {count(dig(found, 'devices'))} devices"
    )
    if not yes and os.environ.get("POCKET_CONFIRMED") != "1":
        if as_json or not at_terminal():
            raise click.ClickException(f"that would delete {lost}, for good: if you are sure, add --yes")
        click.confirm(f"Drop {_title(found)}, with {lost}, for good?", abort=True)
    result = ask(data, "membership.drop", membership=str(dig(found, "membership")))
    print_json(result) if as_json else click.echo(f"dropped {_title(found)}: gone are {lost}")


@membership.command("resume")
@click.argument("membership", shell_complete=complete_membership)
@asks_box
def membership_resume(membership: str, data: Path, as_json: bool) -> None:
    """Try again now.

    The box stops trying when the site refuses it for good, such as a password that is not right. Also ends
    the wait between two attempts, or between two looks of a metered membership.

    \b
    Example:
      pocket membership resume Club
    """
    result = ask(data, "membership.resume", timeout_s=SITE_ANSWER_S, membership=membership)
    print_json(result) if as_json else click.echo(f"{_title(result)}: {_state(result)}")


@membership.command("set")
@click.argument("membership", shell_complete=complete_membership)
@click.option(
    "--metered",
    "metered_s",
    type=METERED,
    metavar="SPAN",
    help="Connect only so often, to fetch and to send: 30m, 2h, 1d.",
)
@click.option("--always", is_flag=True, help="Stay connected.")
@asks_box
def membership_set(membership: str, metered_s: int | None, always: bool, data: Path, as_json: bool) -> None:
    """Say how often the box connects to a site.

    Where the Internet costs by the minute or the octet. Presence of others is seen while it is connected.

    \b
    Examples:
      pocket membership set Club --metered 30m
      pocket membership set Club --always
    """
    if (metered_s is not None) == always:
        raise click.UsageError("say one of --metered SPAN and --always")
    result = ask(data, "membership.set", membership=membership, metered_min=(metered_s or 0) // 60)
    if as_json:
        print_json(result)
    else:
        every = f"every {age(metered_s)}" if metered_s else "always"
        click.echo(f"{_title(result)} connects {every}")


@membership.command("repin")
@click.argument("membership", shell_complete=complete_membership)
@click.option(
    "--fingerprint", metavar="SHA256:HEX", help="The new one, as the site's people say. Nothing is asked."
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@asks_box
def membership_repin(membership: str, fingerprint: str | None, yes: bool, data: Path, as_json: bool) -> None:
    """Trust a site's new certificate.

    A site with a certificate of its own (=HOST:PORT) is known by its fingerprint. When that changes the box
    does not log in any more: either the site has made a new one, or somebody is in between. Ask its people,
    by another way than this, which fingerprint is theirs.

    \b
    Examples:
      pocket membership repin Club
      pocket membership repin Club --fingerprint SHA256:9F86D081...
    """
    found = ask(data, "membership.look", timeout_s=SITE_ANSWER_S, membership=membership)
    old, new = str(dig(found, "pinned")), str(dig(found, "fingerprint"))
    if str(dig(found, "address")).startswith("+"):
        raise click.ClickException("an authority vouches for this site's certificate: nothing is remembered")
    if fingerprint is not None and bare(fingerprint) != bare(new):
        raise click.ClickException(f"the site shows another one: {new}; nothing was changed")
    if not as_json:
        click.echo(facts([("until now", old), ("now", new)]))
    if bare(old) == bare(new):
        if not as_json:
            click.echo(
                "that is the same certificate: if nothing is tried any more, say   pocket membership resume"
            )
    elif not yes and fingerprint is None:
        if as_json or not at_terminal():
            raise click.ClickException("if the new one is the site's, say so: add it with --fingerprint")
        click.confirm("Do the site's people say that the new one is theirs?", abort=True)
    result = ask(data, "membership.repin", timeout_s=SITE_ANSWER_S, membership=membership, fingerprint=new)
    print_json(result) if as_json else click.echo(f"{_title(result)}: {_state(result)}")


def _title(found: Any) -> str:
    """MEMBER/NAME."""
    return printable(f"{dig(found, 'member_alias') or dig(found, 'member')}/{dig(found, 'name')}")


def _certificate(found: Any) -> str:
    if str(dig(found, "address")).startswith("+"):
        return "an authority vouches for it"
    return str(dig(found, "fingerprint") or NONE)


def _state(found: Any) -> str:
    """How a membership is, in a few words."""
    state, since_s, next_s = dig(found, "state"), dig(found, "since_s"), dig(found, "next_try_s")
    told = str(state)
    if isinstance(since_s, int | float):
        told += f" for {age(since_s)}"
    if next_s and state != "online":
        told += f", next try in {age(next_s)}"
    return told
