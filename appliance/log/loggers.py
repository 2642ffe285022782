"""The two ends of logging: `Logger`, which the rooms write to, and the one handler that everything ends
in."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TextIO

from appliance.log.fields import EVENT_CHARS_MAX, clean, clip, trace
from appliance.log.limit import Limit
from appliance.log.outputs import Output, choose_output
from appliance.log.ring import LEVELS, Ring

TOP = "appliance"


class Logger:
    """Writes events of one module. `event` is a constant text; what varies are fields."""

    __slots__ = ("_logger",)

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def debug(self, event: str, /, **fields: object) -> None:
        self._log(logging.DEBUG, event, fields)

    def info(self, event: str, /, **fields: object) -> None:
        self._log(logging.INFO, event, fields)

    def warning(self, event: str, /, **fields: object) -> None:
        self._log(logging.WARNING, event, fields)

    def error(self, event: str, /, **fields: object) -> None:
        self._log(logging.ERROR, event, fields)

    def exception(self, event: str, /, **fields: object) -> None:
        """An error with the exception being handled: its text as the field `error`, its traceback as
        `traceback`."""
        self._log(logging.ERROR, event, fields, sys.exc_info()[1])

    def _log(
        self, level: int, event: str, fields: dict[str, object], error: BaseException | None = None
    ) -> None:
        if self._logger.isEnabledFor(level):
            exc_info = (type(error), error, error.__traceback__) if error is not None else None
            self._logger.log(level, "%s", event, extra={"fields": fields}, exc_info=exc_info)


def get_logger(name: str) -> Logger:
    """The logger of a module: `get_logger(__name__)`."""
    return Logger(name)


class Outlet(logging.Handler):
    """Where all records end: limited, made safe, numbered, kept in the ring, put out. Never raises."""

    def __init__(self, limit: Limit | None = None) -> None:
        super().__init__()
        self._limit = limit or Limit()
        self._ring = Ring()
        self._count = 0
        self.output: Output | None = None

    def emit(self, record: logging.LogRecord) -> None:
        try:
            entry = self._entry(record)
            if entry is not None:
                self._ring.add(entry)
                if self.output is not None:
                    self.output.write(entry)
        except Exception:
            self.handleError(record)

    def _entry(self, record: logging.LogRecord) -> dict[str, Any] | None:
        event = clip(record.getMessage(), EVENT_CHARS_MAX)
        suppressed: int | None = 0
        if record.levelno > logging.DEBUG:
            suppressed = self._limit.admit(
                (record.name, record.levelno, event), record.levelno >= logging.ERROR
            )
        if suppressed is None:
            return None
        self._count += 1
        entry: dict[str, Any] = {
            "n": self._count,
            "time": stamp(record.created),
            "level": level_name(record.levelno),
            "logger": record.name,
            "event": event,
        }
        fields = getattr(record, "fields", {})
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            fields = {"error": error, **fields}
        entry |= clean(fields)
        if error is not None:
            entry["traceback"] = trace(error)
        if suppressed:
            entry["suppressed"] = suppressed
        return entry

    def flush(self) -> None:
        """Called when the process ends, too."""
        if self.output is not None:
            self.output.flush()

    def handleError(self, record: logging.LogRecord) -> None:
        """A log that cannot be written stops nothing: nobody is left to tell."""

    def recent(self, lines: int, level: str, after: int) -> list[dict[str, Any]]:
        self.acquire()
        try:
            return self._ring.recent(lines, level, after)
        finally:
            self.release()


def stamp(seconds: float) -> str:
    """Seconds since the epoch as UTC with milliseconds: 2026-01-02T15:04:05.678Z."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def level_name(number: int) -> str:
    """The nearest of our four levels at or below `number`."""
    return next((name for name, floor in reversed(LEVELS.items()) if number >= floor), "debug")


_outlet = Outlet()
_setup_lock = threading.Lock()


def setup(
    level: str = "info", format: str = "auto", stream: TextIO | None = None, limit: Limit | None = None
) -> Callable[[], None]:
    """Start logging: ours from `level` on, other libraries' from warning on, to `stream` (standard error).

    `format` is auto, text, json or journald. A second call replaces the first. Returns what undoes it.
    """
    global _outlet
    with _setup_lock:
        root, ours = logging.getLogger(), logging.getLogger(TOP)
        root.removeHandler(_outlet)
        outlet = _outlet = Outlet(limit)
        outlet.output = choose_output(format, stream or sys.stderr)
        root.addHandler(outlet)
        root.setLevel(max(logging.WARNING, LEVELS[level]))
        ours.setLevel(LEVELS[level])
        logging.captureWarnings(True)

    def undo() -> None:
        with _setup_lock:
            root.removeHandler(outlet)
            ours.setLevel(logging.NOTSET)
            root.setLevel(logging.WARNING)
            logging.captureWarnings(False)
            if outlet.output is not None:
                outlet.output.flush()
                outlet.output.close()

    return undo


def recent(lines: int = 100, level: str = "debug", after: int = 0) -> list[dict[str, Any]]:
    """The latest `lines` records of `level` and above with a number (`n`) over `after`, oldest first.

    Each has n (its number in this run), time, level, logger, event and its fields. RING_RECORDS are kept.
    """
    return _outlet.recent(lines, level, after)
