"""What is decided about the site's boxes, and what members are told when boxes had to agree."""

from __future__ import annotations

import json

from appliance.site import facts
from appliance.site.message import Decision, Payload
from appliance.site.mint import BOXES
from appliance.site.names import length_problem
from appliance.site.scene import Scene
from appliance.site.state import NameLost

BOXES_MAX = 8
"""Boxes of a site that are not revoked."""


def add_box(scene: Scene, box: str, public: bytes, name: str, slot: int | None = None) -> Decision:
    """Take a box into the site; ``slot``: None for the lowest that no box ever had.

    A box that is in already changes nothing.
    """
    boxes = scene.site.boxes
    if box in boxes:
        if boxes[box].cut is not None:
            return Decision(error=f"box {box} was revoked: it needs a factory reset before it can come back")
        return Decision()
    taken = {scene.mint.box, *(known.slot for known in boxes.values())}
    free = [number for number in range(BOXES) if number not in taken]
    if sum(known.cut is None for known in boxes.values()) >= BOXES_MAX:
        return Decision(error=f"the site has its {BOXES_MAX} boxes, the most it can have: revoke one first")
    if slot is None and not free:
        return Decision(error=f"the site has had {BOXES} boxes, the most it can have in its life")
    if problem := length_problem("the box's name", name):
        return Decision(error=problem)
    chosen = free[0] if slot is None else slot
    return Decision(lasting=[facts.BoxAdded(box, public, chosen, name, scene.mint.id())])


def place_box(scene: Scene, box: str, addresses: tuple[str, ...], name: str) -> Decision:
    """Say where a box is reached, if that is news."""
    known = scene.site.boxes.get(box)
    if known is None or (known.addresses == addresses and known.name == name):
        return Decision()
    return Decision(lasting=[facts.BoxPlaced(box, addresses, name, scene.mint.id())])


def revoke_box(scene: Scene, box: str, seq: int) -> Decision:
    """Put a box out for good. ``seq``: how far this box has the other's journal."""
    known = scene.site.boxes.get(box)
    if known is None:
        return Decision(error=f"there is no box {box}: see the list of boxes")
    if known.cut is not None and known.cut >= seq:
        return Decision()
    return Decision(lasting=[facts.BoxRevoked(box, seq)])


def set_identity(scene: Scene, name: str, cert: str, key: str) -> Decision:
    """Give the site its name and its TLS certificate and key (PEM), if that is news."""
    known = scene.site.identity
    if known is not None and (known.name, known.cert, known.key) == (name, cert, key):
        return Decision()
    return Decision(lasting=[facts.IdentitySet(name, cert, key, scene.mint.id())])


def tell_lost(scene: Scene, lost: NameLost) -> Decision:
    """Tell members that a name of theirs is another's: a message from themselves to all their devices."""
    decision = Decision(posted_ms=scene.now_ms)
    if lost.group:
        subject = f"The group {lost.name} is no more"
        text = (
            f"While two boxes of this site could not see each other, the name {lost.name} was taken on both."
            " It belongs to whoever had it first, which was not your group: make the group again, under"
            " another name."
        )
    else:
        subject = f"The name {lost.name} is not yours any more"
        text = (
            f"While two boxes of this site could not see each other, the name {lost.name} was taken on both."
            " It belongs to whoever had it first, which was not you. Your account goes on as before: take"
            " another name."
        )
    head = json.dumps({"alias": "", "attach": [], "cc": [], "subject": subject, "threadid": ""}).encode()
    payload = Payload.of(head + text.encode())
    for number in lost.members:
        member = scene.site.members.get(number)
        if member is not None:
            scene.send(decision, "delivery", number, member.nodes, payload, datahead=len(head))
    return decision
