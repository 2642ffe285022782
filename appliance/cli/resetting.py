"""`pocket factory-reset`: forget everything."""

from __future__ import annotations

import os
from pathlib import Path

import click

from appliance.cli.common import asks_box, print_json
from appliance.control import ControlError, NoBox, call

WORDS = "forget everything"


@click.command("factory-reset")
@click.option("--yes", is_flag=True, help="Do not ask.")
@asks_box
def factory_reset(yes: bool, data: Path, as_json: bool) -> None:
    """Forget everything: members, messages, identity.

    The box stops, and all that is in its data folder is deleted but for the configuration file pocket.toml.
    Started again it is a new box with another certificate; members and devices have to be added anew. There
    is no way back. What cannot be finished now, such as in a power cut, is finished at the next start.

    \b
    Examples:
      pocket factory-reset
      pocket factory-reset --yes
    """
    if not yes and os.environ.get("POCKET_CONFIRMED") != "1":
        typed = click.prompt(
            f"This cannot be undone. To go on, type: {WORDS}", default="", show_default=False
        )
        if typed.strip() != WORDS:
            raise click.ClickException("nothing was changed")
    try:
        call(data, "factory.reset")
        told = "the box stops, and forgets everything"
    except NoBox:
        told = reset_without_box(data)
    except ControlError as error:
        raise click.ClickException(str(error)) from None
    print_json({"reset": True}) if as_json else click.echo(told)


def reset_without_box(data: Path) -> str:
    """Wipe the folder here and now; what was done."""
    from appliance import reset
    from appliance.holding import only_one

    if not (data / "pocket.db").exists() and not reset.is_marked(data):
        raise click.ClickException(f"there is no box's data in {data}: name its folder with --data DIR")
    try:
        with only_one(data):
            reset.mark(data)
            reset.finish(data)
    except ControlError as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        raise click.ClickException(f"not all could be deleted: {error}; say it again, as root") from None
    return "all data of the box is gone"
