"""What became of what the system was asked for: told from what it says now, and from nothing else."""

from __future__ import annotations

from typing import Literal

from appliance.updating.notes import Notes
from appliance.updating.system import Slots

Verdict = Literal["wait", "start", "trial", "installed", "went back", "given up", "failed"]
STARTS_MAX = 3

INTERRUPTED = "it was interrupted before the system began; nothing has changed. Ask for it again"
NOT_BEGUN = "the system did not begin with it; nothing has changed. See the log of the system"


def settle(notes: Notes, slots: Slots, asked: bool) -> tuple[Verdict, str]:
    """The verdict and, of a failure, the reason. ``asked``: the request is still there for the system.

    ``start``: the system has to be told (again) to begin. ``trial``: it runs, and has yet to prove itself.
    """
    version, work, other = notes.version, slots.work, slots.other
    ours = work.id == notes.request
    if slots.running == version:
        if slots.trial:
            return "trial", ""
        return ("went back" if notes.want == "rollback" else "installed"), ""
    if ours and work.state == "failed":
        return "failed", work.error or "the system does not say why"
    if ours and work.state in ("installing", "installed"):
        return "wait", ""
    if other.version == version and other.state == "trying":
        return "wait", ""
    gave_up = version in slots.given_up or (other.version == version and other.state == "given-up")
    if gave_up and (notes.armed or not notes.again):
        return "given up", ""
    if not asked:
        return "failed", INTERRUPTED
    if notes.starts >= STARTS_MAX:
        return "failed", NOT_BEGUN
    return "start", ""
