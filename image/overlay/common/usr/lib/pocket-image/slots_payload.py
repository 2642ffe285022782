"""What the box staged for an update, of which nothing is believed that the builder's key did not sign.

The user pocket can change the files at any time. So the sums and their signature are read once, and the sums
of the payload are taken of the very octets that are used.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slots_disk import PIECE, VERSION, Refused

SMALL_OCTETS_MAX = 64 << 10
"""Of a request, the sums, their signature."""
NOBODY = 65534
"""Who unpacks what has yet to be proven."""


class Staged:
    """The folder that the box puts an update into. No link in it is followed."""

    def __init__(self, root: Path, parts: tuple[str, ...]) -> None:
        """Refused if it is not there."""
        self._folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
        for part in parts:
            above = self._folder
            try:
                self._folder = os.open(
                    part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=above
                )
            except OSError:
                raise Refused("there is no update to install: pocket update install") from None
            finally:
                os.close(above)

    def open(self, name: str) -> int:
        """A file descriptor. Refused if it is no file."""
        try:
            file = os.open(
                name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=self._folder
            )
        except OSError as problem:
            raise Refused(f"{name} cannot be read ({problem.strerror}): fetch the update again") from None
        if not stat.S_ISREG(os.fstat(file).st_mode):
            os.close(file)
            raise Refused(f"{name} is no file: fetch the update again")
        return file

    def small(self, name: str) -> bytes:
        file = self.open(name)
        try:
            octets = os.read(file, SMALL_OCTETS_MAX + 1)
        finally:
            os.close(file)
        if len(octets) > SMALL_OCTETS_MAX:
            raise Refused(f"{name} is larger than {SMALL_OCTETS_MAX} octets: fetch the update again")
        return octets


@dataclass(frozen=True)
class Request:
    """What the box wants."""

    id: str = ""
    want: str = "install"
    version: str = ""
    downgrade: bool = False
    """An older version, too."""
    again: bool = False
    """One that was given up before, too."""
    restart: bool = False

    @classmethod
    def read(cls, octets: bytes) -> Request:
        """Refused if it makes no sense."""
        try:
            told: Any = json.loads(octets)
            made = cls(**{name: told[name] for name in cls.__dataclass_fields__ if name in told})
        except (ValueError, TypeError, RecursionError):
            raise Refused("request.json makes no sense: pocket update install") from None
        flags = (made.downgrade, made.again, made.restart)
        if (
            not isinstance(made.id, str)
            or not re.fullmatch(r"[0-9a-f]{0,32}", made.id)
            or made.want not in ("install", "rollback")
            or not isinstance(made.version, str)
            or not re.fullmatch(VERSION, made.version)
            or not all(isinstance(flag, bool) for flag in flags)
        ):
            raise Refused("request.json makes no sense: pocket update install")
        return made


def rank(version: str) -> tuple[int, ...]:
    """Versions in order; what is missing is 0."""
    numbers = [int(number) for number in version.split(".")]
    return (*numbers, *[0] * (4 - len(numbers)))


def signed(staged: Staged, keys: Path) -> dict[str, str]:
    """SHA-256 by name, from the sums that the builder's key signed. Refused if they are not signed by it."""
    sums, signature = staged.small("SHA256SUMS"), staged.small("SHA256SUMS.gpg")
    with tempfile.TemporaryDirectory() as folder:
        for name, octets in (("sums", sums), ("sums.gpg", signature)):
            (Path(folder) / name).write_bytes(octets)
        try:
            ended = subprocess.run(
                ["gpgv", "--homedir", folder, "--keyring", str(keys), "sums.gpg", "sums"],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=60,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as problem:
            raise Refused(f"the signature cannot be checked: {problem}") from None
    if ended.returncode:
        raise Refused(
            "the update is not signed with the key that this box trusts: take one from where its image "
            "comes from"
        )
    lines = [line.split("  ", 1) for line in sums.decode("ascii", errors="replace").splitlines()]
    return {line[1]: line[0] for line in lines if len(line) == 2 and re.fullmatch("[0-9a-f]{64}", line[0])}


@dataclass
class Part:
    """A packed file of the update, whose sum was signed."""

    name: str
    file: int
    sha256: str

    @property
    def octets(self) -> int:
        """As packed."""
        return os.fstat(self.file).st_size

    def unpacked(self) -> Iterator[bytes]:
        """Pieces of the content. Refused, after the last one, if the file was not what was signed: what
        came before is worth nothing then."""
        nobody = NOBODY if os.geteuid() == 0 else None
        unpack = subprocess.Popen(
            ["zstd", "-dcq"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            user=nobody,
            group=nobody,
            extra_groups=None if nobody is None else [],
        )
        assert unpack.stdin and unpack.stdout
        digest = hashlib.sha256()

        def feed(to: Any) -> None:
            at = 0
            try:
                while piece := os.pread(self.file, PIECE, at):
                    at += len(piece)
                    digest.update(piece)
                    to.write(piece)
                to.close()
            except OSError:
                pass  # it ended before, and then says so

        feeder = threading.Thread(target=feed, args=(unpack.stdin,), daemon=True)
        feeder.start()
        try:
            while piece := unpack.stdout.read(PIECE):
                yield piece
            feeder.join()
            if unpack.wait() or digest.hexdigest() != self.sha256:
                raise Refused(f"{self.name} is damaged: fetch the update again")
        finally:
            unpack.kill()
            unpack.wait()
            feeder.join()
            unpack.stdout.close()


@dataclass
class Payload:
    """An update: a system and the kernel file that starts it."""

    version: str
    root: Part
    kernel: Part

    @classmethod
    def open(cls, staged: Staged, keys: Path, board: str, version: str) -> Payload:
        """Refused if the builder signed no such version for this board."""
        sums = signed(staged, keys)
        parts = []
        for kind in ("root", "efi"):
            name = f"pocket-{board}-{version}.{kind}.zst"
            if name not in sums:
                told = sorted(other for other in sums if other.endswith(".root.zst"))
                raise Refused(
                    f"this is no update to {version} for {board}, but {', '.join(told) or 'none at all'}"
                )
            parts.append(Part(name, staged.open(name), sums[name]))
        return cls(version, *parts)
