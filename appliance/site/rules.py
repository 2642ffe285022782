"""What the site decides (TMTP revision 1, section 4).

Pure and synchronous: the state, the time and the random octets come in, a ``Decision`` goes out, and
nothing is changed on the way. The caller applies the lasting facts to the state at once, so that the next
decision sees them, and tells anybody only when they are on stable storage.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from appliance import wire
from appliance.site import facts
from appliance.site.groups import decide_edit, decide_invite
from appliance.site.message import RANK_USER, Decision, Payload
from appliance.site.names import length_problem, name_problem
from appliance.site.people import member_problem, owner_facts
from appliance.site.scene import Refusal, Scene
from appliance.site.state import Node

OHI_MAX = 1000
"""Members in one OhiEdit: the message that tells the member's other nodes must fit a header."""


class Credentials(Protocol):
    """Random text for a new account or node, made by the caller."""

    @property
    def uid(self) -> str: ...

    @property
    def secret(self) -> bytes:
        """What is stored of the password."""

    @property
    def password(self) -> str: ...


def decide(
    scene: Scene, node: Node, request: Any, payloads: Sequence[Payload] = (), fresh: Credentials | None = None
) -> Decision:
    """Judge a request of a logged-in node, other than Ack, Pulse and Quit.

    ``payloads``: the request's data; of PostNotify the note's and the message's. ``fresh``: for UserEdit
    newnode.
    """
    decision = Decision(posted_ms=scene.now_ms)
    try:
        _RULES[type(request)](scene, node, request, payloads, fresh, decision)
        if decision.lasting:
            scene.check_changes(node.member)
    except Refusal as refusal:
        return Decision(error=str(refusal))
    return decision


def register(
    scene: Scene, label: str, alias: str | None, fresh: Credentials, subject: tuple[str, str, str] | None
) -> Decision:
    """Make an account with its first node. ``error`` is set with facts if only the alias was refused,
    without if all was.
    """
    decision = Decision(posted_ms=scene.now_ms)
    site = scene.site
    if problem := member_problem(scene) or length_problem("newnode", label):
        return Decision(error=problem)
    if fresh.uid in site.uids:
        return Decision(error="the uid is taken: try again")
    member = decision.member = scene.mint.number(site.last_number)
    number = decision.node = scene.mint.number(member)
    decision.lasting.append(facts.MemberAdded(member, fresh.uid, scene.now_ms))
    decision.lasting += owner_facts(scene, member)
    decision.lasting.append(facts.NodeAdded(number, member, label, fresh.secret, scene.now_ms))
    if subject is not None:
        decision.lasting.append(facts.SubjectBound(member, *subject, at=scene.mint.id()))
    if alias is not None:
        decision.error = name_problem("newalias", alias) or _taken(scene, alias)
        if decision.error is None:
            decision.lasting.append(facts.AliasAdded(alias, member, scene.mint.id()))
    return decision


def login(scene: Scene, node: Node) -> Decision:
    """Tell all nodes of the member. One whose queue is full is left out: a login must not fail for it."""
    decision = Decision(posted_ms=scene.now_ms)
    nodes = [n for n in scene.site.members[node.member].nodes if scene.load.queue_problem(n, 0) is None]
    scene.send(decision, "login", node.member, nodes, node="tbd")
    return decision


def _taken(scene: Scene, alias: str) -> str | None:
    return f"newalias is in use already: {alias}" if scene.site.name_taken(alias) else None


def _user_edit(
    scene: Scene,
    node: Node,
    request: wire.UserEdit,
    _payloads: Any,
    fresh: Credentials | None,
    decision: Decision,
) -> None:
    member = scene.site.members[node.member]
    if request.newalias is not None:
        alias = request.newalias
        if alias not in member.aliases:
            scene.refuse_if(name_problem("newalias", alias) or _taken(scene, alias))
            if len(member.aliases) >= scene.limits.aliases_per_member:
                raise Refusal(
                    f"limit reached: a member has at most {scene.limits.aliases_per_member} aliases"
                )
            decision.lasting.append(facts.AliasAdded(alias, node.member, scene.mint.id()))
        scene.check_room(member.nodes, 0)
        scene.send(decision, "user", node.member, member.nodes, rank=RANK_USER, newalias=alias)
        return
    assert request.newnode is not None and fresh is not None
    scene.refuse_if(length_problem("newnode", request.newnode))
    if len(member.nodes) >= scene.limits.nodes_per_member:
        raise Refusal(
            f"limit reached: a member has at most {scene.limits.nodes_per_member} nodes; drop a lost one"
        )
    scene.check_room(member.nodes, 0)
    number = decision.node = scene.mint.number(scene.site.last_number)
    decision.lasting.append(facts.NodeAdded(number, node.member, request.newnode, fresh.secret, scene.now_ms))
    decision.traffic.append(facts.Inherited(number, node.number))
    scene.send(
        decision,
        "user",
        node.member,
        member.nodes,
        rank=RANK_USER,
        newnode=request.newnode,
        nodeid=fresh.password,
    )


def _ohi_edit(
    scene: Scene, node: Node, request: wire.OhiEdit, _payloads: Any, _fresh: Any, decision: Decision
) -> None:
    if len(request.to) > OHI_MAX:
        raise Refusal(f"limit reached: at most {OHI_MAX} members in one for list")
    for uid in request.to:
        scene.member_of(uid)
    if request.type != "init":
        nodes = scene.site.members[node.member].nodes
        scene.check_room(nodes, 0)
        listed = [{"Id": uid, "Type": 0} for uid in request.to]  # as asked: see ``relay.barrier``
        scene.send(decision, "ohiedit", node.member, nodes, for_=listed, type=request.type)


def _ping(
    scene: Scene, node: Node, request: wire.Ping, payloads: Sequence[Payload], _fresh: Any, decision: Decision
) -> None:
    scene.own_alias(node.member, request.from_)
    invited = scene.site.aliases.get(request.to)
    if invited is None:
        raise Refusal(f"to is no alias of this site: {request.to}")
    nodes = scene.others(node, invited.nodes)
    scene.check_room(nodes, payloads[0].size)
    scene.check_pings(node.member)
    decision.msgid = scene.send(
        decision,
        "ping",
        node.member,
        nodes,
        payloads[0],
        request.datahead,
        request.datasum,
        alias=request.from_,
        to=request.to,
    )


def _post(
    scene: Scene, node: Node, request: wire.Post, payloads: Sequence[Payload], _fresh: Any, decision: Decision
) -> None:
    nodes = scene.recipients(node, request.to)
    scene.check_room(nodes, payloads[0].size)
    scene.check_disk(node.member, payloads[0].size)
    decision.msgid = scene.send(
        decision, "delivery", node.member, nodes, payloads[0], request.datahead, request.datasum
    )


def _post_notify(
    scene: Scene,
    node: Node,
    request: wire.PostNotify,
    payloads: Sequence[Payload],
    _fresh: Any,
    decision: Decision,
) -> None:
    note, body = payloads
    nodes = scene.recipients(node, request.to)
    noted = scene.recipients(node, [*request.to, *request.noteto])
    if request.fornotself:
        own = set(scene.site.members[node.member].nodes)
        nodes = [n for n in nodes if n not in own]
    scene.check_room(nodes, body.size)
    scene.check_room(noted, note.size)
    scene.check_disk(node.member, body.size + note.size)
    notify = len(request.to) + len(request.noteto) + (0 if request.fornotself else 1)
    decision.msgid = scene.send(
        decision, "delivery", node.member, nodes, body, request.datahead, request.datasum, notify=notify
    )
    scene.send(
        decision,
        "notify",
        node.member,
        noted,
        note,
        request.notehead,
        request.notesum,
        postid=wire.format_id(decision.msgid),
    )


def _group_invite(
    scene: Scene,
    node: Node,
    request: wire.GroupInvite,
    payloads: Sequence[Payload],
    _fresh: Any,
    decision: Decision,
) -> None:
    decide_invite(scene, node, request, payloads[0], decision)


def _group_edit(
    scene: Scene, node: Node, request: wire.GroupEdit, _payloads: Any, _fresh: Any, decision: Decision
) -> None:
    decide_edit(scene, node, request, decision)


_RULES: dict[type, Callable[..., None]] = {
    wire.UserEdit: _user_edit,
    wire.OhiEdit: _ohi_edit,
    wire.GroupInvite: _group_invite,
    wire.GroupEdit: _group_edit,
    wire.Post: _post,
    wire.PostNotify: _post_notify,
    wire.Ping: _ping,
}

__all__ = ["Credentials", "decide", "login", "register"]
