"""Updates to try, made of an image that was built: the same system under another number, with other files.

What a trial needs to see is in these files, so that the image itself has nothing that is only for tests.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from image.build import Build, keys_folder

MAKE = r"""
set -eu
. "$IMAGE/lib/tree.sh"
cd "$OUT"
rm -rf tree
fsck.erofs --extract=tree --overwrite --preserve "$ROOT/root.erofs" >/dev/null
cp -rT files tree
os_release >tree/usr/lib/os-release
mkfs.erofs --quiet -zlz4hc,3 -C65536 -T"$SOURCE_DATE_EPOCH" --all-time root.erofs tree
rm -rf tree
[ ! -e damage ] || dd if=/dev/urandom of=root.erofs bs=1M count=8 conv=notrunc status=none
"$IMAGE/steps/uki.sh"
zstd -q -1 -f root.erofs -o "pocket-$BOARD-$VERSION.root.zst"
zstd -q -1 -f pocket.efi -o "pocket-$BOARD-$VERSION.efi.zst"
rm -rf root.erofs pocket.efi files damage
sha256sum pocket-*.zst >SHA256SUMS
export GNUPGHOME=/tmp/gnupg
mkdir -m 700 $GNUPGHOME
gpg --batch --quiet --import "$KEYS/secret.asc"
gpg --batch --quiet --yes --detach-sign --output SHA256SUMS.gpg SHA256SUMS
gpgconf --kill all
"""
"""Runs in the tools folder, as the steps of the build do."""


def derive(build: Build, version: str, place: Path, files: Mapping[str, str], damaged: bool = False) -> Path:
    """The update to `version`: a folder with what is given away of one. `files`: path in the system, and
    content; `damaged`: the system's first octets are noise."""
    folder = place / version
    shutil.rmtree(folder, ignore_errors=True)
    for name, content in files.items():
        path = folder / "files" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content.startswith("->"):
            path.symlink_to(content[2:])
        else:
            path.write_text(content)
    (folder / "files").mkdir(parents=True, exist_ok=True)
    if damaged:
        (folder / "damage").touch()
    environment = {
        **{name: build.settings[name] for name in ("BOARD", "ARCH", "CMDLINE", "SOURCE_DATE_EPOCH")},
        **{name.upper(): str(build.last(name)) for name in ("root", "debs", "initrd")},
        **{"VERSION": version, "OUT": str(folder), "KEYS": str(keys_folder())},
        "IMAGE": str(Path(__file__).parents[2] / "image"),
    }
    words = [*(f"{name}={value}" for name, value in environment.items()), "bash", "-c", MAKE]
    subprocess.run(build.in_tools(words, folder), check=True)
    return folder
