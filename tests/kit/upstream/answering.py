"""What each request does at the scripted site (TMTP revision 1, section 4)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from appliance import wire

from .accounts import Accounts, Body, Group, Member, Node

Answer = tuple[int | None, int | None]
"""`msgid` and `posted` in ms, of requests that have them."""


class Refused(Exception):
    """The ack says so."""


def answer(accounts: Accounts, node: Node, request: Any, body: Body) -> Answer:
    """Do it; Refused if it cannot be done. A request that comes again is done again."""
    return _DOES[type(request)](accounts, node, request, body)


def login(accounts: Accounts, node: Node) -> None:
    """Tell all nodes of the member."""
    accounts.send("login", node.member, node.member.nodes, node="tbd")


def _user_edit(accounts: Accounts, node: Node, request: wire.UserEdit, _: Body) -> Answer:
    member = node.member
    if request.newnode is not None:
        told = list(member.nodes)
        new = accounts.add_node(member, request.newnode, node)
        accounts.send("user", member, told, newnode=new.label, nodeid=new.password)
        return None, None
    alias = request.newalias or ""
    if accounts.aliases.get(alias) is not member:
        _free(accounts, "newalias", alias)
        accounts.aliases[alias] = member
        member.aliases.append(alias)
    accounts.send("user", member, member.nodes, newalias=alias)
    return None, None


def _ohi_edit(accounts: Accounts, node: Node, request: wire.OhiEdit, _: Body) -> Answer:
    for uid in request.to:
        _known(accounts, uid)
    tells = node.member.tells
    if request.type == "drop":
        told, status = [uid for uid in request.to if uid in tells], 2
        tells.difference_update(told)
    else:
        told, status = [uid for uid in request.to if uid not in tells], 1
        tells.update(told)
    say_presence(accounts, node.member, told, status)
    if request.type != "init":
        listed = [{"Id": uid, "Type": 0} for uid in request.to]
        accounts.send("ohiedit", node.member, node.member.nodes, for_=listed, type=request.type)
    return None, None


def say_presence(accounts: Accounts, member: Member, told: Iterable[str], status: int) -> None:
    """To those of them who are linked, now or never."""
    for uid in told:
        for node in accounts.members[uid].nodes:
            if node.wake is not None:
                node.wake(wire.encode_ohi(member.uid, status))


def _ping(accounts: Accounts, node: Node, request: wire.Ping, body: Body) -> Answer:
    _own_alias(accounts, node, request.from_)
    to = _called(accounts, request.to)
    told, named = _others(node, to.nodes), {"alias": request.from_, "to": request.to}
    return accounts.send("ping", node.member, told, body, **named, **_head_of(request))


def _invite(accounts: Accounts, node: Node, request: wire.GroupInvite, body: Body) -> Answer:
    _own_alias(accounts, node, request.from_)
    to, sender, gid = _called(accounts, request.to), node.member, request.gid
    group = accounts.groups.get(gid)
    if group is None:
        _free(accounts, "gid", gid)
        group = accounts.groups[gid] = Group(gid, {sender.uid: (request.from_, "joined")})
    else:
        _standing(group, sender, "joined")
    if group.standing.get(to.uid, ("", ""))[1] == "joined":
        raise Refused(f"already in the group: {request.to}")
    told = _nodes(accounts, group.joined())
    group.standing[to.uid] = (request.to, "invited")
    fields = {"alias": request.from_, "gid": gid, "to": request.to, **_head_of(request)}
    answered = accounts.send("invite", sender, _others(node, to.nodes), body, **fields)
    accounts.send("member", sender, told, act="invite", alias=request.to, gid=gid)
    return answered


def _group_edit(accounts: Accounts, node: Node, request: wire.GroupEdit, _: Body) -> Answer:
    member, group = node.member, accounts.groups.get(request.gid)
    if group is None:
        raise Refused(f"no such group: {request.gid}")
    before = set(group.joined())
    extra: dict[str, Any] = {}
    if request.act == "join":
        alias = _standing(group, member, "invited", "joined")
        if request.newalias is not None:
            _own_alias(accounts, node, alias := request.newalias)
        group.standing[member.uid] = (alias, "joined")
    elif request.act == "alias":
        alias, new = _standing(group, member, "joined"), request.newalias or ""
        _own_alias(accounts, node, new)
        group.standing[member.uid] = (new, "joined")
        extra = {"newalias": new}
    else:
        _standing(group, member, "joined")
        alias = request.to or ""
        dropped = next((uid for uid, (name, _) in group.standing.items() if name == alias), "")
        if not dropped or group.standing[dropped][1] == "barred":
            raise Refused(f"nobody of this name in the group: {alias}")
        group.standing[dropped] = (alias, "invited" if dropped == member.uid else "barred")
        before.add(dropped)
    told = _nodes(accounts, [*before, *group.joined()])
    accounts.send("member", member, told, act=request.act, alias=alias, gid=request.gid, **extra)
    return None, None


def _post(accounts: Accounts, node: Node, request: wire.Post, body: Body) -> Answer:
    nodes = _recipients(accounts, node, request.to)
    return accounts.send("delivery", node.member, nodes, body, **_head_of(request))


def _post_notify(accounts: Accounts, node: Node, request: wire.PostNotify, body: Body) -> Answer:
    note, message = body.split(request.notelen)
    nodes = _recipients(accounts, node, request.to)
    noted = _recipients(accounts, node, [*request.to, *request.noteto])
    if request.fornotself:
        nodes = [n for n in nodes if n.member is not node.member]
    notify = len(request.to) + len(request.noteto) + (not request.fornotself)
    msgid, posted_ms = accounts.send(
        "delivery", node.member, nodes, message, notify=notify, **_head_of(request)
    )
    accounts.send(
        "notify",
        node.member,
        noted,
        note,
        datahead=request.notehead,
        datasum=request.notesum,
        postid=wire.format_id(msgid),
    )
    return msgid, posted_ms


_DOES: dict[type, Callable[..., Answer]] = {
    wire.UserEdit: _user_edit,
    wire.OhiEdit: _ohi_edit,
    wire.Ping: _ping,
    wire.GroupInvite: _invite,
    wire.GroupEdit: _group_edit,
    wire.Post: _post,
    wire.PostNotify: _post_notify,
}


def _head_of(request: Any) -> dict[str, Any]:
    return {"datahead": request.datahead, "datasum": request.datasum}


def _known(accounts: Accounts, uid: str) -> Member:
    if uid not in accounts.members:
        raise Refused(f"unknown uid: {uid}")
    return accounts.members[uid]


def _called(accounts: Accounts, alias: str) -> Member:
    if alias not in accounts.aliases:
        raise Refused(f"unknown alias: {alias}")
    return accounts.aliases[alias]


def _own_alias(accounts: Accounts, node: Node, alias: str) -> None:
    if accounts.aliases.get(alias) is not node.member:
        raise Refused("from must identify sender")


def _free(accounts: Accounts, what: str, name: str) -> None:
    if len(name.encode()) < 8:
        raise Refused(f"{what} must be 8+ characters")
    if name in accounts.aliases or name in accounts.groups:
        raise Refused(f"{what} is taken: {name}")


def _standing(group: Group, member: Member, *roles: str) -> str:
    """The member's alias in the group."""
    alias, role = group.standing.get(member.uid, ("", ""))
    if role not in roles:
        raise Refused(f"not possible in the group {group.gid}")
    return alias


def _others(node: Node, nodes: Iterable[Node]) -> list[Node]:
    """These, and the sender's other nodes."""
    return [*nodes, *(n for n in node.member.nodes if n is not node)]


def _nodes(accounts: Accounts, uids: Iterable[str]) -> list[Node]:
    return [node for uid in dict.fromkeys(uids) for node in accounts.members[uid].nodes]


def _recipients(accounts: Accounts, node: Node, targets: list[wire.Target]) -> list[Node]:
    """Every node of every recipient, and the sender's other nodes; this one if the sender is a recipient."""
    found: list[Node] = []
    for target in targets:
        if target.type == wire.requests.TO_UID:
            found += _known(accounts, target.id).nodes
            continue
        group = accounts.groups.get(target.id)
        if group is None:
            raise Refused(f"not in the group: {target.id}")
        _standing(group, node.member, "joined", "invited")
        itself = [node] if target.type == wire.requests.TO_GROUP_NOT_SELF else []
        found += [n for n in _nodes(accounts, group.joined()) if n not in itself]
    return _others(node, found)
