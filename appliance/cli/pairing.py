"""`pocket pair`: let somebody in."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from appliance.cli.cards import card_options, pictures, show_card
from appliance.cli.common import ask, asks_box, json_option, print_json
from appliance.cli.people import complete_member
from appliance.cli.tables import age, dig, facts, printable

LOOK_EVERY_S = 0.5
OUTCOMES = {
    "paired": "paired: the device can log in",
    "void": "a wrong code was tried, from the device or by somebody else in the network: this code is void",
    "lost": "the device went away before it had everything: make another code",
    "expired": "nobody used the code in time",
}


@click.group()
def pair() -> None:
    """Let new members or devices in, for a few minutes.

    \b
    Examples:
      pocket pair open                           let a new member register
      pocket pair code "Ann Smith" tablet        let one device of a member in
      pocket pair close
    """


@pair.command("open")
@click.option(
    "--minutes",
    type=click.FloatRange(0, 60, min_open=True),
    default=2.0,
    metavar="N",
    help="For how long. [2]",
)
@asks_box
def pair_open(minutes: float, data: Path, as_json: bool) -> None:
    """Let new members register for a few minutes.

    \b
    Examples:
      pocket pair open
      pocket pair open --minutes 10
    """
    result = ask(data, "pair.open", minutes=minutes)
    if as_json:
        print_json(result)
        return
    click.echo(f"pairing is open for {age(minutes * 60)}: in the client, add an account with this address")
    click.echo(facts([("address", dig(result, "address")), ("fingerprint", dig(result, "fingerprint"))]))


@pair.command("close")
@asks_box
def pair_close(data: Path, as_json: bool) -> None:
    """Let nobody in from now on.

    It closes the window and takes back all codes.

    \b
    Example:
      pocket pair close
    """
    result = ask(data, "pair.close")
    if as_json:
        print_json(result)
    else:
        click.echo("pairing is closed")


@pair.command("show")
@asks_box
def pair_show(data: Path, as_json: bool) -> None:
    """Whether somebody can come in now.

    \b
    Example:
      pocket pair show
    """
    result = ask(data, "pair.show")
    if as_json:
        print_json(result)
        return
    open_s = dig(result, "pairing_open_s")
    pairs: list[tuple[str, object]] = [("registration", dig(result, "registration"))]
    pairs += [("window", f"open for another {age(open_s)}" if open_s else "closed")]
    pairs += [(f"code {dig(code, 'number')}", told(code)) for code in dig(result, "codes") or []]
    click.echo(facts(pairs))


def told(code: Any) -> str:
    state = dig(code, "state")
    left = f", good for another {age(dig(code, 'open_s'))}" if state == "open" else ""
    return f"{state}{left}, for {'another box' if dig(code, 'kind') == 'box' else dig(code, 'label')}"


@pair.command("code")
@click.argument("member", shell_complete=complete_member)
@click.argument("label")
@click.option("--wait", is_flag=True, help="Wait for what becomes of it; the exit code is 1 if nothing does.")
@asks_box
def pair_code(member: str, label: str, wait: bool, data: Path, as_json: bool) -> None:
    """Show a code that lets one device in.

    Type the code into the device that is to be MEMBER's LABEL, within 5 minutes. It is good for one guess. On
    a computer with this command:  pocket pair join ADDRESS CODE

    \b
    Examples:
      pocket pair code "Ann Smith" tablet
      pocket pair code "Ann Smith" tablet --wait
    """
    made = ask(data, "pair.code", member=member, label=label)
    if as_json:
        print_json(made, indent=None if wait else 2)
    else:
        address = (dig(made, "addresses") or [""])[0]
        click.echo(facts([("code", dig(made, "code")), ("address", address)]))
        click.echo(f"good for {age(dig(made, 'open_s'))} and one guess: type both into {printable(label)}")
    if wait:
        wait_for(data, dig(made, "number"), as_json, OUTCOMES)


def wait_for(data: Path, number: int, as_json: bool, outcomes: Mapping[str, str]) -> None:
    """Tell what becomes of a code."""
    state = "open"
    while state in ("open", "given"):
        time.sleep(LOOK_EVERY_S)
        codes = dig(ask(data, "pair.show"), "codes") or []
        code = next((code for code in codes if dig(code, "number") == number), {"state": "expired"})
        state = str(dig(code, "state"))
    if as_json:
        print_json(code, indent=None)
    else:
        click.echo(outcomes.get(state, state))
    if state != "paired":
        raise SystemExit(1)


@pair.command("join")
@click.argument("address")
@click.argument("code")
@card_options
@json_option
def pair_join(
    address: str, code: str, svg: Path | None, png: Path | None, qr: bool | None, as_json: bool
) -> None:
    """Be the device that a box has shown a code for.

    ADDRESS and CODE are what `pocket pair code` shows at the box. Prints what a client here logs in with.

    \b
    Examples:
      pocket pair join =192.168.1.5:4433 1482-1396
      pocket pair join box.local 14821396 --json > login.json
    """
    from appliance.cli.joining import join, split_address
    from appliance.pairing import BadCode, Code, Invitation
    from appliance.pairing.uri import build

    split_address(address)
    try:
        parsed = Code.parse(code)
    except BadCode as error:
        raise click.BadParameter(str(error)) from None
    with pictures(svg, png) as files:
        gift = join(address, parsed)
        bare = tuple(known.lstrip("=+") for known in gift.addresses)
        try:
            uri = build(Invitation(bare, gift.uid, gift.node, gift.fingerprint, gift.site))
        except ValueError:
            uri = None
        login = {
            "site": gift.site,
            "uid": gift.uid,
            "node": gift.node,
            "addresses": gift.addresses,
            "fingerprint": gift.fingerprint,
            "uri": uri,
        }
        show_card(login, files, as_json, bool(qr))
