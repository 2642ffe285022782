"""`pocket find`: the boxes in the home network."""

from __future__ import annotations

import click

from appliance.cli.common import json_option, print_json
from appliance.cli.tables import table

NONE = (
    "no box answered: is it on and in this network? Guest Wi-Fi often keeps devices apart;"
    " typing the address always works"
)


@click.command()
@json_option
@click.option(
    "--seconds",
    type=click.FloatRange(0.5, 60),
    default=3.0,
    metavar="SECONDS",
    help="How long to listen for answers. [3]",
)
def find(seconds: float, as_json: bool) -> None:
    """List the boxes in this network (mDNS).

    \b
    Examples:
      pocket find
      pocket find --seconds 10 --json
    """
    from appliance.discovery import DiscoveryError, find_now

    try:
        found = find_now(seconds)
    except DiscoveryError as error:
        raise click.ClickException(str(error)) from None
    if as_json:
        print_json([{name: getattr(box, name) for name in box.__slots__} for box in found])
        return
    if not found:
        raise click.ClickException(NONE)
    rows = []
    for box in found:
        address = box.addresses[0] if box.addresses else box.host
        typed = f"=[{address}]:{box.port}" if ":" in address else f"={address}:{box.port}"
        pairing = "pairing open" if box.pairing else ""
        rows.append([box.name, typed, box.host, box.id, box.version, pairing])
    click.echo(table(["name", "address", "host", "id", "version", ""], rows))
