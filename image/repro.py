"""`make image-repro`: builds an image again from nothing but the tools, and compares what comes out, octet
by octet."""

from __future__ import annotations

import hashlib
import shutil

from .build import Build, build_of, remove
from .errors import ImageError

NOT_COMPARED = {"SHA256SUMS.gpg"}
"""A signature tells its time."""


def results(build: Build) -> dict[str, str]:
    """Names and SHA-256 of everything that is given away."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(build.result("pack").iterdir())
        if path.name not in NOT_COMPARED
    }


def repro(name: str) -> None:
    """ImageError with the names of the files that differ. The mirror has to be the same for both builds:
    packages that changed between them are told as such."""
    first = build_of(name)
    first.run()
    again = Build(first.machine, dict(first.settings), first.place / "again")
    if again.keys != first.keys:
        raise ImageError("the sources changed during the first build: leave them alone, and begin anew")
    remove(again.place)
    tools = again.result("tools")
    tools.parent.mkdir(parents=True)
    tools.symlink_to(first.result("tools"))
    again.run()
    one, two = results(first), results(again)
    differing = [name for name in one if one[name] != two.get(name)]
    for file in one:
        print(f"{one[file][:16]} {two.get(file, '')[:16]} {file}")
    if differing:
        base = [(build.result("base") / "packages.tsv").read_text() for build in (first, again)]
        why = "" if base[0] == base[1] else " (the mirror had other packages meanwhile)"
        raise ImageError(
            f"not the same: {', '.join(differing)}{why}; both are kept: {first.place}, {again.place}"
        )
    shutil.rmtree(again.place)
    print(f"two builds of {name} are the same octets")
