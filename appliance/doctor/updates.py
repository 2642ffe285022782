"""Whether updates can be had, and what became of the last one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from appliance.doctor.finding import Finding, well, wrong


def check_updates(state: Any) -> Iterator[Finding]:
    """``state`` is what ``update.state`` says of a box that was started from an image."""
    if not isinstance(state, dict) or not state.get("managed"):
        return
    if state.get("version") is None:
        yield wrong(
            "updates",
            "the system does not say how its slots are",
            "see the log of the system: journalctl -u pocket-slots",
        )
        return
    version = state["version"]
    if state.get("trial"):
        problem = state.get("unproven") or "the system is about to keep it"
        yield wrong("updates", f"{version} is being tried: {problem}", "wait some minutes")
    if state.get("outcome") == "given up":
        yield wrong(
            "updates",
            f"{state.get('outcome_version')} did not prove itself, and {version} came back",
            "wait for a newer version, or   pocket update install --again",
        )
    elif state.get("outcome") == "failed":
        yield wrong("updates", f"the last one failed: {state.get('outcome_text')}", "pocket update install")
    if state.get("automatic") and state.get("last_problem"):
        yield wrong("updates", str(state["last_problem"]), "pocket update check   tells more")
    if not state.get("trial") and state.get("outcome") not in ("given up", "failed"):
        how = "taken at night" if state.get("automatic") else "by hand: pocket update check"
        yield well("updates", f"{version} runs; updates are {how}")
