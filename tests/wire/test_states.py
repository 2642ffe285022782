"""When a request may come and an answer may go: TMTP revision 1, section 2."""

from collections.abc import Callable
from pathlib import Path

import pytest

import appliance.wire
from appliance import wire
from appliance.wire import State, reasons
from appliance.wire.statechart import describe

from .conversation import (
    GREETING,
    LOGIN,
    PULSE,
    REGISTER,
    UID,
    client_logged_in,
    frame,
    greeted,
    logged_in,
    read,
)
from .test_rules import FULL

NAMES = list(FULL)


def ask(link: wire.ServerLink, name: str) -> object:
    return read(link, [frame(FULL[name], b"abc" if "datalen" in FULL[name] else b"")])[0]


@pytest.mark.parametrize("name", NAMES[1:])
def test_the_first_request_is_tmtprev(name: str) -> None:
    link = wire.ServerLink()
    assert ask(link, name) == reasons.TMTPREV_OMITTED
    assert link.encode_quit(reasons.TMTPREV_OMITTED) == b""


@pytest.mark.parametrize("link", [greeted, logged_in])
def test_a_second_tmtprev_is_refused(link: Callable[[], wire.ServerLink]) -> None:
    refused = link()
    assert ask(refused, "TmtpRev") == reasons.OP_REPEATED
    assert b'"error":"disallowed op repetition"' in refused.encode_quit(reasons.OP_REPEATED)


@pytest.mark.parametrize("name", ["Register", "Login"])
def test_there_is_one_login_on_a_link(name: str) -> None:
    assert ask(logged_in(), name) == reasons.OP_ON_CONNECTED_LINK


@pytest.mark.parametrize("name", NAMES[3:])
def test_everything_else_needs_a_login(name: str) -> None:
    assert ask(greeted(), name) == reasons.OP_ON_UNAUTHENTICATED_LINK


@pytest.mark.parametrize(
    ("broken", "early", "late"),
    [
        ('{"op":10,"id":"1"}', True, False),
        ('{"op":3,"id":"1"}', False, True),
        ('{"op":3,"id":"1","newnode":"a","newalias":"b"}', False, True),
        ('{"op":4,"id":"1","for":[{"id":"U"}],"type":"remove"}', False, True),
        ('{"op":6,"id":"1","act":"leave","gid":"g"}', False, True),
        ('{"op":6,"id":"1","act":"","gid":"g"}', True, False),
        ('{"op":8,"id":"1","for":[],"datalen":1,"notelen":1}', False, True),
        ('{"op":8,"id":"1","for":[],"datalen":2,"notelen":1,"datahead":2}', False, True),
        ('{"op":8,"id":"1","for":[],"datalen":2,"notelen":1,"datahead":3}', True, False),
        ('{"op":9,"id":"1","from":"a","to":"b","datalen":500}', False, True),
        ('{"op":7,"id":"1","for":[],"datalen":"1"}', True, False),
        ('{"op":11', True, False),
    ],
)
def test_a_malformed_header_goes_before_a_wrong_time_and_that_before_the_rest(
    broken: str, early: bool, late: bool
) -> None:
    """The header is looked at, then the link, then the request."""
    assert early is not late
    wrong_time = reasons.INVALID_HEADER if early else reasons.OP_ON_UNAUTHENTICATED_LINK
    assert read(greeted(), [frame(broken)]) == [wrong_time]
    (in_time,) = read(logged_in(), [frame(broken)])
    assert in_time in (reasons.INVALID_HEADER, reasons.DATA_TOO_SHORT, reasons.DATA_TOO_LONG)


def test_the_order_of_a_session() -> None:
    link = wire.ServerLink()
    assert link.state.name == "START"
    link.receive_data(GREETING + REGISTER + PULSE + frame(FULL["Quit"]) + PULSE)
    assert isinstance(link.next_event(), wire.TmtpRev)
    assert link.state.name == "GREETING"
    assert link.encode_tmtprev("Häuschen") == frame('{"id":"1","name":"Häuschen","op":"tmtprev"}')
    assert link.state.name == "GREETED"
    assert link.next_event() == wire.Register("tablet")
    assert link.state.name == "REGISTERING"
    assert link.encode_registered("U", "N") == frame('{"nodeid":"N","op":"registered","uid":"U"}')
    assert link.state.name == "LOGGING_IN"
    assert link.encode_login_ok() == frame('{"info":"login ok","op":"info"}')
    assert link.state.name == "LOGGED_IN"
    assert link.next_event() == wire.Pulse()
    assert link.next_event() == wire.Quit()
    assert link.state.name == "QUITTING"
    assert link.next_event() is wire.NEED_DATA
    assert link.encode_quit() == frame('{"error":"logout ok","op":"quit"}')
    assert link.state.name == "CLOSED"
    link.receive_data(PULSE)
    assert link.next_event() is wire.NEED_DATA
    assert link.buffered == 0


def test_an_answer_says_what_the_site_wants_it_to() -> None:
    link = wire.ServerLink()
    link.receive_data(GREETING + LOGIN)
    link.next_event()
    provider = {"token": ["u", "p"], "label": "<x>", "login": ["u", "p"]}
    assert link.encode_tmtprev("s", 2, [provider])[4:] == (
        rb'{"auth":2,"authby":[{"label":"\u003cx\u003e","login":["u","p"],"token":["u","p"]}],'
        rb'"id":"1","name":"s","op":"tmtprev"}'
    )
    link.next_event()
    assert link.encode_login_ok(["A", "B"])[4:] == b'{"info":"login ok","ohi":["A","B"],"op":"info"}'
    link = greeted()
    link.receive_data(REGISTER)
    link.next_event()
    assert (
        link.encode_registered("U", "N", "no")[4:]
        == b'{"error":"no","nodeid":"N","op":"registered","uid":"U"}'
    )


def test_of_those_online_as_many_are_told_as_fit() -> None:
    link = greeted()
    link.receive_data(LOGIN)
    link.next_event()
    info = link.encode_login_ok([UID] * 5000)
    assert 65_000 < len(info) <= 4 + 65535
    assert link.state is State.LOGGED_IN


ANSWERS: dict[str, Callable[[wire.ServerLink], bytes]] = {
    "tmtprev": lambda link: link.encode_tmtprev("s"),
    "registered": lambda link: link.encode_registered("U", "N"),
    "info": lambda link: link.encode_login_ok(),
}


def in_state(state: State) -> wire.ServerLink:
    link = wire.ServerLink()
    if state is State.START:
        return link
    link.receive_data(GREETING + (REGISTER if state is State.REGISTERING else LOGIN) + frame(FULL["Quit"]))
    for step in ("", "tmtprev", "", "info", ""):
        if step:
            ANSWERS[step](link)
        else:
            link.next_event()
        if link.state is state:
            return link
    link.encode_quit()
    return link


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("answer", ANSWERS)
def test_an_answer_that_nobody_waits_for_is_our_own_error_and_changes_nothing(
    state: State, answer: str
) -> None:
    link = in_state(state)
    assert link.state is state
    due = {State.GREETING: "tmtprev", State.REGISTERING: "registered", State.LOGGING_IN: "info"}
    if due.get(state) == answer:
        assert ANSWERS[answer](link)
        assert link.state is not state
    else:
        with pytest.raises(wire.LocalProtocolError):
            ANSWERS[answer](link)
        assert link.state is state


@pytest.mark.parametrize("state", [State.GREETING, State.REGISTERING, State.LOGGING_IN])
def test_the_next_request_waits_for_the_answer_to_the_last(state: State) -> None:
    link = in_state(state)
    with pytest.raises(wire.LocalProtocolError):
        link.next_event()
    assert link.state is state


@pytest.mark.parametrize("state", State)
def test_a_quit_is_sent_once_and_only_to_those_who_were_greeted(state: State) -> None:
    link = in_state(state)
    silent = state in (State.START, State.GREETING, State.CLOSED)
    expected = b"" if silent else frame(r'{"error":"login \u0026 go","op":"quit"}')
    assert link.encode_quit("login & go") == expected
    assert link.state is State.CLOSED
    assert link.encode_quit() == b""
    assert link.next_event() is wire.NEED_DATA


def test_a_broken_protocol_stays_broken() -> None:
    link = logged_in()
    link.receive_data(PULSE + b"zzzz" + PULSE)
    assert link.next_event() == wire.Pulse()
    for _ in range(2):
        with pytest.raises(wire.RemoteProtocolError, match="invalid header length") as caught:
            link.next_event()
        assert caught.value.reason == reasons.INVALID_HEADER_LENGTH
        assert link.state is State.QUITTING
        link.receive_data(PULSE)
    assert link.buffered == 0
    assert link.encode_quit(caught.value.reason) == frame('{"error":"invalid header length","op":"quit"}')


def test_an_invalid_header_says_to_the_log_what_is_wrong_with_it() -> None:
    link = logged_in()
    link.receive_data(frame('{"op":10,"id":"secret"}'))
    with pytest.raises(wire.RemoteProtocolError, match="invalid header: type is missing") as caught:
        link.next_event()
    assert (caught.value.reason, caught.value.detail) == (reasons.INVALID_HEADER, "type is missing")


def test_answers_that_do_not_fit_change_nothing() -> None:
    link = in_state(State.GREETING)
    with pytest.raises(wire.LocalProtocolError, match="does not fit"):
        link.encode_tmtprev("&" * 20_000)
    assert link.state is State.GREETING
    assert link.encode_quit() == b""


def test_a_client_may_do_what_the_server_lets_it_do() -> None:
    def refused(*requests: wire.Request) -> None:
        for request in requests:
            with pytest.raises(wire.LocalProtocolError):
                link.encode(request)

    link = wire.ClientLink()
    refused(wire.Login("U", "N"))
    assert link.encode(wire.TmtpRev("1")) == frame('{"id":"1","op":0}')
    refused(wire.TmtpRev("1"), wire.Pulse(), wire.Quit(), wire.Ack("1", "n"))
    assert link.state.name == "GREETING"
    assert link.encode(wire.Login("U", "N")) == frame('{"node":"N","op":2,"uid":"U"}')
    refused(wire.Login("U", "N"), wire.Register("x"), wire.Pulse())
    link = client_logged_in()
    refused(wire.TmtpRev("1"), wire.Login("U", "N"), wire.Register("x"))
    assert link.encode(wire.Pulse()) == frame('{"op":11}')
    assert link.state.name == "LOGGED_IN"
    assert link.encode(wire.Quit()) == frame('{"op":12}')
    assert link.state.name == "QUITTING"
    refused(wire.Pulse())


def test_the_state_chart_is_drawn_from_the_tables() -> None:
    chart = Path(appliance.wire.__file__).with_name("states.md")
    assert chart.read_text("utf-8") == describe()
