"""Group invites and edits (TMTP revision 1, section 4)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from appliance import wire
from appliance.site.facts import GroupAdded, Role, RoleSet
from appliance.site.message import Decision, Payload
from appliance.site.names import name_problem
from appliance.site.scene import Refusal, Scene
from appliance.site.state import Group, Node, Standing


def decide_invite(
    scene: Scene, node: Node, request: wire.GroupInvite, payload: Payload, decision: Decision
) -> None:
    """Let ``to`` join; make the group if there is none of this name."""
    site = scene.site
    sender = site.members[node.member]
    scene.own_alias(node.member, request.from_)
    invitee = site.aliases.get(request.to)
    if invitee is None:
        raise Refusal(f"to is no alias of this site: {request.to}")
    group = site.groups.get(request.gid)
    if group is None:
        scene.refuse_if(name_problem("gid", request.gid))
        if request.gid in site.aliases:
            raise Refusal(f"gid is in use as an alias: {request.gid}")
        if invitee is sender:
            raise Refusal(f"to is a member of the group already: {request.to}")
        if len(site.groups) >= scene.limits.groups:
            raise Refusal(f"limit reached: the site has its {scene.limits.groups} groups, the most it takes")
        joined, place = [node.member], None
        made = scene.mint.id()
        decision.lasting.append(GroupAdded(request.gid, made, node.member))
        decision.lasting.append(RoleSet(request.gid, node.member, request.from_, "joined", made, made))
    else:
        _standing(group, node.member, "joined")
        place = group.standing.get(invitee.number)
        if place is not None and place.role == "joined":
            raise Refusal(f"to is a member of the group already: {request.to}")
        if place is None and len(group.standing) >= scene.limits.members_per_group:
            raise Refusal(f"limit reached: a group has at most {scene.limits.members_per_group} members")
        joined, made = group.joined(), group.at
    invited = scene.others(node, invitee.nodes)
    told = _nodes(scene, joined)
    scene.check_room(invited, payload.size)
    scene.check_room(told, 0)
    scene.check_pings(node.member)
    _set_role(scene, decision, request.gid, invitee.number, place, request.to, "invited", made)
    decision.msgid = scene.send(
        decision,
        "invite",
        node.member,
        invited,
        payload,
        request.datahead,
        request.datasum,
        alias=request.from_,
        gid=request.gid,
        to=request.to,
    )
    scene.send(decision, "member", node.member, told, act="invite", alias=request.to, gid=request.gid)


def decide_edit(scene: Scene, node: Node, request: wire.GroupEdit, decision: Decision) -> None:
    """Join a group, change one's name in it, or drop oneself or another from it."""
    group = scene.site.groups.get(request.gid)
    if group is None:
        raise Refusal(f"you are not in a group of this name: {request.gid}")
    if request.act == "join":
        _join(scene, node, group, request.newalias, decision)
    elif request.act == "alias":
        _rename(scene, node, group, request.newalias or "", decision)
    else:
        _drop(scene, node, group, request.to or "", decision)


def _join(scene: Scene, node: Node, group: Group, newalias: str | None, decision: Decision) -> None:
    place = _standing(group, node.member, "invited", "joined")
    alias = place.alias if newalias is None else _own(scene, node, newalias)
    _set_role(scene, decision, group.gid, node.member, place, alias, "joined", group.at)
    _tell(scene, node, decision, group, {*group.joined(), node.member}, "join", alias)


def _rename(scene: Scene, node: Node, group: Group, newalias: str, decision: Decision) -> None:
    place = _standing(group, node.member, "joined")
    alias = _own(scene, node, newalias)
    _set_role(scene, decision, group.gid, node.member, place, alias, "joined", group.at)
    _tell(scene, node, decision, group, group.joined(), "alias", place.alias, newalias=alias)


def _drop(scene: Scene, node: Node, group: Group, to: str, decision: Decision) -> None:
    _standing(group, node.member, "joined")
    member = _who(scene, group, node.member, to)
    place = group.standing[member]
    if place.role == "barred":
        raise Refusal(f"to was dropped from the group already: {to}")
    role: Role = "invited" if member == node.member else "barred"
    _set_role(scene, decision, group.gid, member, place, place.alias, role, group.at)
    _tell(scene, node, decision, group, {*group.joined(), member}, "drop", place.alias)


def _who(scene: Scene, group: Group, sender: int, to: str) -> int:
    """The member of the group that goes by ``to`` in it, or has it as an alias; the sender first."""
    named = [number for number, place in group.standing.items() if place.alias == to]
    owner = scene.site.aliases.get(to)
    if owner is not None and owner.number in group.standing:
        named.append(owner.number)
    if not named:
        raise Refusal(f"to is nobody in the group: {to}")
    return sender if sender in named else named[0]


def _standing(group: Group, member: int, *roles: Role) -> Standing:
    place = group.standing.get(member)
    if place is not None and place.role in roles:
        return place
    if place is None:
        raise Refusal(f"you are not in a group of this name: {group.gid}")
    if place.role == "barred":
        raise Refusal(f"you were dropped from the group {group.gid}: a member has to invite you again")
    raise Refusal(f"you have not joined the group {group.gid}")


def _own(scene: Scene, node: Node, alias: str) -> str:
    owner = scene.site.aliases.get(alias)
    if owner is None or owner.number != node.member:
        raise Refusal(f"newalias must be an alias of yours: {alias}")
    return alias


def _set_role(
    scene: Scene,
    decision: Decision,
    gid: str,
    member: int,
    place: Standing | None,
    alias: str,
    role: Role,
    group: int,
) -> None:
    if place != Standing(alias, role):
        decision.lasting.append(RoleSet(gid, member, alias, role, scene.mint.id(), group))


def _tell(
    scene: Scene,
    node: Node,
    decision: Decision,
    group: Group,
    members: Iterable[int],
    act: str,
    alias: str,
    **extra: Any,
) -> None:
    nodes = _nodes(scene, members)
    scene.check_room(nodes, 0)
    scene.send(decision, "member", node.member, nodes, act=act, alias=alias, gid=group.gid, **extra)


def _nodes(scene: Scene, members: Iterable[int]) -> list[int]:
    return [n for member in sorted(members) for n in scene.site.members[member].nodes]
