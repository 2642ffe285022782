"""python3 -m image WORD ...: what the Makefile calls. The words are explained in README.md."""

from __future__ import annotations

import argparse
import os
import sys

from . import wheels
from .boot import boot
from .build import build_of
from .errors import ImageError
from .flash import flash
from .repro import repro


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python3 -m image", description="Builds, flashes and boots the firmware."
    )
    words = parser.add_subparsers(dest="word", required=True)
    words.add_parser("build", help="build the image of a board").add_argument("board")
    words.add_parser("boot", help="start the image of a board in QEMU").add_argument("board")
    words.add_parser("repro", help="build the image of a board twice, and compare").add_argument("board")
    write = words.add_parser("flash", help="write the image of a board to a card")
    write.add_argument("board")
    write.add_argument("device", nargs="?", default="")
    words.add_parser("lock", help="write wheels.lock anew")
    fetch = words.add_parser("fetch", help="download the locked Python packages")
    fetch.add_argument("arch")
    fetch.add_argument("folder")
    told = parser.parse_args()
    os.umask(0o022)  # what root builds, others may read
    try:
        match told.word:
            case "build":
                build = build_of(told.board)
                if os.environ.get("FRESH"):
                    build.forget()
                build.run()
            case "boot":
                return boot(told.board)
            case "repro":
                repro(told.board)
            case "flash":
                flash(told.board, told.device)
            case "lock":
                wheels.lock()
            case "fetch":
                wheels.fetch(told.arch, told.folder)
    except ImageError as problem:
        print(problem, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on from here", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
