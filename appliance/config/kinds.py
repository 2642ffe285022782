"""Kinds of setting: what a value may be, how it is read from TOML or the command line, how it is written.

Each kind turns what TOML gave into the value the program uses, or raises `ValueError` with a text that fits
after "option = value": it says what is wrong and what would be right.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from datetime import time
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

UNITS = {"": 1, "B": 1, "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30, "TIB": 1 << 40}
UNITS |= {"KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)")
PARAMS_OCTETS_MAX = 2048
HOST = re.compile(r"[0-9A-Za-z_.:%-]*")
PLACE = re.compile(r"[=+]?(?:[0-9A-Za-z._-]+|\[[0-9A-Fa-f:.]+\]):([0-9]{1,5})")
HOUR = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")


class Endpoint(NamedTuple):
    """An address to listen on. Port 0: any free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_size(text: str) -> int:
    """Octets of "4096", "64 KiB", "1.5 GiB" or "8 GB". Raises ValueError for anything else."""
    match = SIZE.fullmatch(text.strip())
    unit = UNITS.get(match[2].upper()) if match else None
    if match is None or unit is None:
        raise ValueError('is no size: write octets, or a text like "64 KiB", "512 MiB" or "1 GiB"')
    return math.floor(float(match[1]) * unit) if "." in match[1] else int(match[1]) * unit


def format_size(octets: int) -> str:
    """The shortest exact text: "64 KiB", but "65537" as it is."""
    for unit, factor in (("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if octets and octets % factor == 0:
            return f"{octets // factor} {unit}"
    return str(octets)


def parse_endpoint(text: str) -> Endpoint:
    """HOST:PORT, [IPV6]:PORT or :PORT (all addresses). Raises ValueError."""
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError('needs brackets around an IPv6 address: "[::1]:4433"')
    if not colon or not port.isascii() or not port.isdigit() or not HOST.fullmatch(host):
        raise ValueError('is no address to listen on: write HOST:PORT, as in "0.0.0.0:4433"')
    if int(port) > 65535:
        raise ValueError("has a port above 65535")
    return Endpoint(host or "0.0.0.0", int(port))


def quoted(text: str) -> str:
    """A TOML string."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


class Kind:
    """What a setting may be."""

    @property
    def span(self) -> str:
        """The bounds in words, for the manual and for errors; "" if there are none."""
        return ""

    def read(self, raw: object, base: Path) -> Any:
        """The value of `raw`; relative paths start at `base`. Raises ValueError."""
        raise NotImplementedError

    def write(self, value: Any) -> str:
        """`value` as TOML."""
        return quoted(str(value))


class Flag(Kind):
    def read(self, raw: object, base: Path) -> bool:
        if not isinstance(raw, bool):
            raise ValueError("must be true or false, without quotes")
        return raw

    def write(self, value: Any) -> str:
        return "true" if value else "false"


@dataclass(frozen=True)
class Count(Kind):
    """A whole number, `low` to `high`."""

    low: int
    high: int

    @property
    def span(self) -> str:
        return f"{self.low} to {self.high}"

    def read(self, raw: object, base: Path) -> int:
        if isinstance(raw, bool) or not isinstance(raw, int):
            raise ValueError(f"must be a whole number without quotes, {self.span}")
        if not self.low <= raw <= self.high:
            raise ValueError(f"is out of bounds: take {self.span}")
        return raw

    def write(self, value: Any) -> str:
        return str(value)


@dataclass(frozen=True)
class Number(Kind):
    """A number of `unit`s, `low` to `high`, fractions too."""

    low: float
    high: float
    unit: str

    @property
    def span(self) -> str:
        return f"{self.low:g} to {self.high:g} {self.unit}"

    def read(self, raw: object, base: Path) -> float:
        if isinstance(raw, bool) or not isinstance(raw, int | float):
            raise ValueError(f"must be a number without quotes, {self.span}")
        if not self.low <= raw <= self.high:
            raise ValueError(f"is out of bounds: take {self.span}")
        return float(raw)

    def write(self, value: Any) -> str:
        return str(int(value)) if value == int(value) else repr(value)


@dataclass(frozen=True)
class Size(Kind):
    """Octets, `low` to `high`, as a number or with a unit."""

    low: int
    high: int

    @property
    def span(self) -> str:
        return f"{format_size(self.low)} to {format_size(self.high)}"

    def read(self, raw: object, base: Path) -> int:
        if isinstance(raw, bool) or not isinstance(raw, int | str):
            raise ValueError('must be a size: octets, or a text like "64 KiB"')
        octets = parse_size(raw) if isinstance(raw, str) else raw
        if not self.low <= octets <= self.high:
            raise ValueError(f"is out of bounds: take {self.span}")
        return octets

    def write(self, value: Any) -> str:
        text = format_size(value)
        return text if text.isdigit() else f'"{text}"'


@dataclass(frozen=True)
class Choice(Kind):
    """One of a few words."""

    words: tuple[str, ...]

    @property
    def span(self) -> str:
        return ", ".join(self.words[:-1]) + " or " + self.words[-1]

    def read(self, raw: object, base: Path) -> str:
        if not isinstance(raw, str) or raw not in self.words:
            raise ValueError(f"must be {self.span}, in quotes")
        return raw


@dataclass(frozen=True)
class Text(Kind):
    """Printable text of `low` to `high` octets in UTF-8."""

    low: int
    high: int

    def read(self, raw: object, base: Path) -> str:
        if not isinstance(raw, str):
            raise ValueError("must be a text in quotes")
        if not raw.isprintable():
            raise ValueError("has characters in it that cannot be printed")
        size = len(raw.encode())
        if size < self.low:
            raise ValueError("must not be empty")
        if size > self.high:
            raise ValueError(f"is too long: {size} octets where {self.high} fit")
        return raw


@dataclass(frozen=True)
class Texts(Kind):
    """A list of at most `most` texts of `high` octets each."""

    most: int
    high: int

    @property
    def span(self) -> str:
        return f"at most {self.most}"

    def read(self, raw: object, base: Path) -> tuple[str, ...]:
        if not isinstance(raw, list | tuple) or not all(isinstance(text, str) for text in raw):
            raise ValueError('must be a list of texts: ["one", "two"]')
        if len(raw) > self.most:
            raise ValueError(f"has {len(raw)} entries: take {self.span}")
        return tuple(Text(1, self.high).read(text, base) for text in raw)

    def write(self, value: Any) -> str:
        return "[" + ", ".join(map(quoted, value)) + "]"


@dataclass(frozen=True)
class Places(Texts):
    """A list of addresses as people type them into a client: =HOST:PORT."""

    def read(self, raw: object, base: Path) -> tuple[str, ...]:
        places = super().read(raw, base)
        for place in places:
            found = PLACE.fullmatch(place)
            if found is None or not 0 < int(found[1]) < 65536:
                raise ValueError(f'has {quoted(place)}, which is no address: write "=HOST:PORT"')
        return tuple(place if place[0] in "=+" else f"={place}" for place in places)


class Clock(Kind):
    """A time of day; "" (None): none."""

    @property
    def span(self) -> str:
        return "HH:MM"

    def read(self, raw: object, base: Path) -> time | None:
        if raw == "":
            return None
        if not isinstance(raw, str) or not HOUR.fullmatch(raw):
            raise ValueError('must be a time of day in quotes, HH:MM, as in "22:00"')
        return time.fromisoformat(raw)

    def write(self, value: Any) -> str:
        return '""' if value is None else f'"{value:%H:%M}"'


class Hour(Clock):
    """A time of day."""

    def read(self, raw: object, base: Path) -> time:
        found = super().read(raw if raw != "" else None, base)
        assert found is not None
        return found


class Params(Kind):
    """What a client adds to a web address: a query string, or a table of texts. Passed on as it is."""

    def read(self, raw: object, base: Path) -> str | dict[str, str]:
        if isinstance(raw, str):
            return str(Text(0, PARAMS_OCTETS_MAX).read(raw, base))
        if not isinstance(raw, dict) or not all(isinstance(value, str) for value in raw.values()):
            raise ValueError('must be a query string or a table of texts: { scope = "openid" }')
        size = sum(len(name.encode()) + len(value.encode()) for name, value in raw.items())
        if size > PARAMS_OCTETS_MAX:
            raise ValueError(f"is too long: {size} octets where {PARAMS_OCTETS_MAX} fit")
        return dict(raw)

    def write(self, value: Any) -> str:
        if isinstance(value, str):
            return quoted(value)
        return "{ " + ", ".join(f"{quoted(name)} = {quoted(text)}" for name, text in value.items()) + " }"


@dataclass(frozen=True)
class Url(Kind):
    """A web address; "" where `empty` allows none. `private`: keys come from there, so it must be https,
    or this very machine."""

    private: bool = False
    empty: bool = False

    def read(self, raw: object, base: Path) -> str:
        if not isinstance(raw, str):
            raise ValueError("must be a web address in quotes")
        if raw == "" and self.empty:
            return raw
        if not raw.isprintable() or " " in raw:
            raise ValueError("has a space or a character in it that cannot be in a web address")
        try:
            parts = urlsplit(raw)
            host = parts.hostname
            _ = parts.port
        except ValueError as error:
            raise ValueError(f"is no web address: {error}") from None
        if parts.scheme not in ("http", "https") or not host:
            raise ValueError('must be a web address like "https://accounts.example.org/path"')
        if self.private and parts.scheme == "http" and host not in ("localhost", "127.0.0.1", "::1"):
            raise ValueError("must begin with https://: over http:// anybody on the way could change it")
        return raw


@dataclass(frozen=True)
class Address(Kind):
    """HOST:PORT to listen on; "" (None) where `off` allows it."""

    off: bool = False

    def read(self, raw: object, base: Path) -> Endpoint | None:
        if isinstance(raw, Endpoint):
            return raw
        if raw == "" and self.off:
            return None
        if not isinstance(raw, str):
            raise ValueError('must be an address in quotes, as in "0.0.0.0:4433"')
        return parse_endpoint(raw)

    def write(self, value: Any) -> str:
        return '""' if value is None else f'"{value}"'


@dataclass(frozen=True)
class File(Kind):
    """A file or folder; "" (None) where `none` allows it. It need not exist."""

    none: bool = False

    def read(self, raw: object, base: Path) -> Path | None:
        if raw == "" and self.none:
            return None
        if not isinstance(raw, str | Path) or not str(raw) or "\0" in str(raw):
            raise ValueError("must be a path in quotes")
        return base / Path(raw).expanduser()

    def write(self, value: Any) -> str:
        return '""' if value is None else super().write(value)
