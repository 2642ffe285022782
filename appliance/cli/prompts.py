"""What must not be seen on a command line: typed at a prompt, or read from the standard input."""

from __future__ import annotations

import sys

import click

from appliance.cli.people import at_terminal

OCTETS_MAX = 32 << 10
"""What a control request has room for, twice."""

MISSING = (
    "no {what} was given: type it when it is asked for, or send it to the standard input,"
    " which a serial console does not have"
)


def secret(what: str) -> str:
    """A line that nobody should see, without a trace on the screen. Ends the command if there is none."""
    if at_terminal():
        return str(click.prompt(what, hide_input=True, err=True)).strip()
    given = (sys.stdin.readline(OCTETS_MAX) if sys.stdin is not None else "").strip()
    if not given:
        raise click.ClickException(MISSING.format(what=what))
    return given


def pasted(what: str) -> str:
    """What a person pastes: one line, or JSON of several. Ends the command if there is nothing."""
    if at_terminal():
        click.echo(f"{what}: ", nl=False, err=True)
    text = ""
    while sys.stdin is not None and len(text) < OCTETS_MAX:
        line = sys.stdin.readline(OCTETS_MAX)
        text += line
        if not line or (text.strip() and not text.lstrip().startswith("{")) or _is_whole(text):
            break
    if not text.strip():
        raise click.ClickException(MISSING.format(what=what))
    return text.strip()


def _is_whole(text: str) -> bool:
    """Whether as many braces are closed as were opened. One inside a text may deceive it; then a further
    line, or the end of the input, decides.
    """
    return "{" in text and text.count("{") <= text.count("}")
