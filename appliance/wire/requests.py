"""What a client can ask of a server, as structs: TMTP revision 1, section 3.

A struct holds what the header said, by its field's name in lower case, with these differences: `for` is
`to` (in OhiEdit a list of uids), `notefor` is `noteto`, `from` is `from_`. The types bind what is read from
the wire; a struct made by hand is judged when it is encoded.
"""

from typing import Annotated, Any, ClassVar, Final

import msgspec
from msgspec import Meta, field

INT_MAX: Final = (1 << 63) - 1
"""Largest `datalen`, `datahead`, `notelen`, `notehead`."""
SUM_MAX: Final = (1 << 64) - 1
"""Largest `datasum`, `notesum`."""

Text = Annotated[str, Meta(min_length=1)]
Count = Annotated[int, Meta(ge=0, le=INT_MAX)]

TO_UID, TO_GROUP, TO_GROUP_NOT_SELF = 1, 2, 3


class Target(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """One element of `for`: a uid (`type` 1), or a group with (2) or without (3) the sender."""

    id: Text
    type: Annotated[int, Meta(ge=TO_UID, le=TO_GROUP_NOT_SELF)]


class Request(msgspec.Struct, gc=False, forbid_unknown_fields=True, tag_field="op"):
    """What all requests have in common: the number and the name of their op."""

    op: ClassVar[int]
    name: ClassVar[str]


class Identified(Request, kw_only=True):
    """A request with an `id`, which the client chose and its ack repeats."""

    head: bytes = b""
    """The frame head exactly as received, `hhhh` and JSON; empty in a request made by hand."""


class WithData(Identified, kw_only=True):
    """A request that data may follow, `datalen` octets of it."""

    data: bytes = b""
    """All the data, `datalen` octets, if `inline`; else empty, and the data comes as `Data` events."""
    inline: bool = True


class TmtpRev(Identified, tag=0):
    """The first request on a link: the protocol revision, "1"."""

    op: ClassVar[int] = 0
    name: ClassVar[str] = "TmtpRev"
    id: Text


class Register(Request, tag=1):
    """Makes an account with a first node; `newalias` None asks for no alias. `oidc` is the provider's token
    answer.
    """

    op: ClassVar[int] = 1
    name: ClassVar[str] = "Register"
    newnode: Text
    newalias: str | None = None
    oidc: dict[str, Any] | None = None


class Login(Request, tag=2):
    """Starts a session of the member `uid` with the node's password, in base32."""

    op: ClassVar[int] = 2
    name: ClassVar[str] = "Login"
    uid: Text
    node: Text


class UserEdit(Identified, tag=3):
    """A new node with this label, or a new alias: exactly one of the two."""

    op: ClassVar[int] = 3
    name: ClassVar[str] = "UserEdit"
    id: Text
    newnode: str | None = None
    newalias: str | None = None


class OhiEdit(Identified, tag=4):
    """To whom (uids) presence is announced; `type` is add, drop or init."""

    op: ClassVar[int] = 4
    name: ClassVar[str] = "OhiEdit"
    id: Text
    to: list[str] = field(name="for")
    type: str


class GroupInvite(WithData, tag=5):
    """Invites the alias `to` to the group `gid` as the alias `from_`, with a short text as data."""

    op: ClassVar[int] = 5
    name: ClassVar[str] = "GroupInvite"
    id: Text
    gid: Text
    from_: Text = field(name="from")
    to: Text
    datalen: Count = 0
    datahead: Count = 0
    datasum: Count | None = None


class GroupEdit(Identified, tag=6):
    """`act` join (an invitee), alias (with `newalias`) or drop (of the alias `to`)."""

    op: ClassVar[int] = 6
    name: ClassVar[str] = "GroupEdit"
    id: Text
    act: str
    gid: Text
    newalias: str | None = None
    to: str | None = None


class Post(WithData, tag=7):
    """A message of `datalen` octets to the members and groups in `to`, which may be empty (then to
    oneself).
    """

    op: ClassVar[int] = 7
    name: ClassVar[str] = "Post"
    id: Text
    to: list[Target] = field(name="for")
    datalen: Annotated[int, Meta(ge=1, le=INT_MAX)]
    datahead: Count = 0
    datasum: Count | None = None


class PostNotify(WithData, tag=8):
    """A note of `notelen` octets and then a message, `datalen` octets together.

    The message goes to `to`, the note to `to` and `noteto`; the sender's other nodes get both, of which
    `fornotself` keeps the message back.
    """

    op: ClassVar[int] = 8
    name: ClassVar[str] = "PostNotify"
    id: Text
    to: list[Target] = field(name="for")
    datalen: Annotated[int, Meta(ge=1, le=INT_MAX)]
    datahead: Count = 0
    datasum: Count | None = None
    notelen: Count = 0
    notehead: Count = 0
    notesum: Count | None = None
    noteto: list[Target] = field(name="notefor", default_factory=list)
    fornotself: bool = False


class Ping(WithData, tag=9):
    """A short text from the sender's alias `from_` to the alias `to`."""

    op: ClassVar[int] = 9
    name: ClassVar[str] = "Ping"
    id: Text
    from_: Text = field(name="from")
    to: Text
    datalen: Count = 0
    datahead: Count = 0
    datasum: Count | None = None


class Ack(Identified, tag=10):
    """The queued message `id` has been dealt with; `type` is any text."""

    op: ClassVar[int] = 10
    name: ClassVar[str] = "Ack"
    id: Text
    type: Text


class Pulse(Request, tag=11):
    """Nothing, so that the link is not taken for dead."""

    op: ClassVar[int] = 11
    name: ClassVar[str] = "Pulse"


class Quit(Request, tag=12):
    """The end of the session."""

    op: ClassVar[int] = 12
    name: ClassVar[str] = "Quit"


WITH_DATA: Final = (GroupInvite, Post, PostNotify, Ping)


def has_data(request: Request) -> bool:
    """Whether data follows the header of this request: `datalen` is more than 0."""
    return isinstance(request, WITH_DATA) and request.datalen > 0
