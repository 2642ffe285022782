"""`pocket rescue`: when the data partition of the firmware cannot be used."""

from __future__ import annotations

import fcntl
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from appliance.cli.common import asks_box, json_option, print_json
from appliance.cli.resetting import WORDS as FORGET
from appliance.cli.serve import config_options, need_config

if TYPE_CHECKING:
    from appliance.rescue import Partition
    from appliance.rescue.partition import Say

RUN = Path("/run/pocket-rescue")
"""What is there tells the system, until the next start, that the box cannot be started."""
NEEDED, WHY, LOCK = "needed", "why", "lock"

RESTART_S = (60.0, 600.0)
"""When the partition can only be read, the next start mends it. It comes so long after that was seen, but
not before the machine has run for the second: a card that fails again and again gets some rest.
"""


@click.group()
def rescue() -> None:
    """When the box's data partition cannot be used.

    For boxes that run the firmware. After repair and reset the machine starts anew. They need root; on the
    serial console of such a box they are the only words, without `pocket rescue` before them.

    \b
    Examples:
      pocket rescue status
      pocket rescue repair
      pocket rescue reset
    """


@rescue.command("status")
@asks_box
def rescue_status(data: Path, as_json: bool) -> None:
    """Say what is wrong, and what to do.

    The exit code is 1 if something is wrong.

    \b
    Example:
      pocket rescue status
    """
    from appliance.rescue.partition import REMEDIES, WORDS

    with explained() as partition:
        trouble = partition.trouble()
    if as_json:
        print_json({"trouble": trouble, "words": trouble and WORDS[trouble]})
    elif trouble is None:
        click.echo("the data partition is in use, and all is well")
    else:
        click.echo(f"{WORDS[trouble]}\n{REMEDIES[trouble]}")
    if trouble is not None:
        raise SystemExit(1)


@rescue.command("repair")
@asks_box
def rescue_repair(data: Path, as_json: bool) -> None:
    """Mend the data partition, and start anew.

    What the file system's check finds is put right without asking. What cannot be, is lost. A copy of the
    card made before is a good idea when there is no other box and no backup.

    \b
    Example:
      pocket rescue repair
    """
    at_work("repair", lambda partition, say: partition.repair(say), as_json)


@rescue.command("reset")
@click.option("--yes", is_flag=True, help="Do not ask.")
@asks_box
def rescue_reset(yes: bool, data: Path, as_json: bool) -> None:
    """Make a new, empty data partition, and start anew.

    Everything on it is lost: accounts, messages, identity, Wi-Fi, keys. As after a factory reset it is a new
    box, which can restore a backup or join another box.

    \b
    Example:
      pocket rescue reset
    """
    if not yes and os.environ.get("POCKET_CONFIRMED") != "1":
        typed = click.prompt(
            f"This cannot be undone. To go on, type: {FORGET}", default="", show_default=False
        )
        if typed.strip() != FORGET:
            raise click.ClickException("nothing was changed")
    at_work("reset", lambda partition, say: partition.make_anew(say), as_json)


@rescue.command("restart")
@asks_box
def rescue_restart(data: Path, as_json: bool) -> None:
    """Start the machine anew; that checks the disk.

    \b
    Example:
      pocket rescue restart
    """
    restart()
    print_json({"restarts": True}) if as_json else click.echo("the machine starts anew")


@rescue.command("run", hidden=True)
@config_options
@json_option
def rescue_run(as_json: bool, **options: Any) -> None:
    """Show the error, and wait for somebody who helps.

    The system starts this word in the place of the box (pocket-rescue.service).

    \b
    Example:
      pocket rescue run --config /run/pocket-preset/pocket.toml
    """
    import trio

    from appliance import log
    from appliance.edges.settings import console_settings, panel_settings
    from appliance.rescue import run_rescue
    from appliance.rescue.partition import REMEDIES, WORDS

    config = need_config(**options)
    if options["config_file"] is not None:
        os.environ["POCKET_CONFIG"] = str(options["config_file"].absolute())
    log.setup(config.log.level, config.log.format)
    with explained() as partition:
        trouble = partition.trouble() or "unmounted"
    why = f"{WORDS[trouble]}: {REMEDIES[trouble]}"
    wait_s: float | None = None
    if trouble in ("read-only", "unmounted"):
        wait_s = max(RESTART_S[0], RESTART_S[1] - time.clock_gettime(time.CLOCK_BOOTTIME))
        why = f"{WORDS[trouble]}: the box starts anew in {wait_s / 60:.0f} minutes, which checks and mends it"
    log.get_logger(__name__).error("no data partition", why=why)
    RUN.mkdir(exist_ok=True)
    (RUN / WHY).write_text(why + "\n")
    if as_json:
        print_json({"trouble": trouble, "words": why})
    trio.run(run_rescue, config.name, panel_settings(config), console_settings(config), why, wait_s)


@contextmanager
def explained() -> Iterator[Partition]:
    """The partition; what goes wrong with it ends the command."""
    from appliance.rescue import Partition, RescueError

    try:
        yield Partition()
    except RescueError as error:
        raise click.ClickException(str(error)) from None


def at_work(word: str, remedy: Callable[[Partition, Say], None], as_json: bool) -> None:
    """Apply it, one at a time, telling what happens; then restart."""
    told: list[str] = []
    with explained() as partition, alone():
        partition.trouble()
        remedy(partition, told.append if as_json else click.echo)
    print_json({"done": word, "told": told}) if as_json else click.echo("the machine starts anew")
    restart()


@contextmanager
def alone() -> Iterator[None]:
    if os.geteuid():
        raise click.ClickException("only root can do that: sudo, or the serial console of the box")
    RUN.mkdir(exist_ok=True)
    with (RUN / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise click.ClickException("somebody is at it already: wait for the restart") from None
        yield


def restart() -> None:
    if subprocess.run(["systemctl", "--no-block", "reboot"], check=False).returncode:
        raise click.ClickException("the machine does not let itself be started anew: pull the plug")
