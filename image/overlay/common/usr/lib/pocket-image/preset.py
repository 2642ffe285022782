"""What the person put into pocket.toml on the boot partition takes effect: at each start, before the box
and the network.

The file has settings of the box (`name = "Home"`, as `pocket config show` explains them), and two tables
that are the system's:

    [wifi]
    ssid = "..."                and if need be psk, the password, and hidden = true
    [ssh]
    key = "ssh-ed25519 ..."     lets its owner log in as root; without it there is no SSH

The settings go over those of the board, into the file that the box is started with. A file with mistakes is
not used, and the box starts with the board's settings; `journalctl -u pocket-preset` says what is wrong.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import sys
import tomllib
import unicodedata
import uuid
from pathlib import Path
from typing import Any

HERE = Path(os.environ.get("POCKET_ROOT", "/"))
"""Tests have the files somewhere else."""
BOARD = HERE / "usr/share/pocket/board.toml"
PRESET = HERE / "boot/pocket.toml"
MADE = HERE / "run/pocket-preset/pocket.toml"
CONNECTION = HERE / "var/lib/NetworkManager/connections/preset.nmconnection"
TAKEN = HERE / "data/systemd/preset-wifi"
"""Which Wi-Fi was taken over: one that was changed on the box since then is not put back."""
KEYS = HERE / "data/ssh/authorized_keys"
PRESET_OCTETS_MAX = 64 << 10
HOST_NAME_MAX = 54
NAMESPACE = uuid.UUID("5a7fa6f8-30a4-4b0e-a8f0-1b3f0cde6f10")


class Mistake(Exception):
    """What is wrong with the preset."""


def read(path: Path) -> dict[str, Any]:
    """The tables of that file; none if it is not there."""
    try:
        with path.open("rb") as file:
            octets = file.read(PRESET_OCTETS_MAX + 1)
    except FileNotFoundError:
        return {}
    if len(octets) > PRESET_OCTETS_MAX:
        raise Mistake(f"{path.name} is larger than {PRESET_OCTETS_MAX} octets")
    try:
        # What Windows puts in front of a text file, and at the end of its lines, means nothing.
        return tomllib.loads(octets.decode("utf-8-sig").replace("\r\n", "\n"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as problem:
        raise Mistake(f"{path.name}: {problem}") from None


def merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Both; where both say something, `above`."""
    result = dict(below)
    for name, value in above.items():
        old = result.get(name)
        result[name] = merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result


def toml(tables: dict[str, Any], path: tuple[str, ...] = ()) -> str:
    """As a TOML file. JSON's texts, numbers and lists of them are TOML's too, within what tomllib can have
    read."""
    own = [(name, value) for name, value in tables.items() if not isinstance(value, dict)]
    lines = [f"{quoted(name)} = {inline(value)}" for name, value in own]
    for name, value in tables.items():
        if isinstance(value, dict):
            lines += ["", f"[{'.'.join(map(quoted, (*path, name)))}]", toml(value, (*path, name))]
    return "\n".join(lines)


def quoted(text: str) -> str:
    """A TOML text; DEL is the one sign that JSON leaves as it is and TOML does not."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def inline(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{quoted(name)} = {inline(entry)}" for name, entry in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(inline(entry) for entry in value) + "]"
    return (
        quoted(value)
        if isinstance(value, str)
        else json.dumps(value)
        if isinstance(value, (bool, int))
        else str(value)
    )


def connection(wifi: Any) -> str:
    """The Wi-Fi as a connection of NetworkManager."""
    if not isinstance(wifi, dict) or (unknown := sorted(set(wifi) - {"ssid", "psk", "hidden"})):
        raise Mistake(
            f"wifi: {', '.join(unknown)} is unknown" if isinstance(wifi, dict) else "wifi is a table"
        )
    ssid, psk, hidden = wifi.get("ssid", ""), wifi.get("psk", ""), wifi.get("hidden", False)
    if not isinstance(ssid, str) or not 1 <= len(ssid.encode()) <= 32:
        raise Mistake("wifi.ssid is a text of 1 to 32 octets")
    if not isinstance(psk, str) or (psk and not 8 <= len(psk.encode()) <= 64) or not psk.isprintable():
        raise Mistake("wifi.psk is a text of 8 to 63 characters, or none for an open network")
    if not isinstance(hidden, bool):
        raise Mistake("wifi.hidden is true or false")
    octets = "".join(f"{octet};" for octet in ssid.encode())
    lines = [
        *("[connection]", "id=preset", f"uuid={uuid.uuid5(NAMESPACE, ssid)}", "type=wifi", ""),
        *("[wifi]", f"ssid={octets}", f"hidden={'true' if hidden else 'false'}", ""),
    ]
    if psk:
        escaped = (
            psk.replace("\\", "\\\\").replace(" ", "\\s", 1)
            if psk.startswith(" ")
            else psk.replace("\\", "\\\\")
        )
        lines += ["[wifi-security]", "key-mgmt=wpa-psk", f"psk={escaped}", ""]
    return "\n".join(lines)


def ssh_key(ssh: Any) -> str:
    if not isinstance(ssh, dict) or set(ssh) - {"key"} or not isinstance(ssh.get("key"), str):
        raise Mistake("ssh is a table with one text, key")
    key: str = ssh["key"].strip()
    if not key.startswith(("ssh-", "ecdsa-", "sk-")) or len(key.split()) < 2 or "\n" in key:
        raise Mistake("ssh.key is one public key, as in ~/.ssh/id_ed25519.pub")
    return key + "\n"


def write(path: Path, text: str, mode: int) -> None:
    """The file is the old one or the new one, also after a power cut."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(path.name + ".new")
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w", encoding="utf-8") as file:
        file.write(text)
        os.fchmod(file.fileno(), mode)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def host_name(site: Any) -> str:
    """What the machine is called: the site's name in letters, digits and hyphens, as names of machines
    are; else pocket."""
    plain = (
        unicodedata.normalize("NFKD", site if isinstance(site, str) else "")
        .encode("ascii", "ignore")
        .decode()
        .lower()
    )
    return re.sub(r"[^a-z0-9]+", "-", plain)[:HOST_NAME_MAX].strip("-") or "pocket"


def check(path: Path) -> None:
    """Mistake with everything that is wrong with the box's settings."""
    from appliance.config import ConfigError, load
    from appliance.edges.settings import objections

    try:
        load(path, objections=objections)
    except ConfigError as problem:
        raise Mistake(str(problem).replace(str(path), PRESET.name)) from None


def main() -> None:
    board, told, ssh = read(BOARD), {}, None
    try:
        told = read(PRESET)
        wifi, ssh = told.pop("wifi", None), told.pop("ssh", None)
        text = connection(wifi) if wifi is not None else ""
        key = ssh_key(ssh) if ssh is not None else ""
        write(MADE, toml(merged(board, told)) + "\n", 0o644)
        if told:  # the board's own settings need no check at each start
            check(MADE)
        socket.sethostname(host_name(told.get("name")))
    except Mistake as mistake:
        print(f"<3>pocket.toml on the boot partition is not used: {mistake}", file=sys.stderr)
        write(MADE, toml(board) + "\n", 0o644)
        return
    digest = hashlib.sha256(text.encode()).hexdigest()
    if text and (not TAKEN.exists() or TAKEN.read_text() != digest):
        write(CONNECTION, text, 0o600)
        write(TAKEN, digest, 0o600)
        print("<6>took over the Wi-Fi of pocket.toml", file=sys.stderr)
    if key:
        write(KEYS, key, 0o600)
    else:
        KEYS.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
