"""When a request may come and an answer may go: TMTP revision 1, section 2, as tables.

`ON_REQUEST` is the server's side of a link: what a request leads to in each state, either the next state or
the reason to quit. `ON_ANSWER` is which answers take the link on. `CLIENT_SENDS` and `CLIENT_GETS` are the
same link seen from its other end. `states.md`, beside this file, is drawn from these tables by
`statechart`.
"""

from collections.abc import Mapping
from enum import Enum
from typing import Final

from . import reasons
from .rules import RULES


class State(Enum):
    """How far a link has got."""

    START = "nothing was said yet"
    GREETING = "tmtprev was sent and is to be answered"
    GREETED = "tmtprev was answered"
    REGISTERING = "register was sent and is to be answered"
    LOGGING_IN = "login was sent, or register answered, and the login is to be answered"
    LOGGED_IN = "the session is open"
    QUITTING = "quit was said, or the protocol broken: nothing more is read"
    CLOSED = "the link is over"


Outcome = State | str
"""The next state, or the reason to close the link."""


def _row(others: Outcome, exceptions: Mapping[str, Outcome]) -> Mapping[int, Outcome]:
    return {op: exceptions.get(rule.request.name, others) for op, rule in RULES.items()}


ON_REQUEST: Final[Mapping[State, Mapping[int, Outcome]]] = {
    State.START: _row(reasons.TMTPREV_OMITTED, {"TmtpRev": State.GREETING}),
    State.GREETED: _row(
        reasons.OP_ON_UNAUTHENTICATED_LINK,
        {"TmtpRev": reasons.OP_REPEATED, "Register": State.REGISTERING, "Login": State.LOGGING_IN},
    ),
    State.LOGGED_IN: _row(
        State.LOGGED_IN,
        {
            "TmtpRev": reasons.OP_REPEATED,
            "Register": reasons.OP_ON_CONNECTED_LINK,
            "Login": reasons.OP_ON_CONNECTED_LINK,
            "Quit": State.QUITTING,
        },
    ),
}
"""In the other states no request is read: AWAITING_ANSWER waits for us, the last two for the end."""

AWAITING_ANSWER: Final = frozenset((State.GREETING, State.REGISTERING, State.LOGGING_IN))
"""The states in which it is our turn, and what the client has sent meanwhile is left lying."""

ON_ANSWER: Final[Mapping[str, Mapping[State, State]]] = {
    "tmtprev": {State.GREETING: State.GREETED},
    "registered": {State.REGISTERING: State.LOGGING_IN},
    "info": {State.LOGGING_IN: State.LOGGED_IN},
    "quit": {state: State.CLOSED for state in State},
}
"""Acks and queued messages are no part of this: they go out in LOGGED_IN and change nothing."""

CLIENT_SENDS: Final[Mapping[State, Mapping[str, State]]] = {
    State.START: {"TmtpRev": State.GREETING},
    State.GREETING: {"Register": State.REGISTERING, "Login": State.LOGGING_IN},
    State.GREETED: {"Register": State.REGISTERING, "Login": State.LOGGING_IN},
    State.LOGGED_IN: {
        rule.request.name: State.QUITTING if rule.request.name == "Quit" else State.LOGGED_IN
        for rule in RULES.values()
        if rule.request.name not in ("TmtpRev", "Register", "Login")
    },
}
"""A client need not wait for the tmtprev answer before it logs in."""

QUEUED_OPS: Final = ("delivery", "invite", "login", "member", "notify", "ohiedit", "ping", "user")
SESSION_OPS: Final = ("ack", "ohi", *QUEUED_OPS)
"""What a server sends in a session: acks, presence and queued messages."""

CLIENT_GETS: Final[Mapping[State, Mapping[str, State]]] = {
    State.GREETING: {"tmtprev": State.GREETED, "quit": State.CLOSED},
    State.GREETED: {"quit": State.CLOSED},
    State.REGISTERING: {
        "tmtprev": State.REGISTERING,
        "registered": State.LOGGING_IN,
        "quit": State.CLOSED,
    },
    State.LOGGING_IN: {
        "tmtprev": State.LOGGING_IN,
        "info": State.LOGGED_IN,
        "quit": State.CLOSED,
    },
    State.LOGGED_IN: {**dict.fromkeys(SESSION_OPS, State.LOGGED_IN), "quit": State.CLOSED},
    State.QUITTING: {**dict.fromkeys(SESSION_OPS, State.QUITTING), "quit": State.CLOSED},
}
"""Tmtprev comes once and first, whether or not the client waited for it. A QUITTING client still gets what
was under way.
"""
