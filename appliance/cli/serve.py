"""`pocket serve`: run the box."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from appliance.cli import common
from appliance.cli.common import DATA_FOLDER, default_data
from appliance.control import ControlError, not_allowed

if TYPE_CHECKING:
    from appliance.config import Config

CONFIG_NAME = "pocket.toml"


def parse_assignments(
    _context: click.Context, _parameter: click.Parameter, given: tuple[str, ...]
) -> tuple[tuple[str, object], ...]:
    """Of each NAME=VALUE the name and the value, which is TOML or else a plain text."""
    return tuple(parse_assignment(text) for text in given)


def parse_assignment(text: str) -> tuple[str, object]:
    name, equals, value = (part.strip() for part in text.partition("="))
    if not equals or not name:
        raise click.BadParameter(f"{text!r} is no NAME=VALUE, as in delivery.window_messages=16")
    import tomllib  # not for a box that is told nothing

    try:
        return name, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return name, value


def config_options(command: Any) -> Any:
    """The options that say which configuration is meant."""
    for option in (
        click.option(
            "--set",
            "assignments",
            callback=parse_assignments,
            multiple=True,
            metavar="NAME=VALUE",
            help="Any option of the configuration file, as often as you like: --set limits.links=100.",
        ),
        click.option(
            "--panel",
            metavar="auto|leds|terminal|none",
            help="What shows how the box is: LEDs, a line in the terminal, or what there is. [auto]",
        ),
        click.option("--registration", metavar="open|pairing|closed", help="Who may register."),
        click.option("--name", metavar="NAME", help="The site's name, as clients see it."),
        click.option(
            "--listen", metavar="HOST:PORT", help="Where clients connect; port 0 takes any free one."
        ),
        click.option(
            "--config",
            "config_file",
            type=click.Path(path_type=Path),
            envvar="POCKET_CONFIG",
            metavar="FILE",
            help=f"The configuration file. Not given: $POCKET_CONFIG, {CONFIG_NAME} in the data folder, or "
            f"{common.INSTALLED_CONFIG} for an installed box.",
        ),
        click.option(
            "--data",
            type=DATA_FOLDER,
            envvar="POCKET_DATA",
            metavar="DIR",
            help="The data folder, made if missing. Not given: $POCKET_DATA, what the configuration file "
            "says, ./data or /var/lib/pocket.",
        ),
    ):
        command = option(command)
    return command


def find_config_file(config_file: Path | None, data: Path | None) -> Path | None:
    """The configuration file that is meant; None if there is none. A data folder of somebody else ends the
    command.
    """
    if config_file is not None:
        return config_file
    folder = data or default_data()
    places = [folder / CONFIG_NAME]
    if folder == common.INSTALLED_DATA:
        places.append(common.INSTALLED_CONFIG)
    try:
        return next((place for place in places if place.exists()), None)
    except PermissionError:
        raise click.ClickException(str(not_allowed(folder))) from None


def load_config(
    data: Path | None,
    config_file: Path | None,
    listen: str | None,
    name: str | None,
    registration: str | None,
    panel: str | None,
    assignments: tuple[tuple[str, object], ...],
) -> Config:
    """The configuration in force. Raises ConfigError."""
    from appliance.config import load
    from appliance.edges.settings import objections

    given = {"data": data, "listen": listen, "name": name, "registration": registration, "panel.show": panel}
    overrides = dict(assignments) | {key: value for key, value in given.items() if value is not None}
    return load(find_config_file(config_file, data), overrides, default_data(), objections)


def need_config(**options: Any) -> Config:
    """The configuration in force; what is wrong with it ends the command."""
    from appliance.config import ConfigError

    try:
        return load_config(**options)
    except ConfigError as error:
        raise click.ClickException(f"the configuration cannot be used:\n{error}") from None


@click.command()
@config_options
def serve(**options: Any) -> None:
    """Run the box until it is told to stop (Ctrl-C, SIGTERM).

    It prints the address to type into a client and the fingerprint to compare, and then "ready". What is
    given here wins over the configuration file.

    \b
    Examples:
      pocket serve
      pocket serve --data /srv/pocket --name Home --listen 0.0.0.0:4433
      pocket serve --panel terminal
      pocket serve --registration open --set limits.message_octets="100 MiB"
      pocket serve --config /etc/pocket/pocket.toml
    """
    config = need_config(**options)
    if options["config_file"] is not None:
        # For the words that are typed on a serial console: they are processes of the box.
        os.environ["POCKET_CONFIG"] = str(options["config_file"].absolute())
    from appliance.app import run

    reasons: list[str] = []
    status = 0
    try:
        status = run(config)
    except* ControlError as group:
        reasons = [str(error) for error in leaves(group)]
    if reasons:
        raise click.ClickException("\n".join(reasons))
    if status:
        raise SystemExit(status)


def leaves(error: BaseException) -> list[BaseException]:
    """The errors inside a group, however deep."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in leaves(inner)]
    return [error]
