"""What a server says, as its client sees it: TMTP revision 1, section 4."""

from typing import Any

from msgspec import Struct


class TmtpRevReply(Struct):
    """The server's name. `auth` is 1 if registration, 2 if login too goes by a provider of `authby`."""

    id: str
    name: str = ""
    auth: int | None = None
    authby: list[dict[str, Any]] | None = None


class Registered(Struct):
    """The new account's uid and its first node's password; `error` says why it did not get its alias."""

    uid: str
    nodeid: str
    error: str | None = None


class Info(Struct):
    """The login is done; `ohi` are the members now online that announce their presence to this one."""

    info: str
    ohi: list[str]


class AckReply(Struct):
    """The answer to the request `id`: done, or refused with an `error`."""

    id: str
    msgid: int | None = None
    posted: str = ""
    error: str | None = None


class QuitReply(Struct):
    """Why the server closes the link."""

    error: str


class Ohi(Struct):
    """The member `from_` has come online (1) or gone offline (2)."""

    from_: str
    status: int


class Message(Struct):
    """A queued message, to be acknowledged with its `id`.

    `op` is delivery, notify, user, login, ohiedit, ping, invite or member. `fields` has what else the
    header held, by lower-case key. `data` is all of the data if `inline`; else it comes as `Data` events.
    """

    op: str
    id: int
    from_: str
    posted: str
    datalen: int
    datahead: int
    datasum: int | None
    headsum: int | None
    fields: dict[str, Any]
    head: bytes = b""
    data: bytes = b""
    inline: bool = True


ServerMessage = TmtpRevReply | Registered | Info | AckReply | QuitReply | Ohi | Message
