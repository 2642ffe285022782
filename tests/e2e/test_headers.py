"""How headers are read, and which requests break the table of TMTP revision 1, section 3."""

from __future__ import annotations

import json

import pytest

from tests.kit import People, Raw, fresh, mentions, nothing_more_for


@pytest.mark.parametrize("key", ["newnode", "NewNode", "Newnode", "NEWNODE"])
def test_keys_are_read_in_any_case(raw: Raw, key: str) -> None:
    alias = fresh("somebody")
    raw.say('{"Op":0,"Id":"1"}')
    raw.frame()
    raw.say({"OP": 1, key: "x", "NEWalias": alias, "DataLen": 0})
    assert "error" not in raw.frame()
    raw.expect("info", info="login ok")


def test_keys_are_read_in_any_case_inside_for_too(people: People, member: Raw) -> None:
    alice, bob = people.members("alice", "bob")
    recipients = [{"Id": alice.uid, "Type": 1}, {"ID": bob.uid, "TYPE": 1}]
    member.say({"Op": 7, "Id": "7", "For": recipients, "Datalen": 2}, b"hi")
    assert member.frame()["id"] == "7"
    for client in (alice, bob):
        assert client.expect("delivery").data == b"hi"


def test_notefor_and_fornotself_are_read_in_any_case(people: People, member: Raw) -> None:
    alice, bob = people.members("alice", "bob")
    header = {"op": 8, "id": "8", "datalen": 3, "NoteLen": 1, "ForNotSelf": True}
    recipients = {"for": [{"id": alice.uid, "type": 1}], "NoteFor": [{"Id": bob.uid, "Type": 1}]}
    member.say({**header, **recipients}, b"nhi")
    assert "error" not in member.frame()
    bob.expect("notify", data=b"n", postid=alice.find("delivery", notify=2)["id"])


def test_a_long_id_is_answered(member: Raw) -> None:
    id = "x" * 59_998
    member.say({"op": 3, "id": id, "newalias": fresh("somebody")})
    member.answer(id)


def test_null_counts_as_absent(member: Raw) -> None:
    nothing = {"newnode": None, "datalen": None, "datahead": None, "for": None}
    member.say({"op": 3, "id": "1", "newalias": fresh("somebody"), **nothing})
    member.answer("1")


def test_null_fields_of_a_register_are_as_if_they_were_not_there(greeted: Raw) -> None:
    greeted.say('{"op":1,"newnode":"x","newalias":null,"oidc":null,"datahead":null}')
    assert "error" not in greeted.frame()


def test_of_a_key_given_twice_the_last_counts(member: Raw) -> None:
    alias = fresh("somebody")
    member.say('{"op":11,"id":"1","Op":3,"ID":"2","newalias":"x","NewAlias":"ALIAS"}'.replace("ALIAS", alias))
    assert [frame["newalias"] for frame in (member.frame(), member.frame()) if frame.op == "user"] == [alias]


def test_a_null_given_last_makes_the_key_absent(member: Raw) -> None:
    member.say('{"op":10,"id":"1","type":"ok","TYPE":null}')
    member.expect_quit("invalid header")


def test_unknown_keys_are_ignored_whatever_is_in_them(member: Raw) -> None:
    junk = {"unknown": {"op": 12, "id": [1, 2.5, None, {"deep": []}]}, "x": 1e300, "Änderung": False}
    member.say({**junk, "op": 3, "id": "1", "newalias": fresh("somebody")})
    member.answer("1")


def test_space_between_tokens_is_json(member: Raw) -> None:
    member.say(' {\n"op" :\t3 , "id":"1",\r"newalias": "ALIAS" } '.replace("ALIAS", fresh("somebody")))
    member.answer("1")


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (b"lap\xfftop", "lap\ufffdtop"),
        (b"lap\\ud800top", "lap\ufffdtop"),
        (b"lap\\udc00\\ud800", "lap\ufffd\ufffd"),
        (b"lap\\ud83d\\ude00", "lap\U0001f600"),
        (b"lap\\u0041\\/", "lapA/"),
    ],
)
def test_what_is_no_unicode_is_read_as_fffd(member: Raw, written: bytes, read: str) -> None:
    member.say(b'{"op":6,"act":"join","gid":"no such group","id":"' + written + b'"}')
    assert member.frame()["id"] == read


def test_the_header_of_a_message_is_canonical(people: People) -> None:
    alice = people.member("alice")
    alias = fresh('ali<c>e & "\u00e9" \\ \U0001f600 /')
    alice.edit_user(newalias=alias)
    head = alice.expect("user", from_=alice, newalias=alias).head
    expected = r'"newalias":"ali\u003cc\u003ee \u0026 ' + '\\"é\\" \\\\ 😀 /-'
    assert expected.encode() in head
    assert list(json.loads(head[4:])) == ["datalen", "from", "headsum", "id", "newalias", "op", "posted"]
    nothing_more_for(alice)


def test_the_id_of_a_request_comes_back_in_canonical_form(member: Raw) -> None:
    number = 'ä<&>\u2028\n"1'
    member.say({"op": 6, "act": "join", "gid": "no such group", "id": number})
    ack = member.frame()
    assert ack["id"] == number and r'"id":"ä\u003c\u0026\u003e\u2028\n\"1"'.encode() in ack.head


OHI = '{"op":4,"id":"1","type":"add","for":[{"id":"X"}]}'
INVITE = '{"op":5,"id":"1","gid":"somegroup","from":"somebody","to":"somebody else"}'
DROP = '{"op":6,"id":"1","act":"drop","gid":"somegroup","to":"somebody"}'
POST = '{"op":7,"id":"1","for":[{"id":"X","type":1}],"datalen":4,"datahead":2,"datasum":7}'
NOTIFY = '{"op":8,"id":"1","for":[{"id":"X","type":1}],"datalen":4,"notelen":1,"notehead":1,"datahead":3}'
PING = '{"op":9,"id":"1","from":"somebody","to":"somebody else","datalen":1}'
ACK = '{"op":10,"id":"0123456789abcdef","type":"ok"}'


def changed(header: str, **changes: object) -> str:
    return json.dumps(json.loads(header) | changes)


def without(header: str, key: str) -> str:
    return json.dumps({k: v for k, v in json.loads(header).items() if k != key})


BROKEN = [
    *(without('{"op":3,"id":"1","newalias":"somebody"}', key) for key in ("id", "newalias")),
    '{"op":3,"id":"1","newalias":"somebody","newnode":"x"}',
    '{"op":3,"id":"1","newalias":"","newnode":""}',
    '{"op":3,"id":"1","newalias":"somebody","datalen":1}',
    '{"op":3,"id":"1","newalias":"somebody","notelen":1}',
    *(without(OHI, key) for key in ("id", "type", "for")),
    changed(OHI, type="remove"),
    changed(OHI, **{"for": []}),
    changed(OHI, **{"for": [{"id": ""}]}),
    changed(OHI, **{"for": [{}]}),
    changed(OHI, **{"for": "X"}),
    changed(OHI, **{"for": {"id": "X"}}),
    changed(OHI, datalen=1),
    *(without(INVITE, key) for key in ("id", "gid", "from", "to")),
    changed(INVITE, datalen=1, datahead=2),
    changed(INVITE, datalen=2, notelen=1),
    *(without(DROP, key) for key in ("id", "act", "gid", "to")),
    changed(DROP, act="leave"),
    changed(DROP, act="alias"),
    changed(DROP, act="alias", newalias=""),
    changed(DROP, datalen=1),
    *(without(POST, key) for key in ("id", "for", "datalen")),
    changed(POST, id=""),
    changed(POST, id=1),
    changed(POST, datalen=0),
    changed(POST, datalen=-4),
    changed(POST, datalen=4.0),
    changed(POST, datalen="4"),
    changed(POST, datalen=True),
    changed(POST, datalen=[4]),
    changed(POST, datahead=5),
    changed(POST, datahead=-1),
    changed(POST, datasum="7"),
    changed(POST, datasum=7.5),
    changed(POST, notelen=1),
    changed(POST, **{"for": None}),
    changed(POST, **{"for": ["X"]}),
    changed(POST, **{"for": [["X", 1]]}),
    changed(POST, **{"for": [{"id": "X"}]}),
    changed(POST, **{"for": [{"type": 1}]}),
    changed(POST, **{"for": [{"id": "", "type": 1}]}),
    changed(POST, **{"for": [{"id": "X", "type": 0}]}),
    changed(POST, **{"for": [{"id": "X", "type": 4}]}),
    changed(POST, **{"for": [{"id": "X", "type": "1"}]}),
    changed(POST, **{"for": [{"id": "X", "type": 1}, None]}),
    *(without(NOTIFY, key) for key in ("id", "for", "notelen")),
    changed(NOTIFY, notelen=0),
    changed(NOTIFY, notelen=-1),
    changed(NOTIFY, notelen="1"),
    changed(NOTIFY, notehead=2),
    changed(NOTIFY, datahead=4),
    changed(NOTIFY, fornotself="true"),
    changed(NOTIFY, fornotself=1),
    changed(NOTIFY, notefor={"id": "X", "type": 1}),
    changed(NOTIFY, notefor=[{"id": "X", "type": 5}]),
    changed(NOTIFY, notefor=[{"type": 1}]),
    *(without(PING, key) for key in ("id", "from", "to")),
    changed(PING, datahead=2),
    changed(PING, notelen=1),
    *(without(ACK, key) for key in ("id", "type")),
    changed(ACK, type=""),
    changed(ACK, type=1),
    changed(ACK, datalen=1),
    '{"op":11,"datalen":1}',
    '{"op":12,"datalen":1}',
    '{"op":11,"notelen":1}',
]


@pytest.mark.parametrize("header", BROKEN)
def test_what_breaks_the_table_of_requests_is_an_invalid_header(member: Raw, header: str) -> None:
    member.say(header)
    member.expect_quit("invalid header")


def test_a_datalen_of_0_or_none_is_the_same_where_there_is_no_data(member: Raw) -> None:
    member.say('{"op":11,"datalen":0}')
    member.say({"op": 3, "id": "1", "datalen": 0, "datahead": 0, "notelen": 0, "newalias": fresh("somebody")})
    member.answer("1")


def test_one_member_s_error_is_nothing_to_the_others(people: People, member: Raw) -> None:
    alice, bob = people.members("alice", "bob")
    member.say("no JSON at all")
    member.expect_quit("invalid header")
    alice.post(b"still here", to=bob)
    bob.expect("delivery", from_=alice, data=b"still here")


def test_a_refused_request_is_no_reason_to_close(people: People) -> None:
    alice = people.member("alice")
    alice.post(b"x", to="%" * 32, error=mentions("%" * 32))
    alice.post(b"x", to=alice)
    alice.expect("delivery", from_=alice, data=b"x")
