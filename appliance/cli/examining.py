"""`pocket doctor`: what is wrong, and what to do."""

from __future__ import annotations

import dataclasses
from typing import Any

import click

from appliance.cli.common import json_option, print_json
from appliance.cli.serve import config_options, need_config
from appliance.cli.tables import table


@click.command()
@config_options
@json_option
def doctor(as_json: bool, **options: Any) -> None:
    """Look at everything the box needs.

    Says what is wrong and what to do: data folder, disk, certificate, port, network, clock, serial ports,
    lights and button. Works with and without a running box, and takes the options of `pocket serve`. The
    exit code is 1 if anything is wrong.

    \b
    Examples:
      pocket doctor
      sudo -u pocket pocket doctor
      pocket doctor --json | jq '.[] | select(.ok | not)'
    """
    from appliance.doctor import examine

    findings = list(examine(need_config(**options)))
    bad = [finding for finding in findings if not finding.ok]
    if as_json:
        print_json([dataclasses.asdict(finding) for finding in findings])
    else:
        rows: list[tuple[str, str, str]] = []
        for finding in findings:
            rows.append(("ok" if finding.ok else "PROBLEM", finding.topic, finding.what))
            if finding.do:
                rows.append(("", "", f"-> {finding.do}"))
        click.echo(table(("", "looked at", "found, and -> what to do"), rows))
        click.echo("nothing is wrong" if not bad else f"{len(bad)} of {len(findings)} need a hand")
    if bad:
        raise SystemExit(1)
