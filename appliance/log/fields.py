"""What may be in a record: names and values made safe to keep, to print and to send on."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from pathlib import PurePath

SECRET = frozenset({"password", "node", "nodeid", "key", "token", "oidc", "secret", "data"})
"""Names whose values are never written, in any case and also as the last part of a name: "id_token". The
protocol calls a node's password `node` and `nodeid`; a node's number is logged as `device`."""

REDACTED = "[redacted]"
FIELDS_MAX = 24
VALUE_CHARS_MAX = 512
EVENT_CHARS_MAX = 256
TRACEBACK_CHARS_MAX = 8192
RESERVED = frozenset({"n", "time", "level", "logger", "event", "suppressed"})

Value = str | int | float | bool | None


def is_secret(name: str) -> bool:
    return name.lower().rpartition("_")[2] in SECRET


def clip(text: str, chars: int) -> str:
    """At most `chars` characters, all of them encodable in UTF-8."""
    text = text if len(text) <= chars else text[: chars - 3] + "..."
    return text.encode("utf-8", "replace").decode()


def clean(fields: Mapping[str, object]) -> dict[str, Value]:
    """The fields as they may be kept: at most FIELDS_MAX, each at most VALUE_CHARS_MAX characters."""
    cleaned: dict[str, Value] = {}
    for name, value in list(fields.items())[:FIELDS_MAX]:
        cleaned[f"{name}_" if name in RESERVED else name] = REDACTED if is_secret(name) else plain(value)
    return cleaned


def plain(value: object) -> Value:
    """A value that JSON can take. Octets are counted, never shown; secrets inside tables are left out."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str | PurePath):
        return clip(str(value), VALUE_CHARS_MAX)
    if isinstance(value, BaseException):
        return clip(describe(value), VALUE_CHARS_MAX)
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{len(value)} octets>"
    if isinstance(value, Mapping):
        inner = (f"{key}={REDACTED if is_secret(str(key)) else plain(item)}" for key, item in value.items())
        return clip(", ".join(inner), VALUE_CHARS_MAX)
    if isinstance(value, list | tuple | set | frozenset):
        return clip(", ".join(str(plain(item)) for item in value), VALUE_CHARS_MAX)
    return f"<{type(value).__name__}>"


def describe(error: BaseException) -> str:
    """An exception in one line, with those inside if it is a group."""
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    if isinstance(error, BaseExceptionGroup):
        text += " [" + "; ".join(describe(inner) for inner in error.exceptions) + "]"
    return text


def trace(error: BaseException) -> str:
    """The traceback, its end rather than its beginning if it is long: the end tells what happened."""
    text = "".join(traceback.format_exception(error))
    text = text if len(text) <= TRACEBACK_CHARS_MAX else "..." + text[-TRACEBACK_CHARS_MAX + 3 :]
    return text.encode("utf-8", "replace").decode()
