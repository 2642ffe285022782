"""What a peer's frames say, once they are read."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from appliance.replication.interface import Arrival, Octets, Position

Purpose = Literal["sync", "copy", "anew"]
"""What a link is for: to keep two boxes the same, to fill a copy for the dialer, or to let the dialer become
another box.
"""


class Greeted(Struct, frozen=True):
    """Somebody says that it is ``box``. Then: ``challenge`` or ``refuse``."""

    box: str
    purpose: Purpose


class Challenged(Struct, frozen=True):
    """The acceptor wants proof. Then: ``prove``."""


class Proven(Struct, frozen=True):
    """It is the box. Then: ``welcome`` or ``refuse``."""


class Welcomed(Struct, frozen=True):
    """The acceptor takes us. Then: ``state``."""


class PeerState(Struct, frozen=True):
    """Where the peer stands. Not the first one: it wants its entries anew from there. ``epoch`` is to be
    in the entries that answer it.
    """

    positions: dict[str, Position]
    clock: int
    complete: bool
    program: str
    epoch: int


class Entries(Struct, frozen=True):
    """Entries, in a causal order. ``follow``: so many ``Messages`` with ``part`` belong to them."""

    arrivals: list[Arrival]
    live: bool
    epoch: int
    follow: int
    octets: int


class Reached(Struct, frozen=True):
    """The peer has sent all that it had when it was at these positions; what follows is live."""

    positions: dict[str, Position]
    epoch: int


class Have(Struct, frozen=True):
    """The peer has this on stable storage. ``absent``: messages of which what is in them is not there yet."""

    positions: dict[str, int]
    blobs: list[bytes]
    absent: int


class GapMet(Struct, frozen=True):
    """The peer no longer has the entries of ``box`` that we lack: it takes a copy to come back."""

    box: str


class Barred(Struct, frozen=True):
    """The peer takes no entries of ``box``: it has others under the same numbers."""

    box: str


class Wants(Struct, frozen=True):
    """The peer asks for the octets of messages. Each is answered by one ``Messages`` without ``part``."""

    msgids: list[int]


class Messages(Struct, frozen=True):
    """Octets of messages."""

    messages: list[Octets]
    part: bool
    octets: int


class Want(Struct, frozen=True):
    """The peer asks for so many octets of a blob."""

    sha: bytes
    offset: int
    octets: int


class Chunk(Struct, frozen=True):
    """Octets of a blob."""

    sha: bytes
    offset: int
    data: bytes


class Lacking(Struct, frozen=True):
    """The peer does not have a blob that we wanted."""

    sha: bytes


class Beat(Struct, frozen=True):
    """The peer is there. ``absent``: as in ``Have``."""

    clock: int
    absent: int


class Told(Struct, frozen=True):
    """Something of the moment, which nobody keeps."""

    topic: str
    payload: bytes


class Anew(Struct, frozen=True):
    """The peer, whose card was put back or copied, wants to be the box with this key from now on. Then:
    ``taken`` or ``refuse``.
    """

    public: bytes


class Taken(Struct, frozen=True):
    """The new box is of the site, and has this slot."""

    slot: int


class Shown(Struct, frozen=True):
    """Somebody who says that it is ``box`` shows entries, and where it is reached. Then: ``refuse``."""

    box: str
    arrivals: list[Arrival]
    addresses: list[str]


Event = (
    Greeted
    | Challenged
    | Proven
    | Welcomed
    | PeerState
    | Entries
    | Reached
    | Have
    | GapMet
    | Barred
    | Wants
    | Messages
    | Want
    | Chunk
    | Lacking
    | Beat
    | Told
    | Anew
    | Taken
    | Shown
)
