"""`pocket panel` and `pocket identify`: the lights."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from appliance.cli.common import ask, asks_box, json_option, print_json
from appliance.cli.serve import config_options, need_config
from appliance.cli.tables import age, dig
from appliance.control import ControlError, NoBox, call

if TYPE_CHECKING:
    from appliance.panel import Sign

EACH_S = 3.0


@click.command()
@asks_box
def identify(data: Path, as_json: bool) -> None:
    """Let the box's lights flicker for 3 s.

    To see which of several boxes it is.

    \b
    Example:
      pocket identify
    """
    result = ask(data, "identify")
    print_json(result) if as_json else click.echo("its lights flicker for 3 s")


@click.group()
def panel() -> None:
    """The lights and the button on the box.

    \b
    Examples:
      pocket panel test
      pocket panel press
    """


@panel.command("test")
@click.option(
    "--seconds",
    "each_s",
    type=click.FloatRange(0.1, 60),
    default=EACH_S,
    metavar="SECONDS",
    help="For each pattern. [3]",
)
@config_options
@json_option
def panel_test(each_s: float, as_json: bool, **options: Any) -> None:
    """Walk through all patterns of the lights.

    Prints what each one says while it shows. A running box shows them; if none runs, this command takes
    the options of `pocket serve` to find the lights that are configured.

    \b
    Examples:
      pocket panel test
      pocket panel test --config /etc/pocket/pocket.toml
    """
    from appliance.panel import WALK

    shown: list[dict[str, str]] = []

    def say(sign: Sign) -> None:
        shown.append({"key": sign.key, "pattern": sign.pattern.name, "words": sign.words})
        if not as_json:
            click.echo(f"{sign.pattern.name}: {sign.words}")

    config = need_config(**options)
    trouble: str | None = None
    try:
        for sign in WALK:
            call(config.data, "panel.show", {"pattern": sign.key, "seconds": min(each_s + 1, 60)})
            say(sign)
            time.sleep(each_s)
    except NoBox:
        if shown:
            raise click.ClickException("the box has stopped meanwhile") from None
        trouble = walk_without_box(config, say, each_s)
    except ControlError as error:
        raise click.ClickException(str(error)) from None
    if as_json:
        print_json(shown)
    if trouble:
        raise click.ClickException(trouble)


def walk_without_box(config: Any, say: Any, each_s: float) -> str | None:
    """What is wrong with the lights; None if nothing is."""
    import trio

    from appliance.edges.settings import panel_settings
    from appliance.panel import panel_test as walk

    return trio.run(walk, panel_settings(config), say, each_s)


@panel.command("press")
@click.option("--twice", is_flag=True, help="Two presses in a row: yes, the other box shows the same.")
@asks_box
def panel_press(twice: bool, data: Path, as_json: bool) -> None:
    """Do what a short press of the button does.

    It opens pairing for 2 minutes, for devices, and for another box whose button is pressed, too. When both
    boxes then show the same number, in their lights, in `pocket status` and `pocket peer list`, say so with
    --twice on both; once means no.

    \b
    Examples:
      pocket panel press
      pocket panel press --twice
    """
    result = ask(data, "pair.press", times=2 if twice else 1)
    if as_json:
        print_json(result)
    elif dig(result, "answered"):
        click.echo("said yes: now the other box" if twice else "said no: nothing was paired")
    else:
        click.echo(f"pairing is open for {age(dig(result, 'pairing_open_s'))}")


@panel.command("ended", hidden=True)
@config_options
@json_option
def panel_ended(as_json: bool, **options: Any) -> None:
    """Leave the lights so that they tell how the box ended.

    systemd says this word after the box's process has gone (ExecStopPost): $SERVICE_RESULT tells how. LEDs
    that the kernel drives are dark if it was an orderly stop, and blink if not.

    \b
    Example:
      pocket panel ended --config /etc/pocket/pocket.toml
    """
    from appliance.edges.settings import panel_settings
    from appliance.panel import mark_end

    clean = os.environ.get("SERVICE_RESULT", "success") == "success"
    mark_end(panel_settings(need_config(**options)), clean)
    if as_json:
        print_json({"clean": clean})
