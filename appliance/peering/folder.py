"""Joining a site, as the data folder knows it. Whatever is interrupted, the next start goes on with it.

    DATA/joining.new/   being paired: the new key; then certificate and key of the site, and who its boxes are
    DATA/joining/       paired: the copy has to be made
    DATA/copy/          the copy, a store of its own with the new key
    DATA/arrived        a mark: the copy is complete, and takes the place of what was there

``joining.new`` becomes ``joining`` in one step, so a box is either blank or about to join. With the mark on
stable storage the old data may go: every step of ``finish`` can be done again, the mark goes last, and no box
runs on a data folder that has it.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

import msgspec

from appliance.pairing import BoxEntry, BoxGift
from appliance.store import write_synced
from appliance.store.database import Database
from appliance.store.journal import KEY_NAME, BoxKey

DRAFT, JOINING, COPY, MARK = "joining.new", "joining", "copy", "arrived"
FACTS, CERT, KEY = "join.json", "cert.pem", "key.pem"
RESTORE = "restore.json"
"""Beside these, where the copy is filled from a backup (`appliance.backup`) and no other box."""
DATABASE, BLOBS = "pocket.db", "blobs"
SIDECARS = (f"{DATABASE}-wal", f"{DATABASE}-shm")
BALLAST = "ballast"


class Joining(msgspec.Struct, frozen=True):
    """What a box that is joining knows of the site. ``slot``: its own; ``host``: the box that let it in.
    ``again``: it is one of the site's already, and was away for longer than the journals reach; ``own_seq``
    is how far its own journal goes, which the others have. ``of``: it was this box, whose data stay in the
    folder until what only they have is in the copy.
    """

    site: str
    slot: int
    host: str
    boxes: list[BoxEntry]
    again: bool = False
    own_seq: int = 0
    of: str = ""


def new_key(folder: Path) -> BoxKey:
    """The key with which this blank box becomes one of a site; of an attempt that failed the same, so that it
    is known there. Blocks. Raises ``OSError``, ``ValueError``.
    """
    draft = folder / DRAFT
    draft.mkdir(exist_ok=True, mode=0o700)
    return BoxKey.load_or_create(draft / KEY_NAME)


def keep(folder: Path, gift: BoxGift) -> None:
    """Put what the host gave on stable storage. Blocks. Raises ``OSError``."""
    draft = folder / DRAFT
    write_synced(draft / KEY, gift.key.encode())
    write_synced(draft / CERT, gift.cert.encode(), 0o644)
    _write(draft, Joining(gift.site, -1, gift.host, gift.boxes))


def accept(folder: Path, slot: int) -> None:
    """The host says that we are one of them: from here on this box joins. Blocks. Raises ``OSError``."""
    draft = folder / DRAFT
    _write(draft, msgspec.structs.replace(_read(draft), slot=slot))
    draft.rename(folder / JOINING)
    _sync(folder)


def again(folder: Path, joining: Joining, cert: str, key: str) -> None:
    """Let the copy be made anew of a box that is one of the site. Blocks. Raises ``OSError``."""
    draft = folder / DRAFT
    forget(folder)
    draft.mkdir(mode=0o700)
    write_synced(draft / KEY_NAME, (folder / KEY_NAME).read_bytes())
    write_synced(draft / KEY, key.encode())
    write_synced(draft / CERT, cert.encode(), 0o644)
    _write(draft, joining)
    draft.rename(folder / JOINING)
    _sync(folder)


def renew(folder: Path, joining: Joining, cert: str, key: str) -> None:
    """Let this box become the one with ``new_key``, which the site has. Blocks. Raises ``OSError``."""
    draft = folder / DRAFT
    write_synced(draft / KEY, key.encode())
    write_synced(draft / CERT, cert.encode(), 0o644)
    _write(draft, joining)
    draft.rename(folder / JOINING)
    _sync(folder)


def forget(folder: Path) -> None:
    """An attempt that came to nothing. Blocks. Raises ``OSError``."""
    with suppress(FileNotFoundError):
        shutil.rmtree(folder / DRAFT)


def find(folder: Path) -> Joining | None:
    """What there is to join; None if this box does not. Blocks. Raises ``OSError``, ``ValueError``."""
    joining = folder / JOINING
    return _read(joining) if joining.is_dir() else None


def prepare_copy(folder: Path) -> Path:
    """The folder of the copy, with the key in it; one that was begun goes on. Blocks. Raises ``OSError``."""
    copy = folder / COPY
    copy.mkdir(exist_ok=True, mode=0o700)
    if not (copy / KEY_NAME).exists():
        write_synced(copy / KEY_NAME, (folder / JOINING / KEY_NAME).read_bytes())
    return copy


def give_up(folder: Path) -> None:
    """The site does not know this box: be blank again. Blocks. Raises ``OSError``."""
    forget(folder)
    if (folder / JOINING).is_dir():
        (folder / JOINING).rename(folder / DRAFT)
        _sync(folder)
    forget(folder)
    if (folder / COPY).is_dir():
        shutil.rmtree(folder / COPY)


def mark(folder: Path) -> None:
    """The copy is complete, and its store closed. Blocks. Raises ``OSError``, ``StoreError``; ``ValueError``
    if a part of it is not there.
    """
    copy = folder / COPY
    for name in (KEY_NAME, DATABASE):
        if not (copy / name).is_file():
            raise ValueError(f"{copy / name} is missing: the copy cannot be used")
    if any((copy / name).exists() for name in SIDECARS):
        Database(copy / DATABASE).close()  # the disk was full when it was closed
    if any((copy / name).exists() for name in SIDECARS):
        raise ValueError(f"the copy in {copy} cannot be closed")
    _sync_all(copy)
    (copy / BLOBS).mkdir(exist_ok=True, mode=0o700)
    _sync(copy)
    write_synced(folder / MARK, b"")


def finish(folder: Path) -> bool:
    """Let a complete copy take the place of what is there, which may have begun before; whether there was
    one. Nothing else may use the folder. Blocks. Raises ``OSError``, and it is not finished.
    """
    if not (folder / MARK).exists():
        return False
    copy, joining = folder / COPY, folder / JOINING
    if (copy / BLOBS).is_dir():
        _keep_files(folder / BLOBS, copy / BLOBS)
        with suppress(FileNotFoundError):
            shutil.rmtree(folder / BLOBS)
        (copy / BLOBS).rename(folder / BLOBS)
    if (copy / DATABASE).exists():
        for name in (*SIDECARS, BALLAST):
            (folder / name).unlink(missing_ok=True)
        _sync(folder)
        (copy / DATABASE).rename(folder / DATABASE)
    if (copy / KEY_NAME).exists():
        (copy / KEY_NAME).rename(folder / KEY_NAME)
    if joining.is_dir():
        tls = folder / "tls"
        tls.mkdir(exist_ok=True, mode=0o700)
        write_synced(tls / KEY, (joining / KEY).read_bytes())
        write_synced(tls / CERT, (joining / CERT).read_bytes(), 0o644)
        forget(folder)
        joining.rename(folder / DRAFT)
    forget(folder)
    if copy.is_dir():
        shutil.rmtree(copy)
    _sync(folder)
    (folder / MARK).unlink()
    _sync(folder)
    return True


def _keep_files(old: Path, new: Path) -> None:
    """Attachments that came here alone: another box may have taken their entries from this one, and not yet
    the files. Those that no message names go when the store is opened.
    """
    for path in old.glob("??/*"):
        place = new / path.relative_to(old)
        if not place.exists():
            place.parent.mkdir(exist_ok=True, mode=0o700)
            path.rename(place)
            _sync(place.parent)
    _sync(new)


def _write(folder: Path, joining: Joining) -> None:
    write_synced(folder / FACTS, msgspec.json.encode(joining))


def _read(folder: Path) -> Joining:
    try:
        return msgspec.json.decode((folder / FACTS).read_bytes(), type=Joining)
    except (msgspec.DecodeError, FileNotFoundError) as error:
        raise ValueError(
            f"{folder / FACTS} cannot be read ({error}): reset this box with   pocket factory-reset   and let"
            " it join again"
        ) from error


def _sync_all(folder: Path) -> None:
    """Everything in the folder: files as they are and their names."""
    for path, _, names in os.walk(folder, topdown=False):
        for name in names:
            _sync(Path(path) / name)
        _sync(Path(path))


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
