"""`pocket peer`: the boxes of the site."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from appliance.cli.common import ask, asks_box, candidates, print_json
from appliance.cli.pairing import wait_for
from appliance.cli.tables import NONE, age, count, dig, facts, names, printable, table

FAILOVER_ANSWER_S = 90.0
"""What coming back takes at most, beside the seconds that were asked for."""
OUTCOMES = {
    "paired": "paired: the new box fetches everything now; see   pocket peer list",
    "void": "a wrong code was tried, on the other box or by somebody else in the network: this code is void",
    "lost": "the other box went away before it had everything: invite it again",
    "expired": "nobody used the code in time",
}


@click.group()
def peer() -> None:
    """The boxes of the site, each with a copy of everything.

    \b
    Examples:
      pocket peer invite                         on this box
      pocket peer join 1482-1396                 on the new one
      pocket peer list                           who has what; is it safe to unplug one?
      pocket peer revoke kitchen                 a box that was stolen or is broken for good
    """


def complete_box(context: click.Context, _parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """Names and ids of the other boxes that begin with `typed`."""
    found = candidates(context, "peer.list", of="boxes")
    known = [str(dig(box, key)) for box in found if not dig(box, "own") for key in ("name", "box")]
    return [CompletionItem(each) for each in known if each.startswith(typed)]


@peer.command("invite")
@click.option("--wait", is_flag=True, help="Wait for what becomes of it; the exit code is 1 if nothing does.")
@asks_box
def peer_invite(wait: bool, data: Path, as_json: bool) -> None:
    """Let another box join this site.

    Shows a code, good for 5 minutes and one guess, and what to type on the other box: a new one, or one that
    was reset to factory state. It will have everything that this one has.

    \b
    Examples:
      pocket peer invite
      pocket peer invite --wait
    """
    made = ask(data, "peer.invite")
    if as_json:
        print_json(made, indent=None if wait else 2)
    else:
        addresses = dig(made, "addresses") or [""]
        code = dig(made, "code")
        click.echo(facts([("code", code), ("addresses", names(addresses))]))
        click.echo(f"good for {age(dig(made, 'open_s'))} and one guess. On the other box type:")
        click.echo(f"  pocket peer join {code}")
        click.echo("or, when that does not find this box:")
        click.echo(f"  pocket peer join {addresses[0]} {code}")
    if wait:
        wait_for(data, dig(made, "number"), as_json, OUTCOMES)


@peer.command("join")
@click.argument("where_and_code", nargs=-1, required=True, metavar="[ADDRESS] CODE")
@asks_box
def peer_join(where_and_code: tuple[str, ...], data: Path, as_json: bool) -> None:
    """Make this blank box one of another box's site.

    CODE is what `pocket peer invite` shows there. Without ADDRESS the other box is looked for in the home
    network. Returns when this box has everything and serves; what is interrupted, also by a power cut, goes
    on by itself.

    \b
    Examples:
      pocket peer join 1482-1396
      pocket peer join =192.168.1.5:4433 1482-1396
    """
    from appliance.cli.following import follow, inviting_addresses
    from appliance.cli.joining import split_address
    from appliance.pairing import BadCode, Code

    if len(where_and_code) > 2:
        raise click.UsageError("give an address and a code, or the code alone")
    *given, typed = where_and_code
    for address in given:
        split_address(address)
    try:
        code = Code.parse(typed)
    except BadCode as error:
        raise click.BadParameter(str(error)) from None
    addresses = given or inviting_addresses(data)
    began = time.monotonic()
    joined = ask(data, "peer.join", timeout_s=120.0, addresses=addresses, code=code.digits)
    click.echo(f"paired with {printable(str(dig(joined, 'site')))}: fetching everything", err=True)
    done = follow(data, str(dig(joined, "box")))
    result = {**joined, **done, "took_s": round(time.monotonic() - began, 1)}
    if as_json:
        print_json(result)
    else:
        took = age(result["took_s"])
        click.echo(f"done in {took}: this box has everything and serves {printable(str(result['site']))}")


@peer.command("list")
@asks_box
def peer_list(data: Path, as_json: bool) -> None:
    """All boxes, and who has what.

    Says on how many boxes everything is, how far each of them is behind, and whether this one may be
    unplugged.

    \b
    Examples:
      pocket peer list
      pocket peer list --json | jq .safe_to_unplug
    """
    result = ask(data, "peer.list")
    if as_json:
        print_json(result)
        return
    if joining := dig(result, "joining"):
        click.echo(f"joining {printable(str(dig(joining, 'site')))}: {printable(str(dig(joining, 'text')))}")
    boxes = dig(result, "boxes") or []
    if boxes:
        rows = (
            (
                dig(box, "name") + (" (this one)" if dig(box, "own") else ""),
                dig(box, "box"),
                state(box),
                behind(box),
                (dig(box, "addresses") or [NONE])[0],
                seen(box),
            )
            for box in boxes
        )
        click.echo(table(("BOX", "ID", "STATE", "BEHIND", "ADDRESS", "SEEN"), rows))
    comparison = [("compare", words)] if (words := dig(result, "comparison.words")) else []
    click.echo(facts([*comparison, *standing(result)]))
    if missing := dig(result, "missing"):
        click.echo(f"! {printable(str(missing))}")
    if len(boxes) == 1 and not joining:
        click.echo("there is one box only: invite another one with   pocket peer invite")


def standing(result: Any) -> list[tuple[str, object]]:
    """How safe it all is."""
    acks = dig(result, "one_copy_acks")
    safe = "yes" if dig(result, "safe_to_unplug") else "no"
    return [
        ("copies", count(dig(result, "copies"))),
        ("one-copy acks", f"{count(acks)} since the start"),
        ("safe to unplug", f"{safe}: {dig(result, 'why')}"),
    ]


def state(box: Any) -> str:
    copied = dig(box, "copied")
    if dig(box, "state") == "joining" and isinstance(copied, list) and copied[1]:
        return f"joining, {copied[0] / copied[1]:.0%}"
    if dig(box, "state") == "replaced":
        return f"replaced by {dig(box, 'replaced_by')}"
    return str(dig(box, "state"))


def behind(box: Any) -> str:
    entries = dig(box, "behind_entries")
    if (
        dig(box, "own")
        or dig(box, "state") in ("revoked", "replaced", "joining", "never seen")
        or entries is None
    ):
        return NONE
    if entries:
        return f"{count(entries)} entries, {age(dig(box, 'behind_s'))}"
    absent = dig(box, "absent")
    return f"{count(absent)} attachments" if absent else "0"


def seen(box: Any) -> str:
    if dig(box, "own") or dig(box, "state") in ("revoked", "replaced"):
        return NONE
    seen_s = dig(box, "seen_s")
    if seen_s is None:
        return "not since the start"
    return "now" if dig(box, "linked") else f"{age(seen_s)} ago"


@peer.command("show")
@click.argument("box", shell_complete=complete_box)
@asks_box
def peer_show(box: str, data: Path, as_json: bool) -> None:
    """One box, by its name or id.

    \b
    Example:
      pocket peer show kitchen
    """
    found = ask(data, "peer.show", box=box)
    if as_json:
        print_json(found)
        return
    cut = dig(found, "cut")
    click.echo(
        facts(
            [
                ("name", dig(found, "name")),
                ("id", dig(found, "box")),
                ("state", state(found)),
                *(
                    [("was", f"{was}, until its card was put back or copied")]
                    if (was := dig(found, "was"))
                    else []
                ),
                *([("problem", problem)] if (problem := dig(found, "problem")) else []),
                ("addresses", names(dig(found, "addresses"))),
                ("behind", behind(found)),
                ("seen", seen(found)),
                ("slot", dig(found, "slot")),
                ("journal", f"{count(dig(found, 'entries'))} entries of it are here"),
                *([("revoked", f"its entries count up to {count(cut)}")] if cut is not None else []),
                ("key", dig(found, "public")),
            ]
        )
    )


@peer.command("revoke")
@click.argument("box", shell_complete=complete_box)
@click.option("--yes", is_flag=True, help="Do not ask.")
@asks_box
def peer_revoke(box: str, yes: bool, data: Path, as_json: bool) -> None:
    """Put a box out for good: stolen, broken, given away.

    It works from any box, also when that one is off. What it writes from now on is refused by all others, and
    they answer it no more. The site gets a new certificate and key, because the old ones are on that box:
    clients that pinned the certificate ask whether to trust the new one. To have the box back, reset it to
    factory state and let it join anew.

    \b
    Examples:
      pocket peer revoke kitchen
      pocket peer revoke kitchen --yes
    """
    if not yes and os.environ.get("POCKET_CONFIRMED") != "1":
        found = ask(data, "peer.show", box=box)
        name = str(dig(found, "name"))
        click.echo(f"{printable(name)} can never come back as it is, and every device will be asked to trust")
        click.echo("a new certificate.")
        typed = click.prompt(f"To go on, type its name: {printable(name)}", default="", show_default=False)
        if typed.strip() not in (name, dig(found, "box")):
            raise click.ClickException("nothing was changed")
    result = ask(data, "peer.revoke", timeout_s=60.0, box=box)
    if as_json:
        print_json(result)
        return
    click.echo(f"revoked {printable(str(dig(result, 'name')))}")
    if dig(result, "fingerprint"):
        click.echo(f"compare on each device: the certificate is now {dig(result, 'fingerprint')}")
    for hint in dig(result, "to_do") or []:
        click.echo(f"  ! {printable(str(hint))}")


@peer.command("keepalived")
@click.option(
    "--address",
    "shared",
    metavar="A/LEN",
    help="The address that the boxes share: one of your network that nothing else uses.",
)
@click.option(
    "--interface", metavar="IF", help="This box's network interface. Not given: that of its address."
)
@asks_box
def peer_keepalived(shared: str | None, interface: str | None, data: Path, as_json: bool) -> None:
    """Print a configuration for keepalived.

    For clients that know one address only and no .local names: the boxes share one more address, and one that
    serves has it (VRRP, unicast). Say it on each box, and install what it prints there.

    \b
    Examples:
      pocket peer keepalived --address 192.168.1.250/24
      pocket peer keepalived --address 192.168.1.250/24 > /etc/keepalived/keepalived.conf
    """
    from appliance.cli.keepalived import configuration, parse_shared, suggestion

    result = ask(data, "peer.list")
    if shared is None:
        raise click.UsageError(
            "--address is missing: an address of your network that nothing uses and that the router gives to"
            f" nobody, {suggestion(result)}"
        )
    text = configuration(result, parse_shared(shared), interface, data.absolute())
    print_json({"config": text}) if as_json else click.echo(text, nl=False)


@peer.command("test-failover")
@click.option(
    "--seconds",
    type=click.FloatRange(1, 120),
    default=10.0,
    metavar="SECONDS",
    help="How long this box stays away. [10]",
)
@asks_box
def peer_test_failover(seconds: float, data: Path, as_json: bool) -> None:
    """Play dead for a moment, and see what the others do.

    This box cuts all links, takes no new ones and gives up its .local name, as if somebody had pulled the
    plug. It comes back by itself. Devices should go on at another box; the exit code is 1 if there is none
    that serves.

    \b
    Examples:
      pocket peer test-failover
      pocket peer test-failover --seconds 30 --json
    """
    if not as_json:
        click.echo(f"asking this box to play dead for {age(seconds)}", err=True)
    result = ask(data, "peer.failover", timeout_s=seconds + FAILOVER_ANSWER_S, seconds=seconds)
    if as_json:
        print_json(result)
    else:
        rows = (
            (
                dig(box, "name"),
                "yes" if dig(box, "served") else f"no: {dig(box, 'why')}",
                f"{dig(box, 'answered_ms')} ms" if dig(box, "served") else NONE,
                count(dig(box, "entries")),
                age(dig(box, "caught_up_s")) if dig(box, "caught_up_s") is not None else "not yet",
            )
            for box in dig(result, "boxes") or []
        )
        click.echo(table(("BOX", "SERVED", "ANSWERED", "WROTE", "CAUGHT UP AFTER"), rows))
        click.echo(
            facts(
                [
                    ("devices", f"{count(dig(result, 'devices'))} were logged in here and were cut off"),
                    ("name", local_name(result)),
                ]
            )
        )
    if not any(dig(box, "served") for box in dig(result, "boxes") or []):
        raise click.ClickException("no other box served meanwhile: see   pocket peer list")


def local_name(result: Any) -> str:
    host, taken_s = dig(result, "host"), dig(result, "host_taken_s")
    if not host:
        return "not announced by this box"
    if taken_s is None:
        return f"{host} was taken over by no other box"
    return f"{host} led to another box after {taken_s:g} s"
