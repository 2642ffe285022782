"""The `pocket` command. Its words mostly ask the running box, over the control socket in the data folder.

Exit codes: 0 it was done, 1 it failed (the reason is on standard error), 2 it was called in a wrong way.
What takes time to import is imported by the word that needs it, so that `pocket status` starts fast.
"""

from __future__ import annotations

import click

from appliance.cli.completing import completion
from appliance.cli.configuring import config
from appliance.cli.examining import doctor
from appliance.cli.finding import find
from appliance.cli.journal import journal
from appliance.cli.logs import log
from appliance.cli.pairing import pair
from appliance.cli.panel import identify, panel
from appliance.cli.peers import peer
from appliance.cli.people import device, group, member
from appliance.cli.resetting import factory_reset
from appliance.cli.serve import serve
from appliance.cli.status import status
from appliance.version import __version__


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Each word has its own help with examples: pocket device --help, pocket device drop --help.",
)
@click.version_option(__version__, prog_name="pocket", message="%(prog)s %(version)s")
def main() -> None:
    """A household's own messaging site in a box.

    \b
    Examples:
      pocket serve --data ./data --name Home     run the box
      pocket pair open                           let a new member register
      pocket status                              how it is doing
      pocket device list                         whose devices, and what waits for them
    """


for word in (
    serve,
    status,
    member,
    device,
    group,
    pair,
    peer,
    find,
    identify,
    panel,
    doctor,
    log,
    journal,
    config,
    factory_reset,
    completion,
):
    main.add_command(word)
