"""What the box's owner decides about members and devices: no requests of the protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING

from appliance.site import facts
from appliance.site.message import Decision
from appliance.site.names import length_problem, name_problem

if TYPE_CHECKING:
    from appliance.site.rules import Credentials
    from appliance.site.scene import Scene


def add_member(scene: Scene, alias: str, label: str | None, fresh: Credentials) -> Decision:
    """Make an account that is known by ``alias``; with a ``label``, its first device too. All or nothing."""
    problem = member_problem(scene) or name_problem("the name", alias)
    if problem is None and scene.site.name_taken(alias):
        problem = f"the name is in use already: {alias}"
    if problem is None and label is not None:
        problem = label_problem(label)
    if problem is not None:
        return Decision(error=problem)
    if fresh.uid in scene.site.uids:
        return Decision(error="the uid is in use already: try again")
    decision = Decision(posted_ms=scene.now_ms)
    member = decision.member = scene.mint.number(scene.site.last_number)
    decision.lasting.append(facts.MemberAdded(member, fresh.uid, scene.now_ms))
    decision.lasting += owner_facts(scene, member)
    decision.lasting.append(facts.AliasAdded(alias, member, scene.mint.id()))
    if label is not None:
        decision.node = scene.mint.number(member)
        decision.lasting.append(_node(scene, decision.node, member, label, fresh))
    return decision


def add_device(scene: Scene, member: int, label: str, fresh: Credentials) -> Decision:
    """Give a member another device. Its queue starts empty, and no other device is told its password."""
    if problem := device_problem(scene, member, label):
        return Decision(error=problem)
    number = scene.mint.number(scene.site.last_number)
    decision = Decision(posted_ms=scene.now_ms, member=member, node=number)
    decision.lasting.append(_node(scene, number, member, label, fresh))
    return decision


def drop_node(scene: Scene, number: int) -> Decision:
    """Cut a device off."""
    if number not in scene.site.nodes:
        return Decision(error=f"there is no device {number}: see the list of devices")
    return Decision(lasting=[facts.NodeDropped(number)], dropped=[number])


def set_owner(scene: Scene, member: int) -> Decision:
    """Make a member the owner of the box."""
    if member not in scene.site.members:
        return Decision(error="there is no such member: see the list of members")
    if scene.site.owner == member:
        return Decision()
    return Decision(lasting=[facts.OwnerSet(member, scene.mint.id())])


def find_owner(scene: Scene) -> Decision:
    """See to it that a site with members has an owner: one that is older than owners are has none yet."""
    members = scene.site.members.values()
    if not members or scene.site.owner:
        return Decision()
    first = min(members, key=lambda member: (member.at_ms, member.number))
    return Decision(lasting=[facts.OwnerSet(first.number, scene.mint.id())])


def owner_facts(scene: Scene, member: int) -> list[facts.LastingFact]:
    """Those that come with a new member: the first one becomes the owner."""
    return [] if scene.site.members else [facts.OwnerSet(member, scene.mint.id())]


def member_problem(scene: Scene) -> str | None:
    """Why there can be no more members; None if there can."""
    if len(scene.site.members) >= scene.limits.members:
        return f"the site has its {scene.limits.members} members, the most it takes"
    return None


def device_problem(scene: Scene, member: int, label: str) -> str | None:
    """Why the member cannot have another device of this name; None if that can be."""
    owner = scene.site.members.get(member)
    if owner is None:
        return "there is no such member: see the list of members"
    if len(owner.nodes) >= scene.limits.nodes_per_member:
        return f"limit reached: a member has at most {scene.limits.nodes_per_member} nodes; drop a lost one"
    return label_problem(label)


def label_problem(label: str) -> str | None:
    """What is wrong with a device's name that a person chose; None if nothing is."""
    if not label.strip():
        return "the device needs a name, such as phone"
    return length_problem("the device's name", label)


def _node(scene: Scene, number: int, member: int, label: str, fresh: Credentials) -> facts.NodeAdded:
    return facts.NodeAdded(number, member, label, fresh.secret, scene.now_ms)
