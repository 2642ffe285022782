"""What a device needs to log in, for people: as text, as a QR code in the terminal, as a picture."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar

import click

from appliance.cli.common import print_json
from appliance.cli.tables import dig, facts

F = TypeVar("F", bound=Callable[..., Any])
FILE = click.Path(dir_okay=False, path_type=Path)

ERROR_LEVEL = "m"
QUIET_MODULES = 4
PNG_SCALE = 8
LIGHT, DARK = True, False
HALF_BLOCKS = {(LIGHT, LIGHT): "\u2588", (LIGHT, DARK): "\u2580", (DARK, LIGHT): "\u2584", (DARK, DARK): " "}
COLOURS, COLOURS_OFF = "\x1b[38;5;231;48;5;16m", "\x1b[0m"
"""White on black, whatever the terminal's colours are."""


@dataclass
class Pictures:
    """Files that were asked for, made before the box is: a password that cannot be written is lost."""

    svg: Path | None = None
    png: Path | None = None
    _files: dict[Path, Path] = field(default_factory=dict)

    def prepare(self) -> None:
        """Make the files, for their owner alone, under other names. Ends the command if that cannot be."""
        for path in (self.svg, self.png):
            if path is not None:
                made = path.with_name(path.name + ".new")
                try:
                    made.unlink(missing_ok=True)
                    os.close(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
                except OSError as error:
                    raise click.ClickException(f"cannot write {path}: {error.strerror}") from None
                self._files[path] = made

    def write(self, uri: str) -> None:
        for path, made in self._files.items():
            kind = "svg" if path == self.svg else "png"
            made.write_bytes(picture(uri, kind))
            made.rename(path)
        self._files.clear()

    def discard(self) -> None:
        for made in self._files.values():
            with suppress(OSError):
                made.unlink()


def card_options(command: F) -> F:
    """The options of a word that shows what a device needs."""
    for option in (
        click.option("--qr/--no-qr", default=None, help="Show the QR code. Not given: in a terminal only."),
        click.option("--png", type=FILE, metavar="FILE", help="Write the QR code as a PNG picture."),
        click.option("--svg", type=FILE, metavar="FILE", help="Write the QR code as an SVG picture."),
    ):
        command = option(command)
    return command


@contextmanager
def pictures(svg: Path | None, png: Path | None) -> Iterator[Pictures]:
    """Files for the pictures; none are left behind if the block fails."""
    made = Pictures(svg, png)
    try:
        made.prepare()
        yield made
    finally:
        made.discard()


def show_card(
    login: Any,
    made: Pictures,
    as_json: bool,
    qr: bool | None,
    hint: str = "",
    keys: Sequence[str] | None = None,
) -> None:
    """Print a login as the box told it, of which programs get ``keys`` only, and write its pictures."""
    uri = dig(login, "uri")
    if as_json:
        print_json(login if keys is None else {key: dig(login, key) for key in keys})
    else:
        click.echo(card(login))
        if uri and (sys.stdout.isatty() if qr is None else qr):
            click.echo()
            click.echo(terminal(uri), color=True)
        if hint:
            click.echo()
            click.echo(hint)
    if uri:
        try:
            made.write(uri)
        except OSError as error:
            raise click.ClickException(f"the QR code could not be written: {error}") from None


def card(login: Any) -> str:
    """A login as text."""
    device, password = dig(login, "device"), dig(login, "node")
    pairs: list[tuple[str, object]] = [("site", dig(login, "site"))]
    pairs += [("membership", dig(login, "membership"))] if dig(login, "membership") else []
    pairs += [("member", dig(login, "alias"))] if dig(login, "alias") else []
    pairs += [("device", f"{device} ({dig(login, 'label')})")] if device is not None else []
    pairs += [("uid", dig(login, "uid"))]
    pairs += [("password", password)] if password else []
    pairs += [("address", address) for address in dig(login, "addresses") or []]
    pairs += [("fingerprint", dig(login, "fingerprint"))]
    pairs += [("uri", dig(login, "uri"))] if dig(login, "uri") else []
    return facts(pairs)


def terminal(uri: str) -> str:
    """A QR code of half blocks, light modules drawn."""
    rows = [[not module for module in row] for row in code_of(uri).matrix_iter(border=QUIET_MODULES)]
    rows += [[LIGHT] * len(rows[0])] if len(rows) % 2 else []
    lines = []
    for upper, lower in zip(rows[::2], rows[1::2], strict=True):
        blocks = "".join(HALF_BLOCKS[pair] for pair in zip(upper, lower, strict=True))
        lines.append(f"{COLOURS}{blocks}{COLOURS_OFF}")
    return "\n".join(lines)


def picture(uri: str, kind: str) -> bytes:
    """An SVG or PNG file."""
    out = BytesIO()
    code_of(uri).save(out, kind=kind, scale=PNG_SCALE, border=QUIET_MODULES, light="white")
    return out.getvalue()


def code_of(uri: str) -> Any:
    import segno  # only for those who want to see it

    return segno.make_qr(uri, error=ERROR_LEVEL)
