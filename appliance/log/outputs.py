"""How records leave the process: as text for people, as JSON lines, as fields for journald."""

from __future__ import annotations

import json
import os
import re
import socket
import struct
from collections.abc import Mapping
from typing import Any, Protocol, TextIO

from appliance.log.writer import Writer

JOURNAL_SOCKET = "/run/systemd/journal/socket"
PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3}
COLOURS = {"debug": "\x1b[2m", "info": "", "warning": "\x1b[33m", "error": "\x1b[1;31m"}
HEAD = ("n", "time", "level", "logger", "event", "traceback")
BARE = re.compile(r"[^\s\"'=\\]+")


class Output(Protocol):
    def write(self, entry: Mapping[str, Any]) -> None:
        """Never waits for whoever reads."""

    def flush(self) -> None:
        """Wait a moment, until what was written is out."""

    def close(self) -> None: ...


def choose_output(format: str, stream: TextIO) -> Output:
    """The output for a setting of `log.format`. auto: journald when it reads `stream`, else text."""
    if format == "journald" or (format == "auto" and reaches_journal(stream)):
        return Journal(stream)
    if format == "json":
        return JsonLines(stream)
    return Text(stream)


def reaches_journal(stream: TextIO) -> bool:
    """Whether systemd connected `stream` to journald (it names device and inode in JOURNAL_STREAM)."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def shown(value: object) -> str:
    """A field's value for people, on one line. Quoted where it would be ambiguous; nothing in it can move a
    cursor."""
    text = str(value)
    if BARE.fullmatch(text) and text.isprintable():
        return text
    quoted = json.dumps(text, ensure_ascii=False)
    return quoted if quoted.isprintable() else json.dumps(text)


def printable(text: str) -> str:
    return text if text.isprintable() else json.dumps(text)[1:-1]


def sentence(entry: Mapping[str, Any]) -> str:
    """The event and its fields, without time and level."""
    fields = "".join(f" {name}={shown(value)}" for name, value in entry.items() if name not in HEAD)
    return printable(entry["event"]) + (f" {fields}" if fields else "")


class Text:
    """One line per record for people; colours and short times on a terminal."""

    def __init__(self, stream: TextIO) -> None:
        self._writer = Writer(stream)
        self.flush = self._writer.flush
        terminal = stream.isatty()
        self._short = terminal
        self._colour = terminal and "NO_COLOR" not in os.environ

    def write(self, entry: Mapping[str, Any]) -> None:
        time = entry["time"][11:19] if self._short else entry["time"]
        line = f"{time} {entry['level']:7} {sentence(entry)}"
        colour = COLOURS[entry["level"]] if self._colour else ""
        if colour:
            line = f"{colour}{line}\x1b[0m"
        for part in entry.get("traceback", "").rstrip("\n").split("\n") if "traceback" in entry else ():
            line += f"\n    {printable(part)}"
        self._writer.write(line + "\n")

    def close(self) -> None:
        """The stream is the caller's."""


class JsonLines:
    """One JSON object per line."""

    def __init__(self, stream: TextIO) -> None:
        self._writer = Writer(stream)
        self.flush = self._writer.flush

    def write(self, entry: Mapping[str, Any]) -> None:
        self._writer.write(json.dumps(entry, ensure_ascii=False, separators=(",", ":"), default=str) + "\n")

    def close(self) -> None:
        """The stream is the caller's."""


class Journal:
    """journald's native protocol: one datagram per record, MESSAGE and PRIORITY, each field upper-case.

    Never waits: a record that journald does not take at once is lost, so that a busy journald cannot stop
    the box. Where there is no journald, text goes to the stream with systemd's level prefix.
    """

    def __init__(self, stream: TextIO, path: str = JOURNAL_SOCKET) -> None:
        self._writer = Writer(stream)
        self.flush = self._writer.flush
        self._socket: socket.socket | None = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        try:
            self._socket.connect(path)
        except OSError:
            self._socket.close()
            self._socket = None

    def write(self, entry: Mapping[str, Any]) -> None:
        if self._socket is not None:
            try:
                self._socket.send(datagram(entry))
                return
            except BlockingIOError:
                return
            except OSError:
                pass
        self._writer.write(f"<{PRIORITIES[entry['level']]}>{sentence(entry)}\n")

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()


def datagram(entry: Mapping[str, Any]) -> bytes:
    """`entry` in journald's native protocol. At most 24 fields of 512 characters and a traceback of 8 Ki
    characters, so under 90 KiB: less than the 208 KiB that a datagram may have on Linux by default."""
    parts = [
        journal_field("MESSAGE", sentence(entry)),
        journal_field("PRIORITY", str(PRIORITIES[entry["level"]])),
        journal_field("SYSLOG_IDENTIFIER", "pocket"),
        journal_field("EVENT", entry["event"]),
        journal_field("LOGGER", entry["logger"]),
    ]
    taken = {"MESSAGE", "PRIORITY", "SYSLOG_IDENTIFIER", "EVENT", "LOGGER"}
    for name, value in entry.items():
        if name in HEAD and name != "traceback":
            continue
        upper = journal_name(name)
        if upper not in taken:
            taken.add(upper)
            parts.append(journal_field(upper, str(value)))
    return b"".join(parts)


def journal_name(name: str) -> str:
    """A name that journald takes: A-Z, 0-9 and _, at most 64, not starting with a digit or _ (which it
    reserves)."""
    upper = re.sub(r"[^A-Z0-9]", "_", name.upper()).strip("_")[:60]
    return f"FIELD_{upper}"[:64] if not upper or upper[0].isdigit() or upper in RESERVED else upper


RESERVED = frozenset({"MESSAGE", "MESSAGE_ID", "PRIORITY", "SYSLOG_IDENTIFIER", "EVENT", "LOGGER"})


def journal_field(name: str, value: str) -> bytes:
    octets = value.encode("utf-8", "replace")
    if b"\n" in octets:
        return name.encode() + b"\n" + struct.pack("<Q", len(octets)) + octets + b"\n"
    return name.encode() + b"=" + octets + b"\n"
