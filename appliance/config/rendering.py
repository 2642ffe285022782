"""A Config as TOML: the sample file, which is the manual, with the values in force put in."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields
from importlib.resources import files
from typing import Any

from appliance.config.kinds import Kind
from appliance.config.settings import Config, Provider

OPTION = re.compile(r"#(\w+) = .*")
TABLE = re.compile(r"\[(\w+)\]")


def sample() -> str:
    """The manual: every option with its comment and its default, each default commented out."""
    return files("appliance.config").joinpath("sample.toml").read_text("utf-8")


def render(config: Config) -> str:
    """`config` as a file that loads to the same Config, with the manual's comments."""
    return "\n".join(rendered(config)) + "\n"


def rendered(config: Config) -> Iterator[str]:
    table: Any = config
    example = False
    for line in sample().splitlines():
        if header := TABLE.fullmatch(line):
            table = getattr(config, header[1])
        example = example or line.startswith("#[[")
        option = None if example else OPTION.fullmatch(line)
        yield assignment(table, option[1]) if option else line
    for provider in config.auth.provider:
        yield ""
        yield "[[auth.provider]]"
        yield from provider_lines(provider)


def assignment(table: Any, name: str) -> str:
    kind: Kind = next(field.metadata["kind"] for field in fields(table) if field.name == name)
    return f"{name} = {kind.write(getattr(table, name))}"


def provider_lines(provider: Provider) -> Iterator[str]:
    for field in fields(provider):
        if "section" not in field.metadata:
            yield assignment(provider, field.name)
            continue
        inner = getattr(provider, field.name)
        pairs = ", ".join(assignment(inner, part.name) for part in fields(inner))
        yield f"{field.name} = {{ {pairs} }}"
