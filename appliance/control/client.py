"""The command's side: ask the box one thing, wait for its answer."""

from __future__ import annotations

import json
import pwd
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from appliance.control.errors import NoAnswer, NoBox, NotAllowed, Refused
from appliance.control.place import address_of, control_path

NO_DATA = Path("/run/pocket-rescue/why")
"""On a machine whose data partition cannot be used: what is wrong, and what to do (appliance/rescue)."""

REPLY_OCTETS_MAX = 64 << 20
"""2000 log records or 10,000 members are a few MiB."""


def call(data_dir: Path, word: str, args: Mapping[str, Any] | None = None, timeout_s: float = 10.0) -> Any:
    """The result of `word` from the box that runs on `data_dir`. Blocks for at most `timeout_s`.

    Raises NoBox, NotAllowed, NoAnswer, or Refused with the box's own words; all are ControlError.
    """
    request = json.dumps({"word": word, "args": dict(args or {})}).encode() + b"\n"
    try:
        reply = json.loads(exchange(data_dir, request, time.monotonic() + timeout_s))
        if reply["ok"]:
            return reply["result"]
        error = str(reply["error"])
    except TimeoutError:
        raise NoAnswer(
            f"the box on {data_dir} did not answer within {timeout_s:g} s: it is very busy or stuck; "
            "look at its output, or restart it"
        ) from None
    except (ValueError, KeyError, TypeError):
        raise NoAnswer(f"what runs on {data_dir} gave no answer that can be read: restart it") from None
    raise Refused(error)


def exchange(data_dir: Path, request: bytes, deadline_s: float) -> bytes:
    """Send a request, return the whole reply."""
    path = control_path(data_dir)
    reply = bytearray()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
        try:
            link.settimeout(left(deadline_s))
            with address_of(path) as address:
                link.connect(address)
        except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
            raise no_box(data_dir) from None
        except PermissionError:
            raise not_allowed(data_dir) from None
        except BlockingIOError:
            raise TimeoutError from None
        with suppress(BrokenPipeError, ConnectionResetError):
            link.sendall(request)
        with suppress(ConnectionResetError):
            while len(reply) <= REPLY_OCTETS_MAX:
                link.settimeout(left(deadline_s))
                octets = link.recv(1 << 18)
                if not octets:
                    break
                reply += octets
    if not reply:
        raise NoAnswer(f"the box on {data_dir} hung up without an answer: it may just be stopping; try again")
    return bytes(reply)


def left(deadline_s: float) -> float:
    seconds = deadline_s - time.monotonic()
    if seconds <= 0:
        raise TimeoutError
    return seconds


def no_box(data_dir: Path) -> NoBox:
    if NO_DATA.exists():
        return NoBox(f"no box is running: {NO_DATA.read_text().strip()}")
    if not data_dir.is_dir():
        return NoBox(f"there is no data folder {data_dir}: name the box's with --data DIR or $POCKET_DATA")
    return NoBox(f"no box is running on {data_dir}: start it with   pocket serve --data {data_dir}")


def not_allowed(data_dir: Path) -> NotAllowed:
    try:
        owner = pwd.getpwuid(data_dir.stat().st_uid).pw_name
    except (OSError, KeyError):
        return NotAllowed(f"the box on {data_dir} belongs to another user: try again with sudo")
    return NotAllowed(
        f"the box on {data_dir} belongs to user {owner}: try again with   sudo -u {owner} pocket ..."
    )
