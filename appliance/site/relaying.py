"""What is decided about accounts at other sites: who has one, what came from there, what is to go there.

As in ``rules``: pure, a ``Decision`` comes out. What comes from a site is kept octet for octet, under an id
of this site's: several sites may give the same one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from appliance import wire
from appliance.site import facts
from appliance.site.memberships import FIELDS, Membership
from appliance.site.message import EMPTY, RANK_NORMAL, RANK_USER, Decision, Message, Payload, sent
from appliance.site.names import length_problem
from appliance.site.rules import Credentials
from appliance.site.scene import KEPT, Refusal, Scene
from appliance.site.state import Node, Site

NAME_CHARS_MAX = 64
VALUE_CHARS_MAX = 1000
GONE = "the membership was dropped"
NS_PER_MS = 1_000_000


@dataclass(frozen=True, slots=True)
class Echo:
    """What the member's other devices get of a request: a message ``op`` as its site would send it, ``upid``
    its id there or 0 where that is not known, to ``nodes``.
    """

    op: str
    upid: int
    head: bytes
    payload: Payload
    nodes: tuple[int, ...]


def add_membership(scene: Scene, member: int, name: str, fields: Mapping[str, str]) -> Decision:
    """A member has an account at another site: ``node`` of the decision is the membership's number."""
    problem = name_problem(scene.site, member, name)
    if problem is not None:
        return Decision(error=problem)
    number = scene.mint.number(scene.site.last_number)
    out = scene.mint.number(number)
    archive = scene.mint.number(out)
    decision = Decision(posted_ms=scene.now_ms, member=member, node=number)
    decision.lasting += [
        facts.MembershipAdded(number, member, name, scene.mint.id()),
        facts.RelayNodeAdded(out, member, number, "out", b"", "out", scene.now_ms),
        facts.RelayNodeAdded(archive, member, number, "archive", b"", "archive", scene.now_ms),
    ]
    decision.lasting += _set(scene, number, fields)
    return decision


def name_problem(site: Site, member: int, name: str) -> str | None:
    """Why a member can have no membership of that name; to be asked before an account is made at a site."""
    known = site.members.get(member)
    if known is None:
        return "there is no such member: see   pocket member list"
    if not name.strip() or len(name) > NAME_CHARS_MAX or not name.isprintable():
        return f"a membership needs a name of at most {NAME_CHARS_MAX} characters: see --name"
    if any(site.memberships[number].name == name for number in known.memberships):
        return f"the member has a membership {name!r} already: give another --name"
    return None


def set_membership(scene: Scene, number: int, **fields: str) -> Decision:
    """Change what is known of a membership (``memberships.FIELDS``); nothing if it is so already."""
    membership = scene.site.memberships.get(number)
    if membership is None:
        return Decision(error=GONE)
    changed = {name: value for name, value in fields.items() if membership.fields.get(name, "") != value}
    return Decision(lasting=_set(scene, number, changed))


def _set(scene: Scene, number: int, fields: Mapping[str, str]) -> list[facts.LastingFact]:
    assert not fields.keys() - set(FIELDS), fields
    return [
        facts.MembershipSet(number, name, value[:VALUE_CHARS_MAX], scene.mint.id())
        for name, value in fields.items()
    ]


def drop_membership(scene: Scene, number: int) -> Decision:
    """The box keeps it no more, nor what it has of it. The account at the site is as it was."""
    membership = scene.site.memberships.get(number)
    if membership is None:
        return Decision(error=GONE)
    gone = membership.nodes
    return Decision(
        lasting=[*(facts.NodeDropped(node) for node in gone), facts.MembershipDropped(number)], dropped=gone
    )


def set_credential(scene: Scene, number: int, box: str, sealed: bytes) -> Decision:
    """What a box logs in with there, sealed for it."""
    if number not in scene.site.memberships:
        return Decision(error=GONE)
    return Decision(lasting=[facts.CredentialSet(number, box, sealed, scene.mint.id())])


def set_sealing(scene: Scene, box: str, public: bytes) -> Decision:
    """The key to seal for a box; nothing if it is known."""
    known = scene.site.sealing.get(box)
    if known is not None and known[0] == public:
        return Decision()
    return Decision(lasting=[facts.BoxSealing(box, public, scene.mint.id())])


def add_relay_device(
    scene: Scene, number: int, label: str, fresh: Credentials, source: int = 0, since_ms: int | None = None
) -> Decision:
    """A membership gets another device. Its queue starts with what device ``source`` (0: none) has yet to
    get, or with what is kept and came after ``since_ms``.
    """
    membership = scene.site.memberships.get(number)
    if membership is None:
        return Decision(error=GONE)
    problem = _label_problem(scene, membership, label)
    if problem is not None:
        return Decision(error=problem)
    decision = Decision(posted_ms=scene.now_ms, member=membership.member)
    _add_device(scene, decision, membership, label, fresh)
    if since_ms is not None and membership.archive:
        since = max(1, since_ms * NS_PER_MS)
        decision.traffic.append(facts.Inherited(decision.node, membership.archive, since))
    elif source in membership.devices:
        decision.traffic.append(facts.Inherited(decision.node, source))
    return decision


def _add_device(
    scene: Scene, decision: Decision, membership: Membership, label: str, fresh: Credentials
) -> None:
    decision.node = scene.mint.number(scene.site.last_number)
    decision.lasting.append(
        facts.RelayNodeAdded(
            decision.node,
            membership.member,
            membership.number,
            label,
            fresh.secret,
            "device",
            scene.now_ms,
        )
    )


def _label_problem(scene: Scene, membership: Membership, label: str) -> str | None:
    most = scene.limits.nodes_per_member
    if len(membership.devices) >= most:
        return f"limit reached: a membership has at most {most} devices here; drop a lost one"
    return "the device needs a name, such as phone" if not label.strip() else length_problem("newnode", label)


def set_archive(scene: Scene, member: int, on: bool) -> Decision:
    """Keep what goes through a member's devices of this site, or keep it no more: then what is kept goes."""
    known = scene.site.members.get(member)
    if known is None:
        return Decision(error="there is no such member: see the list of members")
    if bool(known.archives) == on:
        return Decision()
    if not on:
        gone = list(known.archives)
        return Decision(lasting=[facts.NodeDropped(node) for node in gone], dropped=gone)
    number = scene.mint.number(scene.site.last_number)
    fact = facts.RelayNodeAdded(number, member, 0, "archive", b"", "archive", scene.now_ms)
    return Decision(lasting=[fact], node=number)


def trim(scene: Scene, node: int, msgid: int, head: bytes, payload: Payload | None) -> Decision:
    """An archive keeps only ``payload`` of the data of a message, or (None) nothing of it at all. The head
    stays as it was, so that it shows.
    """
    if node not in scene.site.nodes:
        return Decision(error="there is no such archive")
    decision = Decision(acks=[(node, msgid)])
    if payload is not None:
        decision.msgid = _add(scene, decision, head, payload, (node,), 0)
    return decision


# what comes from a site


def relay_in(
    scene: Scene,
    number: int,
    upid: int,
    op: str,
    head: bytes,
    payload: Payload,
    nodes: Sequence[int] | None = None,
    known: bool = False,
) -> Decision:
    """Message ``upid`` came from a membership's site. It goes to all devices that have room, and is kept;
    or to ``nodes`` alone: if there are none only the id is noted, and a `login` is one of a box of ours: who
    stored it as somebody's, because they could not be told, delivers it no more. ``known``: that was done
    before. ``msgid`` of the decision is 0 if nobody gets it.
    """
    membership = scene.site.memberships.get(number)
    if membership is None:
        return Decision(error=GONE)
    decision = Decision(posted_ms=scene.now_ms)
    of_box = op == "login" and nodes is not None and not nodes
    if nodes is None:
        kept = [membership.archive] if membership.archive and op in KEPT else []
        nodes = [*with_room(scene, membership, payload.size), *kept]
    rank = RANK_USER if op == "user" else RANK_NORMAL
    decision.msgid = _add(scene, decision, head, payload, tuple(nodes), 0, rank)
    if not known:
        decision.relay.append(facts.Relayed(number, upid, facts.OF_BOX if of_box else decision.msgid))
    return decision


def with_room(scene: Scene, membership: Membership, size: int) -> list[int]:
    """Devices whose queues are not full: one in a drawer must not keep the others from getting anything, nor
    let a site fill the disk. One that waits for nothing gets a message of any size.
    """
    return [node for node in membership.devices if queue_has_room(scene, node, size)]


def queue_has_room(scene: Scene, node: int, size: int = 0) -> bool:
    """Whether a device of a membership gets what comes now."""
    if scene.load.queue_problem(node, size) is not None:
        return False
    octets = scene.load.pending_octets(node)
    return not octets or octets + size <= scene.limits.relay_octets_per_device


# what goes to a site


def relay_out(scene: Scene, node: Node, request: Any, payload: Payload, key: bytes) -> Decision:
    """A request of a membership's device goes into the outbox; ``msgid`` of the decision is the item's.
    ``key`` is what a repetition is recognised by.
    """
    membership = scene.site.memberships.get(node.membership)
    if membership is None or node.number not in scene.site.nodes:
        return Decision(error="this device was dropped")
    problem = scene.load.queue_problem(membership.out, payload.size)
    if problem is not None:
        return Decision(error=f"limit reached: the outbox {problem}")
    decision = Decision(posted_ms=scene.now_ms)
    try:
        scene.check_disk(node.member, payload.size)
    except Refusal as refusal:
        return Decision(error=str(refusal))
    decision.msgid = _add(scene, decision, request.head, payload, (membership.out,), node.member)
    decision.relay.append(facts.Outgoing(decision.msgid, membership.number, node.number, key, request.id))
    return decision


def relay_answered(
    scene: Scene, number: int, msgid: int, upid: int, posted_ms: int, error: str, echoes: Sequence[Echo] = ()
) -> Decision:
    """The site has answered an item of the outbox: with ``upid`` (0: none) and when it was posted, or an
    error. The member's other devices get ``echoes``.
    """
    membership = scene.site.memberships.get(number)
    if membership is None:
        return Decision(error=GONE)
    decision = Decision(posted_ms=scene.now_ms, acks=[(membership.out, msgid)])
    decision.relay.append(facts.Outcome(msgid, upid, posted_ms, error[:VALUE_CHARS_MAX]))
    for echo in echoes:
        nodes = tuple(node for node in echo.nodes if node in scene.site.nodes)
        if membership.archive and echo.op in KEPT:
            nodes += (membership.archive,)
        rank = RANK_USER if echo.op == "user" else RANK_NORMAL
        made = _add(scene, decision, echo.head, echo.payload, nodes, 0, rank)
        if echo.upid:
            decision.relay.append(facts.Relayed(number, echo.upid, made))
    return decision


# what the box answers in the site's place


def relay_newnode(scene: Scene, node: Node, label: str, fresh: Credentials) -> Decision:
    """UserEdit newnode of a membership's device (TMTP revision 1, section 4): the new one is a device
    here."""
    membership = scene.site.memberships.get(node.membership)
    if membership is None or node.number not in scene.site.nodes:
        return Decision(error="this device was dropped")
    problem = _label_problem(scene, membership, label)
    if problem is not None:
        return Decision(error=problem)
    decision = Decision(posted_ms=scene.now_ms, member=membership.member)
    try:
        scene.check_changes(membership.member)
    except Refusal as refusal:
        return Decision(error=str(refusal))
    _add_device(scene, decision, membership, label, fresh)
    decision.traffic.append(facts.Inherited(decision.node, node.number))
    _tell(scene, decision, "user", membership, RANK_USER, newnode=label, nodeid=fresh.password)
    return decision


def relay_login(scene: Scene, node: Node) -> Decision:
    """A membership's device has logged in: its devices are told."""
    membership = scene.site.memberships.get(node.membership)
    if membership is None or node.number not in scene.site.nodes:
        return Decision(error="this device was dropped")
    decision = Decision(posted_ms=scene.now_ms)
    _tell(scene, decision, "login", membership, RANK_NORMAL, node="tbd")
    return decision


def _tell(scene: Scene, decision: Decision, op: str, membership: Membership, rank: int, **extra: Any) -> None:
    """A message of ours to a membership's devices, as its site would have made it."""
    msgid = scene.mint.id()
    head = wire.encode_message(op, membership.uid, msgid, scene.now_ms, 0, 0, None, **extra)
    _add(scene, decision, head, EMPTY, tuple(with_room(scene, membership, 0)), 0, rank, msgid)


def _add(
    scene: Scene,
    decision: Decision,
    head: bytes,
    payload: Payload,
    nodes: tuple[int, ...],
    sender: int,
    rank: int = RANK_NORMAL,
    msgid: int = 0,
) -> int:
    """Add a message to the decision, unless nobody gets it; its id, or 0."""
    if not nodes:
        return 0
    msgid = msgid or scene.mint.id()
    blob = payload.digest if payload.data is None else None
    message = Message(msgid, rank, head, payload.size, payload.data, blob, sender, nodes)
    decision.messages.append(message)
    decision.traffic.append(sent(message, payload))
    return msgid
