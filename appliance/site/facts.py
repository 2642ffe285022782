"""What can durably happen on a site. A journal entry's body is a list of these.

Two kinds of entries, so that the journal can be cut:

- *lasting* facts make the accounts and groups; they are kept for as long as the site lives;
- *traffic* facts are messages, acknowledgements and the keys of requests; they go once a day
  has passed and every node has the message, or an entry was made that says again what is pending.

In a commit the lasting facts come first. No fact of one kind depends on a later one of the other: a
message names the nodes it goes to, so that it means the same whatever the accounts look like when it
is applied.

The boxes of a site make facts without asking each other, and each takes in the others' in the order of the
entries of each box; facts that were made without knowledge of each other come in any order, and must
come to the same (`state`). What can be set anew has ``at``, an id of the maker's: the last one counts. Of
claims to a name the first one does.

A fact is encoded as a MessagePack array that starts with its tag. New fields go to the end with a default,
a reader skips trailing fields and tags that it does not know: boxes of neighbouring versions understand
each other.

Members and nodes have small numbers here, because every message carries a list of them. Messages are named
by their ``msgid``, a 64-bit integer (TMTP revision 1, section 1). Times are milliseconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, get_args

import msgspec

Role = Literal["invited", "joined", "barred"]
NodeRole = Literal["device", "out", "archive"]

LASTING = 1
TRAFFIC = 2


class Fact(msgspec.Struct, array_like=True, frozen=True):
    """Base of all facts."""


class MemberAdded(Fact, tag="member", frozen=True):
    """An account was made."""

    member: int
    uid: str
    at_ms: int


class NodeAdded(Fact, tag="node", frozen=True):
    """A member's device got a password. ``secret`` is the SHA-256 of the password's text."""

    node: int
    member: int
    label: str
    secret: bytes
    at_ms: int


class NodeDropped(Fact, tag="nodedrop", frozen=True):
    """A device was cut off: its password is void and its queue is empty."""

    node: int


class AliasAdded(Fact, tag="alias", frozen=True):
    """A member took a name, at ``at``. Names are never given back."""

    alias: str
    member: int
    at: int = 0


class GroupAdded(Fact, tag="group", frozen=True):
    """Member ``by`` made a group, at ``at``. Its ``gid`` shares one name space with the aliases."""

    gid: str
    at: int = 0
    by: int = 0


class RoleSet(Fact, tag="role", frozen=True):
    """A member's standing in a group, and the alias that the group knows the member by. ``group``: when
    the group was made, which tells it from another one of the same name.
    """

    gid: str
    member: int
    alias: str
    role: Role
    at: int = 0
    group: int = 0


class SubjectBound(Fact, tag="subject", frozen=True):
    """Who an OpenID Connect provider said the member is (TMTP revision 1, section 5)."""

    member: int
    issuer: str
    subject: str
    audience: str
    at: int = 0


class OwnerSet(Fact, tag="owner", frozen=True):
    """Whose site it is. The first member is the owner until another one is named."""

    member: int
    at: int = 0


class BoxAdded(Fact, tag="box", frozen=True):
    """A box belongs to the site. ``public`` is the Ed25519 key that signs its journal; ``slot``, 0 to 15,
    makes what it mints its own. ``of``: the box that it was, whose card was put back or copied.
    """

    box: str
    public: bytes
    slot: int
    name: str
    at: int
    of: str = ""


class BoxPlaced(Fact, tag="boxat", frozen=True):
    """Where a box is reached, as people type it (``=HOST:PORT``), and what it is called."""

    box: str
    addresses: tuple[str, ...]
    name: str
    at: int


class BoxRevoked(Fact, tag="boxcut", frozen=True):
    """A box is out for good: nothing of its journal counts above ``seq``, or the highest one where several
    boxes have said so.
    """

    box: str
    seq: int


class IdentitySet(Fact, tag="identity", frozen=True):
    """What clients know the site by: its name, and its TLS certificate and key (PEM), the same on all
    boxes.
    """

    name: str
    cert: str
    key: str
    at: int


class RecoverySet(Fact, tag="recovery", frozen=True):
    """The secret from which follows what opens the site's backups, the same on all boxes."""

    secret: bytes
    at: int


class MembershipAdded(Fact, tag="membership", frozen=True):
    """A member has an account at another site, which the box keeps; ``name`` is what they call it."""

    membership: int
    member: int
    name: str
    at: int


class MembershipSet(Fact, tag="membershipset", frozen=True):
    """Something about a membership: its address, the uid there, ... (``state.Membership``)."""

    membership: int
    field: str
    value: str
    at: int


class MembershipDropped(Fact, tag="membershipdrop", frozen=True):
    """The box keeps a membership no more; its devices go with it."""

    membership: int


class RelayNodeAdded(Fact, tag="relaynode", frozen=True):
    """A device of a membership, with a password of this site (``secret`` as in ``NodeAdded``), or one of the
    two queues that no device has: ``out``, what is to be sent there, and ``archive``, what is kept.
    ``membership`` 0: the member's archive of this site.
    """

    node: int
    member: int
    membership: int
    label: str
    secret: bytes
    role: NodeRole
    at_ms: int


class CredentialSet(Fact, tag="credential", frozen=True):
    """What box ``box`` logs in with at a membership's site, sealed so that only that box can read it."""

    membership: int
    box: str
    sealed: bytes
    at: int


class BoxSealing(Fact, tag="boxseal", frozen=True):
    """The X25519 key by which others seal what only box ``box`` is to read."""

    box: str
    public: bytes
    at: int


class Sent(Fact, tag="m", frozen=True):
    """A message goes to ``nodes``.

    ``digest`` is the SHA-256 of the frame head as emitted and the SHA-256 of the data; ``blob`` is the
    latter where the data is a file of its own, else ``None``. ``size`` counts data octets. ``rank`` 0 is
    ahead of 1 in a queue.
    """

    msgid: int
    rank: int
    sender: int
    digest: bytes
    size: int
    nodes: tuple[int, ...]
    blob: bytes | None = None


class Carried(Sent, tag="carry", frozen=True):
    """``nodes`` have yet to get an old message. Says again what a ``Sent`` said, so that its entry can go:
    else one device in a drawer would keep the whole journal since it was last seen.
    """


class Extended(Sent, tag="extend", frozen=True):
    """A message that is on its way already also goes to ``nodes``: new ones, that got a copy of the queue of
    another.
    """


class Acked(Fact, tag="a", frozen=True):
    """A node has these messages, or is not to get them any more. ``itself``: the node said so; if another
    box stored the same message of another site, the node has that one too.
    """

    node: int
    msgids: tuple[int, ...]
    itself: bool = False


class Inherited(Fact, tag="inherit", frozen=True):
    """A new node's queue starts as a copy of what is pending for ``source``, of ids above ``since``. With
    ``only``, the node gets those messages, whoever has them. What that is differs from box to box: the
    journal has ``Extended`` facts instead.
    """

    node: int
    source: int
    since: int = 0
    only: tuple[int, ...] = ()


class Requested(Fact, tag="r", frozen=True):
    """A request was carried out. The same octets from the same node on a later link get the same ack.

    ``msgid`` is 0 where the ack has none; ``others`` are further messages that it made, ``made`` a node. If
    two boxes carried it out, the higher ``msgid`` (then ``others``) counts, and nobody gets any more what the
    other one made.
    """

    node: int
    key: bytes
    msgid: int
    posted_ms: int
    others: tuple[int, ...] = ()
    made: int = 0


OF_BOX = -1
"""In place of a msgid: the message tells that a box of ours has logged in, so nobody is to get it."""


class Relayed(Fact, tag="relayed", frozen=True):
    """Message ``upid`` of a membership's site is ``msgid`` here; 0: nothing is kept of it; or ``OF_BOX``. If
    two boxes took it in, the lower ``msgid`` counts: who was to get both gets the other one no more, and who
    has that one has both.
    """

    membership: int
    upid: int
    msgid: int


class Outgoing(Fact, tag="outgoing", frozen=True):
    """Message ``msgid``, in the queue ``out`` of a membership, is a request of device ``node``: ``id`` is the
    device's own, ``key`` as in ``Requested``. If two boxes took it, the lower ``msgid`` counts.
    """

    msgid: int
    membership: int
    node: int
    key: bytes
    id: str


class Outcome(Fact, tag="outcome", frozen=True):
    """What the site said to a request: the message's ``upid`` there and when it was posted, 0 where
    its ack has none, or the ``error``. If there are two, the lower ``upid`` counts.
    """

    msgid: int
    upid: int
    posted_ms: int
    error: str


LastingFact = (
    MemberAdded
    | NodeAdded
    | NodeDropped
    | AliasAdded
    | GroupAdded
    | RoleSet
    | SubjectBound
    | OwnerSet
    | BoxAdded
    | BoxPlaced
    | BoxRevoked
    | IdentitySet
    | MembershipAdded
    | MembershipSet
    | MembershipDropped
    | RelayNodeAdded
    | CredentialSet
    | BoxSealing
    | RecoverySet
)
RelayFact = Relayed | Outgoing | Outcome
TrafficFact = Sent | Carried | Extended | Acked | Inherited | Requested | RelayFact

_encoder = msgspec.msgpack.Encoder()
_raws = msgspec.msgpack.Decoder(list[msgspec.Raw])
_any = msgspec.msgpack.Decoder(LastingFact | TrafficFact)


def encode_facts(facts: Iterable[Fact]) -> bytes:
    """An entry's body."""
    return _encoder.encode(list(facts))


def decode_facts(body: bytes) -> list[LastingFact | TrafficFact]:
    """The facts in an entry's body, less those with a tag that this version does not know.

    Raises ``ValueError`` if the body is no list of facts, or a known fact is malformed.
    """
    facts = []
    try:
        for raw in _raws.decode(body):
            try:
                facts.append(_any.decode(raw))
            except msgspec.ValidationError:
                if msgspec.msgpack.decode(raw)[0] in KNOWN_TAGS:
                    raise
    except (msgspec.DecodeError, IndexError, TypeError, KeyError) as error:
        raise ValueError(f"no list of facts: {error}") from None
    return facts


KNOWN_TAGS = frozenset(
    kind.__struct_config__.tag for kind in (*get_args(LastingFact), *get_args(TrafficFact))
)
