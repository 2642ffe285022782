"""What the words share: the data folder, the two kinds of output, and asking the box."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from appliance.control import ControlError, call

INSTALLED_DATA = Path("/var/lib/pocket")
INSTALLED_CONFIG = Path("/etc/pocket/pocket.toml")

DATA_FOLDER = click.Path(file_okay=False, readable=False, path_type=Path)
"""Whether it can be read is not click's business: we can say whose it is, and what to do."""

F = TypeVar("F", bound=Callable[..., Any])


def default_data() -> Path:
    """The data folder if neither --data nor $POCKET_DATA names one. Where one may not look there is none:
    sudo -u pocket leaves one in the folder of somebody else.
    """
    here = Path("data")
    return INSTALLED_DATA if not os.path.isdir(here) and INSTALLED_DATA.is_dir() else here


def data_option(command: F) -> F:
    return click.option(
        "--data",
        type=DATA_FOLDER,
        envvar="POCKET_DATA",
        default=default_data,
        metavar="DIR",
        help="The box's data folder. Not given: $POCKET_DATA, ./data or /var/lib/pocket.",
    )(command)


def json_option(command: F) -> F:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")(command)


def asks_box(command: F) -> F:
    """The options of a word that asks the running box."""
    return data_option(json_option(command))


def ask(data: Path, word: str, timeout_s: float = 10.0, **args: Any) -> Any:
    """The box's answer; what goes wrong ends the command with exit code 1 and the reason."""
    try:
        return call(data, word, args, timeout_s)
    except ControlError as error:
        raise click.ClickException(str(error)) from None


def print_json(result: Any, indent: int | None = 2) -> None:
    click.echo(json.dumps(result, indent=indent, ensure_ascii=False))


def candidates(context: click.Context, word: str, timeout_s: float = 0.5, of: str = "") -> list[Any]:
    """What the box lists, for completing a name on the command line; nothing if it cannot be asked. `of`: the
    part of its answer that is the list.
    """
    data = context.params.get("data") or default_data()
    try:
        found = call(Path(data), word, {}, timeout_s)
    except ControlError:
        return []
    if of and isinstance(found, dict):
        found = found.get(of)
    return found if isinstance(found, list) else []
