"""Whether a SHA256SUMS is signed with the key of this system (OpenPGP, by ``gpgv``)."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from appliance.updating.errors import Untrusted, UpdateError

GPGV_S = 30.0


def verify(sums: bytes, signature: bytes, key: Path) -> None:
    """Blocks. Raises ``Untrusted``, or ``UpdateError`` if nothing can be verified here."""
    if not key.is_file():
        raise UpdateError(f"there is no key of updates ({key}): this system cannot tell true ones from false")
    with tempfile.TemporaryDirectory(prefix="pocket-update-") as name:
        folder = Path(name)
        (folder / "sums").write_bytes(sums)
        (folder / "sums.gpg").write_bytes(signature)
        command = ["gpgv", "--homedir", name, "--status-fd", "1", "--keyring", str(key.absolute())]
        try:
            done = subprocess.run(
                [*command, str(folder / "sums.gpg"), str(folder / "sums")],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=GPGV_S,
                check=False,
            )
        except FileNotFoundError:
            raise UpdateError("gpgv is missing, without which no update is trusted: install gpgv") from None
        except (OSError, subprocess.TimeoutExpired) as error:
            raise UpdateError(f"the signature cannot be verified: {error}") from None
    said = {line.split()[1] for line in done.stdout.splitlines() if line.startswith(b"[GNUPG:] ")}
    if done.returncode != 0 or not {b"GOODSIG", b"VALIDSIG"} <= said:
        raise Untrusted(
            "the signature is not by the key that this box trusts, or what is signed was changed: nothing of"
            " it was used. Get the update from where the image came from"
        )
