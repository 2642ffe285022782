"""Everything, in the order in which people look for a cause."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import trio

from appliance.config import Config
from appliance.console import check_console
from appliance.control import ControlError, NoBox, call
from appliance.doctor.clock import check_clock
from appliance.doctor.data import check_folder, check_room, check_versions
from appliance.doctor.finding import Finding, well, wrong
from appliance.doctor.memberships import check_memberships
from appliance.doctor.reach import check_certificate, check_network, check_port
from appliance.doctor.updates import check_updates
from appliance.edges.settings import console_settings, panel_settings
from appliance.panel import check_panel


def examine(config: Config) -> Iterator[Finding]:
    """All findings. Takes some seconds at most; a look that fails is a finding too."""
    status: Mapping[str, Any] | None = None
    try:
        status = call(config.data, "status")
        yield from _box(status or {})
    except NoBox:
        yield well("box", f"none is running on {config.data}")
    except ControlError as error:
        what, _, do = str(error).partition(": ")
        yield wrong("box", what, do)
    if isinstance(status, dict) and (status.get("memberships") or {}).get("kept"):
        try:
            yield from check_memberships(call(config.data, "membership.list"))
        except ControlError as error:
            yield wrong("memberships", str(error), "ask again in a moment")
    if isinstance(status, dict) and (status.get("update") or {}).get("managed"):
        try:
            yield from check_updates(call(config.data, "update.state"))
        except ControlError as error:
            yield wrong("updates", str(error), "ask again in a moment")
    checks: list[tuple[str, Callable[[], Iterable[Finding]]]] = [
        ("SQLite", check_versions),
        ("data", lambda: check_folder(config)),
        ("disk", lambda: check_room(config)),
        ("certificate", lambda: check_certificate(config)),
        ("port", lambda: check_port(config, status)),
        ("network", lambda: check_network(config)),
        ("clock", check_clock),
        ("panel", lambda: _panel(config)),
        ("console", lambda: _console(config)),
    ]
    for topic, check in checks:
        try:
            yield from check()
        except Exception as error:
            yield wrong(topic, f"it could not be looked at: {error!r}", "look as root: sudo pocket doctor")


def _box(status: Mapping[str, Any]) -> Iterator[Finding]:
    reasons = [str(reason) for reason in status.get("reasons", [])]
    for reason in reasons:
        yield wrong("box", reason, "pocket log --level warning says since when")
    if not reasons:
        yield well("box", f"{status.get('site')} is {status.get('state')}")


def _panel(config: Config) -> Iterator[Finding]:
    for found in check_panel(panel_settings(config)):
        yield Finding("panel", found.ok, found.what, found.do or ("" if found.ok else "see [panel]"))


def _console(config: Config) -> Iterator[Finding]:
    for found in trio.run(check_console, console_settings(config)):
        yield Finding("console", found.ok, found.what, found.do or ("" if found.ok else "see [console]"))
