"""sbom.py: what the image consists of, with versions and SHA-256, as CycloneDX 1.5, on standard output."""

import json
import os
import sys
import uuid
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from zipfile import ZipFile


def debian(table: Path) -> list[dict[str, object]]:
    """Packages of Debian: name, version, architecture, SHA-256 in each line."""
    components: list[dict[str, object]] = []
    for line in table.read_text().splitlines():
        name, version, arch, digest = line.split("\t")
        purl = f"pkg:deb/debian/{name}@{version.replace('+', '%2B')}?arch={arch}&distro=trixie"
        components.append(component(name, version, purl, digest))
    return components


def python(folder: Path) -> list[dict[str, object]]:
    """Wheels, and sources of what was compiled."""
    components = []
    for path in sorted(folder.iterdir()):
        if path.suffix == ".whl":
            with ZipFile(path) as archive:
                names = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
                head = archive.read(names[0]).decode().split("\n\n")[0]
            told = dict(line.split(": ", 1) for line in head.splitlines() if ": " in line)
            name, version = told["Name"], told["Version"]
        else:
            name, version = path.name.removesuffix(".tar.gz").rsplit("-", 1)
        digest = sha256(path.read_bytes()).hexdigest()
        components.append(component(name, version, f"pkg:pypi/{name.lower()}@{version}", digest))
    return components


def component(name: str, version: str, purl: str, digest: str) -> dict[str, object]:
    return {
        "type": "library",
        "bom-ref": purl,
        "name": name,
        "version": version,
        "purl": purl,
        "hashes": [{"alg": "SHA-256", "content": digest}],
    }


def main() -> None:
    env = os.environ
    found = (
        debian(Path(env["BASE"]) / "packages.tsv")
        + debian(Path(env["DEBS"]) / "debs.tsv")
        + python(Path(env["WHEELS"]))
    )
    name, version = f"pocket-{env['BOARD']}", env["VERSION"]
    time = env["SOURCE_DATE_EPOCH"]
    bom = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'{name} {version} {time}')}",
        "version": 1,
        "metadata": {
            "timestamp": datetime.fromtimestamp(int(time), UTC).isoformat(),
            "component": {"type": "firmware", "name": name, "version": version},
        },
        "components": found,
    }
    json.dump(bom, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
