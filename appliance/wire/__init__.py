"""TMTP revision 1, from either end of a link: octets in and out, and no more.

Rules of this room:

- **No I/O.** It is given octets and gives octets. It knows no socket, no task, no clock, no file; time
  comes in as milliseconds since the epoch. So the server, a relay, the tests and a load generator share it.
- **One link, one object.** `ServerLink` and `ClientLink` take what was received with `receive_data`, give
  it out by `next_event` until that is NEED_DATA, and make the frames that carry a link from state to state.
  What changes no state (acks, presence, queued messages) is made by plain functions.
- **Whose fault.** RemoteProtocolError: the other side's octets are wrong; its `reason` is what to tell it.
  After it, and after a quit, a link stays shut. LocalProtocolError: we asked for what TMTP does not allow
  here, and nothing has changed. No octets from outside raise anything else.
- **Bounds.** A link holds at most one frame head, `inline_max` octets of data, and what was received last.
  Larger data passes through in pieces.
- **The same events however the stream is cut.** What is judged, is judged when all of it is there.
- **The tables are the truth.** What may be asked is `rules.RULES`, when is `states`; `states.md` is drawn
  from the latter.
- **Two readers, one answer.** `fast` reads what all clients send all the time and leaves to `header` and
  `rules` whatever it is not certain of; a test holds them to the same answer.
"""

from . import reasons
from .base32 import b32decode, b32encode
from .canonical import canonical_json
from .client import ClientEvent, ClientLink, id_of
from .emit import encode_ack, encode_message, encode_ohi
from .errors import LocalProtocolError, RemoteProtocolError, WireError
from .link import INLINE_MAX, NEED_DATA, Data, NeedData
from .replies import AckReply, Info, Message, Ohi, QuitReply, Registered, ServerMessage, TmtpRevReply
from .requests import (
    Ack,
    GroupEdit,
    GroupInvite,
    Login,
    OhiEdit,
    Ping,
    Post,
    PostNotify,
    Pulse,
    Quit,
    Register,
    Request,
    Target,
    TmtpRev,
    UserEdit,
    has_data,
)
from .server import Event, ServerLink, request_of
from .stamps import format_id, format_posted, parse_id, parse_posted
from .states import State

__all__ = [
    "INLINE_MAX",
    "NEED_DATA",
    "Ack",
    "AckReply",
    "ClientEvent",
    "ClientLink",
    "Data",
    "Event",
    "GroupEdit",
    "GroupInvite",
    "Info",
    "LocalProtocolError",
    "Login",
    "Message",
    "NeedData",
    "Ohi",
    "OhiEdit",
    "Ping",
    "Post",
    "PostNotify",
    "Pulse",
    "Quit",
    "QuitReply",
    "Register",
    "Registered",
    "RemoteProtocolError",
    "Request",
    "ServerLink",
    "ServerMessage",
    "State",
    "Target",
    "TmtpRev",
    "TmtpRevReply",
    "UserEdit",
    "WireError",
    "b32decode",
    "b32encode",
    "canonical_json",
    "encode_ack",
    "encode_message",
    "encode_ohi",
    "format_id",
    "format_posted",
    "has_data",
    "id_of",
    "parse_id",
    "parse_posted",
    "reasons",
    "request_of",
]
