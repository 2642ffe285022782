"""Real OpenPGP keys, and folders of updates signed with them."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

BOARD = "virt-test"


class Signer:
    """A key of its own. ``close`` it."""

    def __init__(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="pocket-gpg-"))
        self.home.chmod(0o700)
        self._gpg("--passphrase", "", "--quick-gen-key", "updates", "ed25519", "sign", "never")
        self.public = self._gpg("--export").stdout

    def sign(self, octets: bytes) -> bytes:
        return self._gpg("--detach-sign", "--output", "-", stdin=octets).stdout

    def _gpg(self, *words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            ["gpg", "--batch", "--quiet", "--homedir", str(self.home), *words],
            input=stdin,
            capture_output=True,
            check=True,
            timeout=60,
        )

    def close(self) -> None:
        subprocess.run(["gpgconf", "--homedir", str(self.home), "--kill", "all"], check=False, timeout=60)
        shutil.rmtree(self.home, ignore_errors=True)


def publish(
    folder: Path,
    signer: Signer,
    versions: Sequence[str],
    board: str = BOARD,
    octets: int = 300_000,
    more: str = "",
) -> Path:
    """Put whole payloads of these versions into a folder, signed."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [more] if more else []
    for version in versions:
        for part, size in (("root", octets), ("efi", octets // 10)):
            name = f"pocket-{board}-{version}.{part}.zst"
            content = os.urandom(size)
            (folder / name).write_bytes(content)
            lines.append(f"{hashlib.sha256(content).hexdigest()}  {name}\n")
    sums = "".join(lines).encode()
    (folder / "SHA256SUMS").write_bytes(sums)
    (folder / "SHA256SUMS.gpg").write_bytes(signer.sign(sums))
    return folder
