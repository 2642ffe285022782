"""Links to other sites, as a running box tells of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from appliance.doctor.finding import Finding, well, wrong

OFFLINE_LONG_S = 600.0
"""A site may restart, or a line be cut, without anybody having to do something."""

UNSENT_LONG_S = 3600.0


def check_memberships(listed: Iterable[Any]) -> Iterator[Finding]:
    """Those that need a person, and that the others are well."""
    for each in listed:
        number, halted, error = each["membership"], each["halted"], each["trouble"] or "no reason is known"
        called = f"{each['member_alias'] or each['member']}/{each['name']}"
        since_s = each["since_s"] or 0.0
        if each["offered"]:
            yield wrong(
                "membership",
                f"{called}: another certificate than it had, {each['offered']}",
                f"ask that site's people whether it is theirs, then: pocket membership repin {number}",
            )
        elif halted:
            yield wrong("membership", f"{called}: {halted}", f"then: pocket membership resume {number}")
        elif each["state"] == "offline" and since_s >= OFFLINE_LONG_S:
            yield wrong(
                "membership",
                f"{called}: offline for {_span(since_s)}: {error}",
                f"see whether the Internet and {each['address']} are there; the box tries by itself",
            )
        elif each["outbox_oldest_s"] >= UNSENT_LONG_S + (each["metered_s"] or 0):
            yield wrong(
                "membership",
                f"{called}: {each['outbox']} requests wait to be sent, for {_span(each['outbox_oldest_s'])}",
                f"pocket membership resume {number}; pocket log --level warning may say why",
            )
        else:
            yield well("membership", f"{called}: {each['state']}")


def _span(seconds: float) -> str:
    for length, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} seconds"
