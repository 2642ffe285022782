"""unpack_wheels.py FOLDER WHEEL...: unpack wheels as pip would, without scripts, headers and a record of
what was installed."""

import shutil
import sys
import zipfile
from pathlib import Path

PLACES = ("purelib", "platlib")


def unpack(wheel: Path, folder: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            first, _, rest = name.partition("/")
            if first.endswith(".data"):
                place, _, rest = rest.partition("/")
                if place not in PLACES:
                    continue
                target = folder / rest
            else:
                target = folder / name
            if name.endswith("/"):
                continue
            if not target.resolve().is_relative_to(folder.resolve()):
                sys.exit(f"{wheel.name}: {name} leaves the folder")
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(name) as source, target.open("wb") as copy:
                shutil.copyfileobj(source, copy)


def main() -> None:
    folder = Path(sys.argv[1])
    for name in sys.argv[2:]:
        unpack(Path(name), folder)


if __name__ == "__main__":
    main()
