"""`pocket config`: the settings in force, and what is wrong with a file."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import click

from appliance.cli.common import data_option, json_option, print_json
from appliance.cli.serve import config_options, find_config_file, need_config


@click.group()
def config() -> None:
    """The box's settings, and what is wrong with them.

    Without a file everything has a sane default.

    \b
    Examples:
      pocket config show > data/pocket.toml      a file to edit, every option explained
      pocket config check                        what is wrong with it, and in which line
    """


@config.command("show")
@config_options
@json_option
def config_show(as_json: bool, **options: Any) -> None:
    """Print the settings in force.

    As a configuration file with every option explained. It takes the options of `pocket serve`, and prints
    what that would use.

    \b
    Examples:
      pocket config show
      pocket config show --config /etc/pocket/pocket.toml --set limits.links=100
      pocket config show --json | jq .limits
    """
    from appliance.config import render

    shown = need_config(**options)
    if as_json:
        print_json(plain(shown))
    else:
        click.echo(render(shown), nl=False)


@config.command("check")
@click.argument("file", required=False, type=click.Path(path_type=Path), envvar="POCKET_CONFIG")
@data_option
@json_option
def config_check(file: Path | None, data: Path, as_json: bool) -> None:
    """List everything that is wrong with a file.

    Each problem comes with its line. Without FILE it is the one that `pocket serve` would take. The exit
    code is 1 if anything is wrong.

    \b
    Examples:
      pocket config check
      pocket config check /etc/pocket/pocket.toml
    """
    from appliance.config import ConfigError, load
    from appliance.edges.settings import objections

    file = find_config_file(file, data)
    problems: tuple[Any, ...] = ()
    try:
        load(file, objections=objections)
    except ConfigError as error:
        problems = error.problems
    if as_json:
        print_json([{"where": problem.where, "text": problem.text} for problem in problems])
    elif problems:
        for problem in problems:
            click.echo(str(problem))
    else:
        click.echo(
            f"{file} is right" if file else "there is no configuration file: all defaults are in force"
        )
    if problems:
        raise SystemExit(1)


def plain(value: Any) -> Any:
    """Settings as JSON can hold them: octets and seconds as numbers, addresses and paths as texts."""
    if dataclasses.is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        return [plain(item) for item in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
