"""What is decided about the site's boxes, and what members are told when boxes had to agree."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from appliance import wire
from appliance.site import facts
from appliance.site.message import Decision, Payload
from appliance.site.mint import BOXES
from appliance.site.names import length_problem
from appliance.site.scene import Scene
from appliance.site.state import Box, NameLost

SHOWN_MAX = 20
NAMES_MAX = 10
LOST = "the box that alone had this request is lost: send it again"
BOXES_MAX = 8
"""Boxes of a site that are not revoked, and have not become others."""
HEIRS_MAX = 4
"""As many boxes can one become, as long as it is not revoked: a site has 16 numbers for boxes in its life."""


def heirs(boxes: Mapping[str, Box]) -> dict[str, Box]:
    """By the id of a box whose card was put back or copied: the one that it became, the latest of several."""
    became: dict[str, Box] = {}
    for box in sorted(boxes.values(), key=lambda box: (box.at, box.box)):
        if box.of:
            became[box.of] = box
    return became


def add_box(
    scene: Scene, box: str, public: bytes, name: str, slot: int | None = None, of: str = ""
) -> Decision:
    """Take a box into the site; ``slot``: None for the lowest that no box ever had; ``of``: what it was.

    A box that is in already changes nothing.
    """
    boxes = scene.site.boxes
    if box in boxes:
        if boxes[box].cut is not None:
            return Decision(error=f"box {box} was revoked: it needs a factory reset before it can come back")
        return Decision()
    taken = {scene.mint.box, *(known.slot for known in boxes.values())}
    free = [number for number in range(BOXES) if number not in taken]
    became = heirs(boxes)
    if sum(known.cut is None and known.box not in became for known in boxes.values()) >= BOXES_MAX + bool(of):
        return Decision(error=f"the site has its {BOXES_MAX} boxes, the most it can have: revoke one first")
    if slot is None and not free:
        return Decision(error=f"the site has had {BOXES} boxes, the most it can have in its life")
    if problem := length_problem("the box's name", name):
        return Decision(error=problem)
    chosen = free[0] if slot is None else slot
    return Decision(lasting=[facts.BoxAdded(box, public, chosen, name, scene.mint.id(), of)])


def replace_box(scene: Scene, old: str, box: str, public: bytes) -> Decision:
    """Take a box into the site that was another one of it until its card was put back or copied.

    No box can be waited for, as where a blank one comes: two that cannot hear each other choose different
    slots, unless there are next to none left.
    """
    boxes = scene.site.boxes
    before, known = boxes.get(old), boxes.get(box)
    if before is None or before.cut is not None:
        return Decision(error=f"box {old} was put out of the site: nothing can come of it")
    if known is not None and (known.of != old or known.public != public):
        return Decision(error=f"box {box} is another one of the site")
    if known is None and sum(other.of == old for other in boxes.values()) >= HEIRS_MAX:
        return Decision(
            error=f"box {old} has become {HEIRS_MAX} others already: find out who uses its card, and say on"
            f" another box   pocket peer revoke {old}"
        )
    taken = {scene.mint.box, *(other.slot for other in boxes.values())}
    free = [number for number in range(BOXES) if number not in taken]
    slot = free[scene.mint.box % len(free)] if free else None
    return add_box(scene, box, public, before.name, slot, old)


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


def set_recovery(scene: Scene, secret: bytes, renew: bool = False) -> Decision:
    """Give the site the secret that opens its backups, if it has none; ``renew``: also if it has."""
    if scene.site.recovery is not None and not renew:
        return Decision()
    return Decision(lasting=[facts.RecoverySet(secret, scene.mint.id())])


@dataclass(frozen=True, slots=True)
class Gone:
    """A message of which no box has the octets, or the file: ``sender`` is a member's number, 0 for one that
    came from another site; ``nodes`` are those that waited for it.
    """

    msgid: int
    sender: int
    size: int
    nodes: tuple[int, ...]


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
    payload, datahead = _letter(subject, text)
    for number in lost.members:
        member = scene.site.members.get(number)
        if member is not None:
            scene.send(decision, "delivery", number, member.nodes, payload, datahead=datahead)
    return decision


def give_up(scene: Scene, gone: Sequence[Gone], boxes: Sequence[str]) -> Decision:
    """Nobody waits any more for what is lost with a box. Who sent it is told, unless all devices have it, or
    else who was to get it from another site: a message from themselves to all their devices. What was to go
    to another site has failed, and its device hears so.
    """
    decision = Decision(posted_ms=scene.now_ms)
    outboxes = {membership.out: number for number, membership in scene.site.memberships.items()}
    sent: dict[int, list[Gone]] = {}
    came: dict[int, list[Gone]] = {}
    broke = f"The box {' or '.join(boxes)} broke or was put out before any other box had what was in it."
    for one in gone:
        nodes = [scene.site.nodes[number] for number in one.nodes if number in scene.site.nodes]
        for node in nodes:
            if node.number in outboxes:
                from appliance.site.relaying import relay_answered  # most boxes have no memberships

                failed = relay_answered(scene, outboxes[node.number], one.msgid, 0, scene.now_ms, LOST)
                decision.relay += failed.relay
            decision.acks.append((node.number, one.msgid))
        if one.sender and any(node.role == "device" for node in nodes):
            sent.setdefault(one.sender, []).append(one)
        elif not one.sender:
            for member in dict.fromkeys(node.member for node in nodes):
                came.setdefault(member, []).append(one)
    for number, lost in sorted(sent.items()):
        text = f"{broke} Not all devices that it was for have got it: please send it again."
        _tell_gone(scene, decision, number, "of yours", text, lost)
    for number, lost in sorted(came.items()):
        text = f"{broke} It came from another site: who sent it may send it again."
        _tell_gone(scene, decision, number, "to you", text, lost)
    return decision


def _tell_gone(
    scene: Scene, decision: Decision, number: int, whose: str, text: str, lost: Sequence[Gone]
) -> None:
    member = scene.site.members.get(number)
    if member is None:
        return
    what = "a message" if len(lost) == 1 else f"{len(lost)} messages"
    lines = [_described(scene, one) for one in lost[:SHOWN_MAX]]
    if len(lost) > SHOWN_MAX:
        lines.append(f"- and {len(lost) - SHOWN_MAX} more")
    payload, datahead = _letter(f"What was in {what} {whose} is lost", text + "\n\n" + "\n".join(lines))
    scene.send(decision, "delivery", number, member.nodes, payload, datahead=datahead)


def _described(scene: Scene, gone: Gone) -> str:
    site = scene.site
    members = dict.fromkeys(site.nodes[node].member for node in gone.nodes if node in site.nodes)
    to = [site.members[number] for number in members if number != gone.sender]
    names = ", ".join(member.aliases[0] if member.aliases else member.uid for member in to[:NAMES_MAX])
    more = f" and {len(to) - NAMES_MAX} more" if len(to) > NAMES_MAX else ""
    posted = wire.format_posted(gone.msgid // 1_000_000)
    return f"- {posted}, {gone.size:,} octets, to {names or 'your own devices'}{more}"


def _letter(subject: str, text: str) -> tuple[Payload, int]:
    """A post as clients write it, and the length of its datahead (TMTP revision 1, section 6)."""
    head = json.dumps({"alias": "", "attach": [], "cc": [], "subject": subject, "threadid": ""}).encode()
    return Payload.of(head + text.encode()), len(head)
