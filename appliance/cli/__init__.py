"""The `pocket` command. Its words mostly ask the running box, over the control socket in the data folder.

Exit codes: 0 it was done, 1 it failed (the reason is on standard error), 2 it was called in a wrong way.
What takes time to import is imported by the word that needs it, so that `pocket status` starts fast.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from importlib import import_module

import click

from appliance.version import __version__

MODULES = {
    "serve": "serve",
    "status": "status",
    "member": "people",
    "device": "people",
    "group": "people",
    "membership": "memberships",
    "mail": "mail",
    "pair": "pairing",
    "peer": "peers",
    "find": "finding",
    "identify": "panel",
    "panel": "panel",
    "doctor": "examining",
    "log": "logs",
    "journal": "journal",
    "config": "configuring",
    "backup": "backup",
    "restore": "backup",
    "recovery-key": "backup",
    "update": "updates",
    "factory-reset": "resetting",
    "rescue": "rescuing",
    "completion": "completing",
}
"""Where each word is. The box itself keeps none of the others in memory."""


class Words(MutableMapping[str, click.Command]):
    """The words, each imported when somebody asks for it."""

    def __init__(self) -> None:
        self._found: dict[str, click.Command] = {}

    def __getitem__(self, word: str) -> click.Command:
        if word not in self._found:
            module = import_module(f"{__name__}.{MODULES[word]}")
            self._found[word] = getattr(module, word.replace("-", "_"))
        return self._found[word]

    def __setitem__(self, word: str, command: click.Command) -> None:
        self._found[word] = command

    def __delitem__(self, word: str) -> None:
        del self._found[word]

    def __iter__(self) -> Iterator[str]:
        return iter({**MODULES, **self._found})

    def __len__(self) -> int:
        return len({**MODULES, **self._found})


@click.group(
    commands=Words(),
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
