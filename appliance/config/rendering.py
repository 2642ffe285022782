"""A Config as TOML: the sample file, which is the manual, with the values in force put in."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields
from operator import attrgetter
from pathlib import Path
from typing import Any

from appliance.config.kinds import Kind
from appliance.config.settings import Config

OPTION = re.compile(r"#(\w+) = .*")
TABLE = re.compile(r"\[([\w.]+)\]")


def sample() -> str:
    """The manual: every option with its comment and its default, each default commented out."""
    return Path(__file__).with_name("sample.toml").read_text("utf-8")


def render(config: Config) -> str:
    """`config` as a file that loads to the same Config, with the manual's comments."""
    return "\n".join(rendered(config)) + "\n"


def rendered(config: Config) -> Iterator[str]:
    table: Any = config
    example = False
    for line in sample().splitlines():
        if header := TABLE.fullmatch(line):
            table = attrgetter(header[1])(config)
            example = False
        example = example or line.startswith("#[[")
        option = None if example else OPTION.fullmatch(line)
        yield assignment(table, option[1]) if option else line
    for name in ("panel.led", "auth.provider"):
        for item in attrgetter(name)(config):
            yield ""
            yield f"[[{name}]]"
            yield from item_lines(item)


def assignment(table: Any, name: str) -> str:
    kind: Kind = next(field.metadata["kind"] for field in fields(table) if field.name == name)
    return f"{name} = {kind.write(getattr(table, name))}"


def item_lines(item: Any) -> Iterator[str]:
    for field in fields(item):
        if "section" not in field.metadata:
            yield assignment(item, field.name)
            continue
        inner = getattr(item, field.name)
        pairs = ", ".join(assignment(inner, part.name) for part in fields(inner))
        yield f"{field.name} = {{ {pairs} }}"
