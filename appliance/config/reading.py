"""From a TOML file and the command line to a `Config`, or to all that is wrong with them, each with its line.

Every value goes through one check, wherever it came from. Values are first put into one tree, the command
line's over the file's, while `places` remembers where each came from.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

from appliance.config.kinds import Kind
from appliance.config.settings import Auth, Config

FILE_OCTETS_MAX = 256 << 10
OPTIONS = {"panel.show": "panel"} | {name: name for name in ("data", "listen", "name", "registration")}
"""Settings with a command line option of their own, and its name; `--set` is for the rest."""

Path_ = tuple[str | int, ...]
"""Where an option is in the tree: ("auth", "provider", 0, "label")."""

Objections = Callable[[Config], Iterator[tuple[Path_, str]]]
"""What else is wrong with a configuration that is right by itself: where, and the text."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: where, and what to do."""

    where: str
    text: str

    def __str__(self) -> str:
        return f"{self.where}: {self.text}" if self.where else self.text


def line_of(problem: Problem) -> int:
    """The line it is in; 0 for the command line and for a file as a whole."""
    line = problem.where.rpartition(":")[2]
    return int(line) if line.isdigit() else 0


class ConfigError(Exception):
    """The configuration cannot be used. `problems` are all that were found, in the order of their lines."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


@dataclass
class Source:
    """One tree of raw values, where each value came from, and the folder its relative paths start at."""

    tree: dict[str, Any]
    places: dict[Path_, str]
    bases: dict[Path_, Path]
    name: str

    def place(self, path: Path_) -> str:
        """Where `path` was written, or the nearest table around it."""
        for end in range(len(path), 0, -1):
            if path[:end] in self.places:
                return self.places[path[:end]]
        return self.name


def load(
    file: Path | None = None,
    overrides: Mapping[str, object] | None = None,
    data: Path | None = None,
    objections: Objections | None = None,
) -> Config:
    """The configuration of `file` (None: only defaults) with `overrides` on top.

    `overrides` maps dotted names to values: {"name": "Home", "delivery.window_messages": 8}. `data` is the
    data folder if neither names one. `objections` may find more that is wrong. Raises ConfigError.
    """
    source = read_file(file) if file is not None else Source({}, {}, {}, "")
    problems: list[Problem] = []
    if data is not None:
        source.tree.setdefault("data", data)
    for name, value in (overrides or {}).items():
        put(source, name, value, problems)
    config: Config | None = read_table(Config, source.tree, (), source, problems)
    if config is not None and not problems:
        problems = list(contradictions(config, source))
        if objections is not None:
            problems += [Problem(source.place(path), text) for path, text in objections(config)]
    if config is None or problems:
        raise ConfigError(sorted(problems, key=line_of))
    return config


def read_file(file: Path) -> Source:
    """The tree of a TOML file. Raises ConfigError if it cannot be read or is no TOML."""
    import tomllib  # most boxes have no such file

    name = str(file)
    try:
        if file.stat().st_size > FILE_OCTETS_MAX:
            raise ConfigError(
                [Problem(name, f"is larger than {FILE_OCTETS_MAX} octets: not a configuration file")]
            )
        octets = file.read_bytes()
        text = octets.decode("utf-8-sig")
        tree = tomllib.loads(text)
    except FileNotFoundError:
        hint = f"there is no such file: make one with   pocket config show > {name}"
        raise ConfigError([Problem(name, hint)]) from None
    except OSError as error:
        raise ConfigError([Problem(name, f"cannot be read: {error.strerror}")]) from None
    except UnicodeDecodeError as error:
        line = octets.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            [Problem(f"{name}:{line}", "has an octet that is not UTF-8: save it as UTF-8")]
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([syntax_problem(name, text, str(error))]) from None
    places = {path: f"{name}:{line}" for path, line in locate(text)}
    base = file.absolute().parent
    return Source(tree, places, dict.fromkeys(places, base), name)


def syntax_problem(name: str, text: str, error: str) -> Problem:
    """tomllib's words for it, with the line where ours always are."""
    lines = text.count("\n") + (not text.endswith("\n"))
    match = re.fullmatch(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", error, re.DOTALL)
    if match is None:
        return Problem(name, error)
    line = int(match[2]) if match[2] else lines
    column = f" at column {match[3]}" if match[3] else " at the end"
    return Problem(f"{name}:{line}", f"this is no TOML{column}: {match[1][:1].lower()}{match[1][1:]}")


def locate(text: str) -> Iterator[tuple[Path_, int]]:
    """The line of each key and table of a TOML document that parses.

    A statement is the fewest lines that parse by themselves, so strings and arrays over several lines, dotted
    keys and inline tables are all seen as tomllib sees them; what is inside one has the line it begins on.
    """
    import tomllib

    prefix: Path_ = ()
    counts: dict[Path_, int] = {}
    statement, first = "", 1
    for number, line in enumerate(text.splitlines(keepends=True), 1):
        if not statement:
            first = number
        statement += line
        try:
            tree = tomllib.loads(statement)
        except tomllib.TOMLDecodeError:
            continue
        header = statement.lstrip().startswith("[")
        array = statement.lstrip().startswith("[[")
        statement = ""
        if header:
            prefix = table_path(tree)
            if array:
                counts[prefix] = counts.get(prefix, -1) + 1
            prefix = with_indexes(prefix, counts)
            yield prefix, first
        else:
            for path in paths(tree):
                yield prefix + path, first


def table_path(tree: dict[str, Any]) -> Path_:
    """The names of a `[table]` or `[[table]]` header, from what it parses to."""
    path: Path_ = ()
    inner: Any = tree
    while inner:
        if isinstance(inner, list):
            inner = inner[0]
        else:
            key, inner = next(iter(inner.items()))
            path += (key,)
    return path


def with_indexes(path: Path_, counts: dict[Path_, int]) -> Path_:
    """`path` with the number of the array element it is in after the name of each array of tables."""
    indexed: Path_ = ()
    for end, name in enumerate(path, 1):
        indexed += (name,)
        if path[:end] in counts:
            indexed += (counts[path[:end]],)
    return indexed


def paths(tree: object) -> Iterator[Path_]:
    items: Any = ()
    if isinstance(tree, dict):
        items = tree.items()
    elif isinstance(tree, list):
        items = enumerate(tree)
    for key, value in items:
        yield (key,)
        for path in paths(value):
            yield (key, *path)


def put(source: Source, name: str, value: object, problems: list[Problem]) -> None:
    """Put a value from the command line into the tree, over what the file said."""
    path = tuple(name.split("."))
    where = f"--{OPTIONS[name]}" if name in OPTIONS else f"--set {name}"
    table = source.tree
    for key in path[:-1]:
        inner = table.setdefault(key, {})
        if not isinstance(inner, dict):
            problems.append(Problem(where, f"{key} is no table"))
            return
        table = inner
    table[path[-1]] = value
    for end in range(1, len(path)):
        source.places.setdefault(path[:end], where)
    source.places[path] = where
    source.bases[path] = Path.cwd()


def read_table(cls: type, raw: object, path: Path_, source: Source, problems: list[Problem]) -> Any:
    """An instance of the dataclass `cls`; None, with one more problem at least, if it cannot be made."""
    name = dotted(path)
    if not isinstance(raw, dict):
        problems.append(Problem(source.place(path), f"{name} must be a table: [{name}]"))
        return None
    known = {field.name: field for field in fields(cls)}
    for key in raw:
        if key not in known:
            problems.append(Problem(source.place((*path, key)), unknown(key, path, list(known))))
    values: dict[str, Any] = {}
    for key, field in known.items():
        inner = (*path, key)
        if key not in raw:
            if field.default is MISSING and field.default_factory is MISSING:
                problems.append(Problem(source.place(path), f"{name} needs {key}"))
        elif "section" in field.metadata:
            values[key] = read_table(field.metadata["section"], raw[key], inner, source, problems)
        elif "sections" in field.metadata:
            values[key] = read_tables(field.metadata, raw[key], inner, source, problems)
        else:
            values[key] = read_value(field.metadata["kind"], raw[key], inner, source, problems)
    try:
        return cls(**values)
    except TypeError:
        return None


def read_tables(
    metadata: Mapping[str, Any], raw: object, path: Path_, source: Source, problems: list[Problem]
) -> tuple[Any, ...]:
    name = dotted(path)
    if not isinstance(raw, list):
        problems.append(Problem(source.place(path), f"{name} must be tables: [[{name}]]"))
        return ()
    cls, most = metadata["sections"], metadata["most"]
    if len(raw) > most:
        problems.append(Problem(source.place((*path, most)), f"more than {most} of {name}"))
    return tuple(read_table(cls, item, (*path, number), source, problems) for number, item in enumerate(raw))


def read_value(kind: Kind, raw: object, path: Path_, source: Source, problems: list[Problem]) -> Any:
    try:
        return kind.read(raw, source.bases.get(path, Path()))
    except ValueError as error:
        shown = ascii(raw) if isinstance(raw, bytes) else shorten(raw)
        problems.append(Problem(source.place(path), f"{dotted(path)} = {shown} {error}"))
        return None


def shorten(raw: object) -> str:
    text = {True: "true", False: "false"}[raw] if isinstance(raw, bool) else repr(raw)
    return text if len(text) <= 60 else text[:57] + "..."


def dotted(path: Path_) -> str:
    return ".".join(key for key in path if isinstance(key, str))


def unknown(key: str, path: Path_, known: list[str]) -> str:
    """What to say of an option that does not exist: the one that was meant, if it can be guessed."""
    name = dotted((*path, key))
    homes = [f"[{other}]" if other else "the top" for other, keys in tables(Config, "") if key in keys]
    if homes:
        return f"there is no {name}: {key} belongs under {' or '.join(homes)}"
    import difflib  # costs memory that only a mistake has to pay

    near = difflib.get_close_matches(key, known, 1, 0.7)
    if near:
        return f"there is no {name}: did you mean {near[0]}?"
    return f"there is no {name}: {dotted(path) or 'the top'} takes {', '.join(known)}"


def tables(cls: type, name: str) -> Iterator[tuple[str, list[str]]]:
    """The name and the options of the table `name` and of those in it; "" is the top."""
    yield name, [field.name for field in fields(cls) if name or "kind" in field.metadata]
    for field in fields(cls):
        inner = field.metadata.get("section") or field.metadata.get("sections")
        if inner is not None:
            yield from tables(inner, f"{name}.{field.name}".lstrip("."))


def contradictions(config: Config, source: Source) -> Iterator[Problem]:
    """What is wrong with options that are each right by themselves."""
    if (config.tls.cert is None) != (config.tls.key is None):
        has, lacks = ("cert", "key") if config.tls.cert else ("key", "cert")
        yield Problem(
            source.place(("tls", has)), f"tls.{has} needs tls.{lacks} beside it: give both or neither"
        )
    metrics = config.metrics.listen
    if metrics is not None and metrics.port and metrics.port == config.listen.port:
        yield Problem(
            source.place(("metrics", "listen")),
            f"metrics.listen has the port of listen, {metrics.port}: take another",
        )
    if config.link.login_timeout_s <= config.limits.failed_login_delay_max_s:
        yield Problem(
            source.place(("limits", "failed_login_delay_max_s")),
            f"limits.failed_login_delay_max_s = {config.limits.failed_login_delay_max_s:g} must be below "
            f"link.login_timeout_s = {config.link.login_timeout_s:g}: a slowed-down login could never finish",
        )
    yield from provider_problems(config.auth, source)


def provider_problems(auth: Auth, source: Source) -> Iterator[Problem]:
    labels: set[str] = set()
    for number, provider in enumerate(auth.provider):
        where = source.place(("auth", "provider", number))
        name = f'auth.provider "{provider.label}"'
        if provider.label in labels:
            yield Problem(where, f"{name} is there twice: give each its own label")
        labels.add(provider.label)
        lacking = [key for key in ("issuer", "audience", "key_set_url") if not getattr(provider, key)]
        if not provider.optional and lacking:
            yield Problem(
                where,
                f"{name} needs {', '.join(lacking)} to check who registers; with a label, login and token "
                "alone it can only be told to clients: then say optional = true",
            )
        elif 0 < len(lacking) < 3:
            yield Problem(
                where, f"{name} lacks {', '.join(lacking)}: give issuer, audience and key_set_url, or none"
            )
    if auth.login_required and not auth.register_required:
        yield Problem(
            source.place(("auth", "login_required")),
            "auth.login_required = true needs an [[auth.provider]] that is not optional",
        )
