"""Writes a member's archives into a folder: JSON lines, and a file for each attachment (README.md, "Export").

This is the side of who asked: it reads page by page through ``ask`` and holds one page at a time. Every file
gets its name when all of it is on stable storage, so whenever it stops, what is there is whole; and the same
again goes on where it was, or adds what has come since.
"""

from __future__ import annotations

import base64
import errno
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from appliance.mail.errors import ExportError
from appliance.mail.filenames import safe_name

FORMAT: Final = 1
STATE_NAME: Final = "export.json"
PART: Final = ".part"
PIECE_OCTETS: Final = 512 << 10
OWN_ARCHIVE: Final = "site"
"""The folder for attachments of this site's messages; memberships have their names."""

Ask = Callable[[str, Mapping[str, Any]], Any]
"""A word and its arguments to the box, as JSON; its result."""


@dataclass(slots=True)
class Progress:
    """Messages and octets written by now; ``total`` is how many messages there are in all."""

    messages: int = 0
    octets: int = 0
    total: int = 0


@dataclass(slots=True)
class State:
    """What ``export.json`` says. ``complete``: nothing was left when it was last run."""

    uid: str = ""
    membership: str | int | None = None
    parts: int = 0
    messages: int = 0
    octets: int = 0
    after: dict[str, str] = field(default_factory=dict)
    complete: bool = False


class Export:
    """``run`` it; it blocks. ``args`` say whose archives, in every question; ``tell`` hears how far it is."""

    def __init__(
        self,
        folder: Path,
        ask: Ask,
        args: Mapping[str, Any],
        tell: Callable[[Progress], None] = lambda progress: None,
    ) -> None:
        self._folder = folder
        self._ask = ask
        self._args = dict(args)
        self._tell = tell
        self._state = State(membership=args.get("membership"))
        self._progress = Progress()

    def run(self) -> Progress:
        """Export what is not there yet; returns how much there is now. Raises ``ExportError``, and whatever
        ``ask`` raises: in both cases the same again goes on with it.
        """
        try:
            self._open()
            while not self._page():
                pass
        except OSError as error:
            raise ExportError(_reason(error, self._folder)) from error
        return self._progress

    def _open(self) -> None:
        path = self._folder / STATE_NAME
        try:
            saved = json.loads(path.read_bytes())
        except FileNotFoundError:
            begun = {STATE_NAME + PART}
            if self._folder.exists() and {path.name for path in self._folder.iterdir()} - begun:
                raise ExportError(
                    f"{self._folder} has other things in it: name a new or an empty folder"
                ) from None
            return
        except ValueError:
            saved = None
        if not isinstance(saved, dict) or saved.get("format") != FORMAT:
            raise ExportError(f"{path} is of no export that this version knows: name another folder")
        try:
            self._state = State(**{name: saved[name] for name in State.__slots__})
        except KeyError as missing:
            raise ExportError(f"{path} is damaged ({missing} is missing): name another folder") from None
        if self._state.membership != self._args.get("membership"):
            raise ExportError(f"{self._folder} has an export of other archives: name another folder")
        self._progress = Progress(self._state.messages, self._state.octets)

    def _page(self) -> bool:
        """Write the next page; whether it was the last one."""
        state = self._state
        page = self._ask("mail.page", {**self._args, "after": state.after})
        if state.uid not in ("", page["uid"]):
            raise ExportError(f"{self._folder} has an export of another member: name another folder")
        if not state.uid:
            state.uid = page["uid"]
            self._save()
        self._progress.total = page["total"]
        lines = []
        for record in page["records"]:
            lines.append(self._line(record))
            self._progress.messages += 1
            self._tell(self._progress)
        if lines:
            state.parts += 1
            octets = "".join(lines).encode()
            self._progress.octets += len(octets)
            self._write(self._folder / "messages" / f"{state.parts:06}.jsonl", [octets])
        state.messages, state.octets = self._progress.messages, self._progress.octets
        state.after, state.complete = page["after"], page["done"]
        self._save()
        self._tell(self._progress)
        return state.complete

    def _save(self) -> None:
        values = {name: getattr(self._state, name) for name in State.__slots__}
        saved = json.dumps({"format": FORMAT, **values}, indent=1) + "\n"
        self._write(self._folder / STATE_NAME, [saved.encode()])

    def _line(self, record: dict[str, Any]) -> str:
        """A record as it is written, its attachments as files."""
        node, left = record.pop("node"), record.pop("left_octets")
        offset = record.pop("body_offset")
        folder = self._folder / "files" / safe_name(record["archive"], OWN_ARCHIVE) / record["msgid"]
        if record["body"] is None and record["body_octets"] and left:
            source = node, record["msgid"], offset, record["body_octets"]
            record["body_file"] = self._file(folder / "body", *source)[0]
        for number, attachment in enumerate(record["attachments"], 1):
            offset, kept = attachment.pop("offset"), attachment.pop("kept")
            name = f"{number}-{safe_name(attachment['name'], 'attachment')}"
            source = node, record["msgid"], offset, attachment["size"]
            path, digest = self._file(folder / name, *source) if kept else (None, None)
            attachment["file"], attachment["sha256"] = path, digest
        return json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n"

    def _file(
        self, path: Path, node: int, msgid: str, offset: int, size: int
    ) -> tuple[str | None, str | None]:
        """Fetch ``size`` octets of a message's data into a file, going on where it was. Returns its name,
        as it stands in the lines, and its SHA-256; None if the box has let go of it meanwhile.
        """
        name = path.relative_to(self._folder).as_posix()
        hashed = hashlib.sha256()
        if path.exists() and path.stat().st_size == size:
            _hash(path, hashed)
            self._progress.octets += size
            return name, hashed.hexdigest()
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(path.name + PART)
        with open(partial, "ab") as file:
            if file.tell() > size:
                file.truncate(0)
            _hash(partial, hashed)
            self._progress.octets += file.tell()
            while file.tell() < size:
                at = file.tell()
                asked = {
                    "node": node,
                    "message": msgid,
                    "offset": offset + at,
                    "octets": min(PIECE_OCTETS, size - at),
                }
                piece = self._ask("mail.piece", {**self._args, **asked})
                octets = base64.b64decode(piece["data"])
                if not octets:
                    partial.unlink()
                    return None, None
                file.write(octets)
                hashed.update(octets)
                self._progress.octets += len(octets)
                self._tell(self._progress)
            _sync(file.fileno(), file.flush)
        partial.rename(path)
        _sync_folder(path.parent)
        return name, hashed.hexdigest()

    def _write(self, path: Path, pieces: Iterable[bytes]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(path.name + PART)
        with open(partial, "wb") as file:
            file.writelines(pieces)
            _sync(file.fileno(), file.flush)
        partial.replace(path)
        _sync_folder(path.parent)


def _sync(number: int, flush: Callable[[], None]) -> None:
    flush()
    os.fsync(number)


def _sync_folder(folder: Path) -> None:
    """Some file systems of USB sticks cannot, and need not."""
    number = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            os.fsync(number)
    finally:
        os.close(number)


def _hash(path: Path, hashed: Any) -> None:
    with open(path, "rb") as file:
        while octets := file.read(PIECE_OCTETS):
            hashed.update(octets)


def _reason(error: OSError, folder: Path) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"no room is left on {folder}: make some, and give the same command again; it goes on"
    return (
        f"{error.filename or folder} cannot be written ({error.strerror or error}): see whether it is there"
    )
