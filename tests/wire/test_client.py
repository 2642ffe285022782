"""The client's side of a link, and the two sides run against each other."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance import wire
from appliance.wire import client, reasons
from appliance.wire.header import BadHeader, read_header

from .conversation import UID, answer, client_logged_in, crc32c, frame, logged_in, pieces_of, read, requests
from .test_rules import REQUESTS

POSTED = "2006-01-02T15:04:05.678Z"
POSTED_MS = 1136214245678


def test_a_session_from_both_ends() -> None:
    site, member = wire.ServerLink(), wire.ClientLink()
    site.receive_data(member.encode(wire.TmtpRev("1")) + member.encode(wire.Register("tablet")))
    assert isinstance(site.next_event(), wire.TmtpRev)
    provider = {"label": "x", "login": ["u", {"client_id": "5"}], "token": ["u", {}]}
    member.receive_data(site.encode_tmtprev("Häuschen", 1, [provider]))
    assert member.next_event() == wire.TmtpRevReply("1", "Häuschen", 1, [provider])
    assert site.next_event() == wire.Register("tablet")
    member.receive_data(site.encode_registered("U", "N", "taken") + site.encode_login_ok(["A", "B"]))
    assert member.next_event() == wire.Registered("U", "N", "taken")
    assert member.next_event() == wire.Info("login ok", ["A", "B"])
    site.receive_data(member.encode_frame(wire.Post("7", [wire.Target(UID, 1)], 5), b"hello"))
    post = site.next_event()
    assert isinstance(post, wire.Post) and post.data == b"hello"
    sent = wire.encode_ack("7", 42, POSTED_MS) + wire.encode_ack("8", error="no") + wire.encode_ohi("A", 2)
    sent += wire.encode_message("delivery", UID, 43, POSTED_MS, 5, 2, 9, notify=3) + b"hello"
    member.receive_data(sent)
    assert member.next_event() == wire.AckReply("7", 42, POSTED)
    assert member.next_event() == wire.AckReply("8", error="no")
    assert member.next_event() == wire.Ohi("A", 2)
    message = member.next_event()
    assert isinstance(message, wire.Message)
    assert (message.op, message.id, message.from_, message.posted) == ("delivery", 43, UID, POSTED)
    assert (message.datalen, message.datahead, message.datasum, message.fields) == (5, 2, 9, {"notify": 3})
    assert (message.data, message.inline) == (b"hello", True)
    site.receive_data(member.encode(wire.Quit()))
    assert site.next_event() == wire.Quit()
    member.receive_data(wire.encode_ohi("A", 1) + site.encode_quit() + b"after the end")
    assert [member.next_event(), member.next_event()] == [wire.Ohi("A", 1), wire.QuitReply("logout ok")]
    assert member.next_event() is wire.NEED_DATA
    assert member.state is wire.State.CLOSED and member.buffered == 0


@given(st.lists(requests, max_size=6), st.sampled_from([0, 20, 65536]))
def test_what_a_client_encodes_the_server_reads_as_the_same(
    asked: list[tuple[wire.Request, bytes]], inline_max: int
) -> None:
    member, site = client_logged_in(), logged_in(inline_max)
    for request, data in asked:
        octets = member.encode_frame(request, data)
        events = read(site, [octets])
        read_back = events[0]
        assert isinstance(read_back, wire.Request) and type(read_back) is type(request)
        for field in request.__struct_fields__:
            if field not in ("head", "data", "inline"):
                assert getattr(read_back, field) == getattr(request, field)
        if wire.has_data(request):
            assert isinstance(read_back, wire.Post | wire.PostNotify | wire.Ping | wire.GroupInvite)
            assert read_back.head + data == octets
            assert (read_back.data if read_back.inline else events[1]) in (data, wire.Data(data, True))


@pytest.mark.parametrize("request_", [REQUESTS["Login"], REQUESTS["Register"], wire.Register("tablet", None)])
def test_a_login_is_read_as_it_was_encoded(request_: wire.Request) -> None:
    member, site = wire.ClientLink(), wire.ServerLink()
    site.receive_data(member.encode(wire.TmtpRev("1")) + member.encode(request_))
    answer(site, site.next_event())
    assert site.next_event() == request_


def test_a_register_always_says_something_of_an_alias() -> None:
    member = wire.ClientLink()
    member.encode(wire.TmtpRev("1"))
    assert b'"newalias":"_"' in member.encode(wire.Register("tablet"))


def test_what_a_client_encodes_is_canonical() -> None:
    head = client_logged_in().encode(REQUESTS["PostNotify"])
    assert head[4:].decode() == wire.canonical_json(json.loads(head[4:]))
    assert client_logged_in().encode(wire.Post("1", [], 3, 0, 0)) == frame(
        '{"datalen":3,"for":[],"id":"1","op":7}'
    )
    plain = client_logged_in().encode(wire.PostNotify("1", [], 3, notelen=1))
    assert plain == frame('{"datalen":3,"for":[],"id":"1","notelen":1,"op":8}')


BROKEN = [
    wire.Post("", [], 1),
    wire.Post("1", [], 0),
    wire.Post("1", [], -1),
    wire.Post("1", [], 1, 2),
    wire.Post("1", [], 1, 0, 1 << 64),
    wire.Post("1", [wire.Target("", 1)], 1),
    wire.Post("1", [wire.Target("U", 4)], 1),
    wire.Post(1, [], 1),  # type: ignore[arg-type]
    wire.PostNotify("1", [], 3),
    wire.PostNotify("1", [], 3, notelen=3),
    wire.PostNotify("1", [], 3, notelen=1, fornotself=True),
    wire.UserEdit("1"),
    wire.UserEdit("1", "a", "b"),
    wire.OhiEdit("1", [], "add"),
    wire.OhiEdit("1", ["U"], "remove"),
    wire.GroupEdit("1", "alias", "g"),
    wire.GroupEdit("1", "drop", "g"),
    wire.GroupInvite("1", "", "a", "b"),
    wire.Ping("1", "a", ""),
    wire.Ping("1", "a", "b", 421),
    wire.Ack("1", ""),
    wire.Ack("x" * 70_000, "n"),
]


@pytest.mark.parametrize("request_", BROKEN, ids=repr)
def test_a_request_that_would_be_refused_is_our_own_error_and_changes_nothing(request_: wire.Request) -> None:
    member = client_logged_in()
    with pytest.raises(wire.LocalProtocolError):
        member.encode(request_)
    assert member.state is wire.State.LOGGED_IN


@pytest.mark.parametrize(
    ("request_", "data"),
    [
        (wire.Post("1", [], 5), b"1234"),
        (wire.Post("1", [], 5), b"123456"),
        (wire.Ack("1", "n"), b"1"),
        (wire.Ping("1", "a", "b", 1), b"\xff"),
        (wire.Ping("1", "a", "b", 3), "\ufffd".encode()),
        (wire.Ping("1", "a", "b", 141), b"x" * 141),
        (wire.GroupInvite("1", "g", "a", "b", 1), b"\xff"),
    ],
)
def test_data_that_is_not_as_the_header_says_is_our_own_error(request_: wire.Request, data: bytes) -> None:
    with pytest.raises(wire.LocalProtocolError):
        client_logged_in().encode_frame(request_, data)


def hear(header: dict[str, Any] | str, data: bytes = b"", link: wire.ClientLink | None = None) -> Any:
    return read(link or client_logged_in(), [frame(header, data)])[0]


def test_keys_without_content_are_as_good_as_none() -> None:
    """A server may write all keys always, and the elements of `for` with capitals."""
    assert hear('{"error":"no","id":"1","msgid":"","op":"ack","posted":""}') == wire.AckReply(
        "1", None, "", "no"
    )
    message = hear(
        '{"datalen":0,"for":[{"Id":"U","Type":0}],"from":"U","id":"0000000000000007","op":"ohiedit",'
        '"posted":"' + POSTED + '","type":"add"}'
    )
    assert message.fields == {"for": [{"id": "U", "type": 0}], "type": "add"}
    assert message.headsum is None


FIELDS: dict[str, dict[str, Any]] = {
    "tmtprev": {"id": "1", "name": "s"},
    "registered": {"uid": "U", "nodeid": "N"},
    "info": {"info": "login ok"},
    "ack": {"id": "1", "msgid": "0" * 16, "posted": POSTED},
    "ohi": {"from": "U", "status": 1},
    "quit": {"error": "x"},
    **{
        op: {"id": "0" * 15 + "9", "from": "U", "posted": POSTED, "datalen": 0}
        for op in ("delivery", "notify", "user", "login", "ohiedit", "ping", "invite", "member")
    },
}


def waiting_for(op: str) -> wire.ClientLink:
    link = wire.ClientLink()
    link.encode(wire.TmtpRev("1"))
    if op == "tmtprev":
        return link
    link.receive_data(frame({"op": "tmtprev", "id": "1"}))
    link.next_event()
    if op not in ("registered", "info"):
        return client_logged_in()
    link.encode(wire.Register("x") if op == "registered" else wire.Login("U", "N"))
    return link


@pytest.mark.parametrize("op", FIELDS)
def test_a_message_of_a_server_needs_its_fields(op: str) -> None:
    header = {"op": op, **FIELDS[op]}
    assert not isinstance(hear(header, link=waiting_for(op)), str)
    optional = {"name", "msgid", "error", "datalen"} | ({"posted"} if op == "ack" else set())
    for key in FIELDS[op]:
        without = {name: value for name, value in header.items() if name != key}
        heard = hear(without, link=waiting_for(op))
        assert heard != reasons.INVALID_HEADER if key in optional else heard == reasons.INVALID_HEADER
        if key not in optional:
            empty = {**header, key: "" if isinstance(header[key], str) else None}
            assert hear(empty, link=waiting_for(op)) == reasons.INVALID_HEADER
    assert hear({**header, "datalen": 1, "datahead": 2}, link=waiting_for(op)) == reasons.INVALID_HEADER
    assert hear({**header, "datalen": "1"}, link=waiting_for(op)) == reasons.INVALID_HEADER
    if op in ("tmtprev", "registered", "info", "ack", "ohi", "quit"):
        assert hear({**header, "datalen": 1}, link=waiting_for(op)) == reasons.INVALID_HEADER


@pytest.mark.parametrize("key", ["id", "msgid"])
@pytest.mark.parametrize("number", ["7", "0" * 15 + "G", "0" * 15 + "A", "0" * 17])
def test_an_id_of_the_server_has_16_hex_digits(key: str, number: str) -> None:
    op = "delivery" if key == "id" else "ack"
    assert hear({"op": op, **FIELDS[op], key: number}) == reasons.INVALID_HEADER


@pytest.mark.parametrize("op", [*FIELDS, "x", ""])
def test_a_server_says_nothing_before_it_is_asked(op: str) -> None:
    assert hear({"op": op, **FIELDS.get(op, {})}, link=wire.ClientLink()) == reasons.UNEXPECTED_MESSAGE


@pytest.mark.parametrize("op", FIELDS)
def test_a_server_says_each_thing_at_its_time(op: str) -> None:
    header = {"op": op, **FIELDS[op]}
    greeting, greeted_ = wire.ClientLink(), waiting_for("registered")
    greeting.encode(wire.TmtpRev("1"))
    in_session = op not in ("tmtprev", "registered", "info")
    for link, good in (
        (greeting, op in ("tmtprev", "quit")),
        (greeted_, op in ("registered", "quit")),
        (waiting_for("info"), op in ("info", "quit")),
        (client_logged_in(), in_session),
    ):
        heard = hear(header, link=link)
        assert heard != reasons.UNEXPECTED_MESSAGE if good else heard == reasons.UNEXPECTED_MESSAGE
    leaving = client_logged_in()
    leaving.encode(wire.Quit())
    assert (hear(header, link=leaving) != reasons.UNEXPECTED_MESSAGE) is in_session


@pytest.mark.parametrize("early", ["registered", "info"])
def test_a_client_that_did_not_wait_for_tmtprev_gets_it_first(early: str) -> None:
    link = wire.ClientLink()
    link.encode(wire.TmtpRev("1"))
    link.encode(wire.Register("x") if early == "registered" else wire.Login("U", "N"))
    assert hear({"op": early, **FIELDS[early]}, link=link) == reasons.UNEXPECTED_MESSAGE
    link = wire.ClientLink()
    link.encode(wire.TmtpRev("1"))
    link.encode(wire.Register("x") if early == "registered" else wire.Login("U", "N"))
    greeting = {"op": "tmtprev", **FIELDS["tmtprev"]}
    assert isinstance(hear(greeting, link=link), wire.TmtpRevReply)
    assert hear(greeting, link=link) == reasons.UNEXPECTED_MESSAGE


MEMBER = wire.encode_message("member", UID, 1, POSTED_MS, 0, act="join", alias="Zoë <&>", gid="friends")
DELIVERY = wire.encode_message("delivery", UID, 1, POSTED_MS, 4, 1, 7)


@pytest.mark.parametrize("head", [MEMBER, DELIVERY])
def test_a_wrong_headsum_breaks_the_link(head: bytes) -> None:
    good = read(client_logged_in(), [head + b"data"])
    assert isinstance(good[0], wire.Message) and good[0].headsum == json.loads(head[4:])["headsum"]
    for changed in (head.replace(b'0001"', b'0002"'), head.replace(b'headsum":', b'headsum":1')):
        size = b"%04x" % (len(changed) - 4)
        assert changed != head
        assert read(client_logged_in(), [size + changed[4:] + b"data"]) == [reasons.WRONG_HEADSUM]
    cased = head.replace(b"headsum", b"HeadSum")
    assert read(client_logged_in(), [cased + b"data"]) == [reasons.WRONG_HEADSUM]


def test_a_headsum_is_that_of_the_octets_and_not_of_our_way_to_write_them() -> None:
    bare = frame('{"op":"delivery", "id":"0000000000000001","from":"<U>","posted":"x","datalen":0}')
    head = frame(b'{"headsum":%d,' % crc32c(bare) + bare[5:])
    assert isinstance(read(client_logged_in(), [head])[0], wire.Message)


def test_large_messages_pass_through_in_pieces() -> None:
    head = wire.encode_message("delivery", UID, 1, POSTED_MS, 300)
    events = read(client_logged_in(inline_max=100), pieces_of(head + b"x" * 300, range(0, 500, 7)))
    message = events[0]
    assert isinstance(message, wire.Message) and not message.inline and message.data == b""
    assert events[1:] == [wire.Data(b"x" * 300, True)]


CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "id": st.sampled_from(["", "1", "0" * 16, 5, None]),
        "msgid": st.sampled_from(["", "1", "0" * 16, 5, None]),
        "error": st.sampled_from(["", "x", None, 1]),
        "from": st.sampled_from(["", "x", None, 1]),
        "posted": st.sampled_from(["", POSTED, None, 1]),
        "datalen": st.sampled_from([-1, 0, 1, 1 << 63, None, "1", 1.0]),
        "datahead": st.sampled_from([-1, 0, 1, 2, None]),
        "datasum": st.sampled_from([-1, 0, 1 << 63, 1 << 64, None]),
        "notify": st.sampled_from([-1, 0, 5, None, "1"]),
        "alias": st.text(max_size=3),
        "Datalen": st.sampled_from([0, 1]),
    },
)


@given(st.sampled_from(["ack", "delivery"]), CHANGES, st.booleans())
def test_the_client_s_quick_reader_agrees_with_its_careful_one(
    op: str, changes: dict[str, Any], sums: bool
) -> None:
    header = {"op": op, **FIELDS[op], **changes}
    octets = json.dumps(header, separators=(",", ":")).encode()
    if sums:
        octets = b'{"headsum":%d,' % crc32c(b"%04x%b" % (len(octets), octets)) + octets[1:]
    head = frame(octets)
    quick = client._read_fast(head)
    if quick is not None:
        known = client._build(op, read_header(octets, client._KINDS), head)
        assert quick == known
    elif not changes and sums is (op == "delivery"):
        pytest.fail("what a good server sends was not read quickly")


def test_the_client_s_quick_reader_leaves_broken_rules_to_the_other() -> None:
    for head in (
        wire.encode_message("delivery", UID, 1, 1, 1, 2),
        wire.encode_message("delivery", "", 1, 1, 1),
        wire.encode_message("member", UID, 1, 1, 1),
        frame('{"op":"ack","id":""}'),
        frame('{"op":"ack","id":"1","error":"no"}'),
    ):
        assert client._read_fast(head) is None


@given(st.binary(max_size=80))
def test_no_header_of_a_server_breaks_the_client_but_as_a_bad_one(octets: bytes) -> None:
    try:
        read_header(octets, client._KINDS)
    except BadHeader:
        heard = (
            hear(octets.decode("latin-1"))
            if len(octets) >= 8 and octets.isascii()
            else reasons.INVALID_HEADER
        )
        assert heard == reasons.INVALID_HEADER


AUTHBY = ["x", {}, [1], ["x"], [[]], [None]]


@pytest.mark.parametrize("authby", AUTHBY)
def test_lists_in_a_server_s_header_hold_what_they_should(authby: object) -> None:
    header = {"op": "tmtprev", "id": "1", "authby": authby}
    assert hear(header, link=waiting_for("tmtprev")) == reasons.INVALID_HEADER
    header = {"op": "info", "info": "x", "ohi": [5] if authby == ["x"] else authby}
    assert hear(header, link=waiting_for("info")) == reasons.INVALID_HEADER
