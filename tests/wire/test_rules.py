"""Which requests are well formed, and what is said when they are not: TMTP revision 1, sections 2 and 3."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance import wire
from appliance.wire import reasons
from appliance.wire.rules import RULES

from .conversation import frame, greeted, logged_in, read

U = {"id": "U", "type": 1}
G = {"id": "a group", "type": 3}
FULL: dict[str, dict[str, Any]] = {
    "TmtpRev": {"op": 0, "id": "1"},
    "Register": {"op": 1, "newnode": "tablet", "newalias": "somebody", "oidc": {"id_token": "x"}},
    "Login": {"op": 2, "uid": "U", "node": "N"},
    "UserEdit": {"op": 3, "id": "1", "newnode": "tablet"},
    "OhiEdit": {"op": 4, "id": "1", "for": [{"id": "U"}], "type": "add"},
    "GroupInvite": {"op": 5, "id": "1", "gid": "a group", "from": "a", "to": "b", "datalen": 3, "datasum": 9},
    "GroupEdit": {"op": 6, "id": "1", "act": "alias", "gid": "a group", "newalias": "somebody"},
    "Post": {"op": 7, "id": "1", "for": [U, G], "datalen": 3, "datahead": 2, "datasum": 9},
    "PostNotify": {
        "op": 8,
        "id": "1",
        "for": [U],
        "datalen": 3,
        "datahead": 1,
        "datasum": 9,
        "notelen": 1,
        "notehead": 1,
        "notesum": 8,
        "notefor": [G],
        "fornotself": True,
    },
    "Ping": {"op": 9, "id": "1", "from": "a", "to": "b", "datalen": 3, "datahead": 3, "datasum": 9},
    "Ack": {"op": 10, "id": "1", "type": "n"},
    "Pulse": {"op": 11},
    "Quit": {"op": 12},
}
NEEDS = {
    "TmtpRev": ["id"],
    "Register": ["newnode"],
    "Login": ["uid", "node"],
    "UserEdit": ["id", "newnode"],
    "OhiEdit": ["id", "for", "type"],
    "GroupInvite": ["id", "gid", "from", "to"],
    "GroupEdit": ["id", "act", "gid", "newalias"],
    "Post": ["id", "for", "datalen"],
    "PostNotify": ["id", "for", "notelen", "datalen"],
    "Ping": ["id", "from", "to"],
    "Ack": ["id", "type"],
    "Pulse": [],
    "Quit": [],
}
SESSION = list(FULL)[3:]
NO_DATA = [name for name in FULL if "datalen" not in FULL[name]]


def ask(header: dict[str, Any], data: bytes = b"") -> Any:
    """What a request makes on a link on which it may come. A frame after it must not matter."""
    name = next((name for name in FULL if FULL[name]["op"] == header.get("op")), "")
    link = {"TmtpRev": wire.ServerLink, "Register": greeted, "Login": greeted}.get(name, logged_in)()
    return read(link, [frame(header, data)])[0]


def changed(name: str, **changes: Any) -> dict[str, Any]:
    header = {**FULL[name], **{key.rstrip("_"): value for key, value in changes.items()}}
    return {key: value for key, value in header.items() if value is not ...}


def test_the_table_has_the_13_ops() -> None:
    assert [rule.request.name for rule in RULES.values()] == list(FULL)
    assert [rule.request.op for rule in RULES.values()] == list(range(13)) == list(RULES)


REQUESTS = {
    "TmtpRev": wire.TmtpRev("1"),
    "Register": wire.Register("tablet", "somebody", {"id_token": "x"}),
    "Login": wire.Login("U", "N"),
    "UserEdit": wire.UserEdit("1", "tablet"),
    "OhiEdit": wire.OhiEdit("1", ["U"], "add"),
    "GroupInvite": wire.GroupInvite("1", "a group", "a", "b", 3, 0, 9),
    "GroupEdit": wire.GroupEdit("1", "alias", "a group", "somebody"),
    "Post": wire.Post("1", [wire.Target("U", 1), wire.Target("a group", 3)], 3, 2, 9),
    "PostNotify": wire.PostNotify(
        "1", [wire.Target("U", 1)], 3, 1, 9, 1, 1, 8, [wire.Target("a group", 3)], True
    ),
    "Ping": wire.Ping("1", "a", "b", 3, 3, 9),
    "Ack": wire.Ack("1", "n"),
    "Pulse": wire.Pulse(),
    "Quit": wire.Quit(),
}


@pytest.mark.parametrize("name", FULL)
def test_a_full_request_is_read_whole(name: str) -> None:
    expected, data = REQUESTS[name], b"abc" if "datalen" in FULL[name] else b""
    request = ask(FULL[name], data)
    for field in expected.__struct_fields__:
        assert getattr(request, field) == {"head": frame(FULL[name]), "data": data}.get(
            field, getattr(expected, field)
        )
    assert (request.name, request.op) == (name, FULL[name]["op"])
    assert wire.has_data(request) is bool(data)


@pytest.mark.parametrize(("name", "key"), [(name, key) for name in FULL for key in NEEDS[name]])
@pytest.mark.parametrize("worth", ["missing", "null", "empty"])
def test_what_is_required_must_be_there_and_not_be_empty(name: str, key: str, worth: str) -> None:
    value = FULL[name][key]
    if worth == "empty" and name in ("Post", "PostNotify") and key == "for":
        return
    worthless = {"missing": ..., "null": None, "empty": 0 if isinstance(value, int) else type(value)()}[worth]
    assert ask(changed(name, **{key: worthless})) == reasons.INVALID_HEADER


@pytest.mark.parametrize("name", ["Post", "PostNotify"])
def test_a_post_may_be_for_nobody_else(name: str) -> None:
    for more in ({}, {"unknown": 1}):
        request = ask(changed(name, for_=[], fornotself=..., **more), b"abc")
        assert request.to == []


@pytest.mark.parametrize("name", NO_DATA)
def test_an_op_without_data_has_a_datalen_of_0_or_none(name: str) -> None:
    assert ask(changed(name, datalen=0)).name == name
    assert ask(changed(name, datalen=1)) == reasons.INVALID_HEADER
    assert ask(changed(name, datahead=1)) == reasons.INVALID_HEADER


@pytest.mark.parametrize("name", FULL)
def test_only_postnotify_has_a_notelen(name: str) -> None:
    if name != "PostNotify":
        assert ask(changed(name, notelen=0), b"abc").name == name
        assert ask(changed(name, notelen=1), b"abc") == reasons.INVALID_HEADER
        assert ask(changed(name, notehead=1), b"abc") == reasons.INVALID_HEADER


@pytest.mark.parametrize("name", ["GroupInvite", "Post", "PostNotify", "Ping"])
def test_the_head_of_the_data_is_no_longer_than_the_data(name: str) -> None:
    most = 2 if name == "PostNotify" else 3
    assert ask(changed(name, datahead=most), b"abc").datahead == most
    assert ask(changed(name, datahead=most + 1), b"abc") == reasons.INVALID_HEADER


def test_the_head_of_the_note_is_no_longer_than_the_note() -> None:
    assert ask(changed("PostNotify", datahead=1, notelen=2, notehead=2), b"abc").notehead == 2
    assert ask(changed("PostNotify", datahead=1, notelen=2, notehead=3), b"abc") == reasons.INVALID_HEADER


@pytest.mark.parametrize("name", ["GroupInvite", "Ping"])
def test_a_ping_needs_no_text(name: str) -> None:
    request = ask(changed(name, datalen=..., datahead=...))
    assert (request.name, request.datalen, request.data) == (name, 0, b"")
    assert not wire.has_data(request)


@pytest.mark.parametrize("key", ["for", "notefor"])
@pytest.mark.parametrize("name", FULL)
def test_elements_of_for_have_an_id_and_a_type_whatever_the_op(name: str, key: str) -> None:
    any_type = name == "OhiEdit"
    good = [{"id": "U", "type": 1}, {"id": "U", "type": 2}, {"id": "U", "type": 3}]
    assert ask(changed(name, **{key: good}), b"abc").name == name
    for bad in ({"type": 1}, {"id": "", "type": 1}, {"id": None, "type": 1}, {}):
        assert ask(changed(name, **{key: [*good, bad]}), b"abc") == reasons.INVALID_HEADER
    for untyped in (
        {"id": "U"},
        {"id": "U", "type": None},
        *({"id": "U", "type": n} for n in (0, 4, -1, 1 << 62)),
    ):
        answer = ask(changed(name, **{key: [*good, untyped]}), b"abc")
        assert answer.name == name if any_type else answer == reasons.INVALID_HEADER


@pytest.mark.parametrize("op", [13, 255, 256, -1, ...])
def test_there_is_no_other_op(op: Any) -> None:
    assert ask(changed("Pulse", op=op, id="1", type="n")) == reasons.INVALID_HEADER


@pytest.mark.parametrize(
    ("given_", "alias"), [(..., None), ("", None), ("_", None), ("__", "__"), ("alias", "alias")]
)
def test_a_register_asks_for_an_alias_or_for_none(given_: Any, alias: str | None) -> None:
    assert ask(changed("Register", newalias=given_)).newalias == alias


@pytest.mark.parametrize("revision", ["1", "2", "x"])
def test_a_tmtprev_of_any_revision_is_let_in(revision: str) -> None:
    link = wire.ServerLink()
    (event,) = read(link, [frame({"op": 0, "id": revision})])
    assert isinstance(event, wire.TmtpRev) and event.id == revision


@pytest.mark.parametrize(
    ("changes", "good"),
    [
        ({}, True),
        ({"newnode": ..., "newalias": "somebody"}, True),
        ({"newalias": ""}, True),
        ({"newalias": "somebody"}, False),
        ({"newnode": "", "newalias": ""}, False),
    ],
)
def test_a_useredit_has_exactly_one_of_newnode_and_newalias(changes: dict[str, Any], good: bool) -> None:
    answer = ask(changed("UserEdit", **changes))
    if good:
        assert (answer.newnode is None) is not (answer.newalias is None)
    else:
        assert answer == reasons.INVALID_HEADER


@pytest.mark.parametrize("word", ["add", "drop", "init"])
def test_an_ohiedit_is_add_drop_or_init(word: str) -> None:
    assert ask(changed("OhiEdit", type=word)).type == word
    assert ask(changed("OhiEdit", type=word.upper())) == reasons.INVALID_HEADER
    assert ask(changed("OhiEdit", type=word + "s")) == reasons.INVALID_HEADER


@pytest.mark.parametrize(
    ("changes", "good"),
    [
        ({"act": "join", "newalias": ...}, True),
        ({"act": "join"}, True),
        ({"act": "join", "to": "somebody"}, True),
        ({"act": "alias"}, True),
        ({"act": "alias", "newalias": "", "to": "somebody"}, False),
        ({"act": "drop", "newalias": ..., "to": "somebody"}, True),
        ({"act": "drop"}, False),
        ({"act": "drop", "to": ""}, False),
        ({"act": "invite", "to": "somebody"}, False),
        ({"act": "Join"}, False),
    ],
)
def test_a_groupedit_has_what_its_act_needs(changes: dict[str, Any], good: bool) -> None:
    answer = ask(changed("GroupEdit", **changes))
    assert answer.act == changes["act"] if good else answer == reasons.INVALID_HEADER


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"datalen": 1, "datahead": 0}, reasons.DATA_TOO_SHORT),
        ({"datalen": 3, "notelen": 3, "datahead": 1}, reasons.DATA_TOO_SHORT),
        ({"datalen": 3, "notelen": 4}, reasons.DATA_TOO_SHORT),
        ({"datalen": 3, "notelen": 4, "datahead": 4}, reasons.INVALID_HEADER),
        ({"notelen": 1, "datalen": 1, "datahead": 0, "for": []}, reasons.DATA_TOO_SHORT),
        ({"for": []}, reasons.RECIPIENT_LIST_EMPTY),
        ({"for": [], "datahead": 3}, reasons.INVALID_HEADER),
    ],
)
def test_a_postnotify_says_what_is_wrong_with_its_lengths_and_lists(
    changes: dict[str, Any], reason: str
) -> None:
    assert ask(changed("PostNotify", **changes), b"abcd") == reason


@pytest.mark.parametrize("self_too", [False, None, ...])
def test_a_postnotify_to_oneself_alone_is_well_formed(self_too: Any) -> None:
    request = ask(changed("PostNotify", for_=[], fornotself=self_too), b"abc")
    assert request.fornotself is False


TEXTS = ["GroupInvite", "Ping"]


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("x" * 140, None),
        ("x" * 141, reasons.DATA_TOO_LONG),
        ("€" * 140, None),
        ("\U0001f600" * 70, None),
        ("\U0001f600" * 70 + "x", reasons.DATA_TOO_LONG),
        ("€" * 139 + "\U0001f600", reasons.DATA_TOO_LONG),
        ("x" * 420, reasons.DATA_TOO_LONG),
        ("\ufffd", reasons.DATA_NOT_UTF8),
        ("x" * 200 + "\ufffd", reasons.DATA_NOT_UTF8),
        (b"\xff", reasons.DATA_NOT_UTF8),
        (b"\xed\xa0\x80", reasons.DATA_NOT_UTF8),
        (b"\xc0\x80", reasons.DATA_NOT_UTF8),
        (b"\xe2\x82", reasons.DATA_NOT_UTF8),
        ("\x00\x1f\x7f", None),
    ],
)
def test_the_text_of_a_ping_is_short_and_utf8(name: str, text: str | bytes, reason: str | None) -> None:
    data = text if isinstance(text, bytes) else text.encode()
    answer = ask(changed(name, datalen=len(data), datahead=0), data)
    if reason is None:
        assert answer.data == data and answer.inline
    else:
        assert answer == reason


@pytest.mark.parametrize("name", TEXTS)
def test_a_text_of_more_than_420_octets_is_refused_before_it_is_there(name: str) -> None:
    assert ask(changed(name, datalen=421)) == reasons.DATA_TOO_LONG
    assert read(logged_in(), [frame(changed(name, datalen=420))]) == []


@pytest.mark.parametrize("inline_max", [0, 5, 1 << 20])
def test_a_text_is_judged_whatever_is_taken_inline(inline_max: int) -> None:
    header = changed("Ping", datalen=420, datahead=0)
    assert read(logged_in(inline_max), [frame(header, b"\xff" * 420)]) == [reasons.DATA_NOT_UTF8]
    (request,) = read(logged_in(inline_max), [frame(header, "€".encode() * 140)])
    assert isinstance(request, wire.Ping) and request.inline and len(request.data) == 420


@given(st.binary(max_size=430))
def test_a_text_is_let_in_exactly_if_it_keeps_the_rules(data: bytes) -> None:
    try:
        text = data.decode()
        good = len(data) <= 420 and "\ufffd" not in text and len(text.encode("utf-16-be")) <= 280
    except UnicodeDecodeError:
        good = False
    answer = ask(changed("Ping", datalen=len(data), datahead=0), data)
    assert isinstance(answer, wire.Ping) is good


@pytest.mark.parametrize(
    ("character", "most"), [("x", 60_000 - 2), ("\x01", (60_000 - 2) // 6), ("€", (60_000 - 2) // 3)]
)
def test_an_id_is_let_in_if_it_can_be_answered(character: str, most: int) -> None:
    def header(length: int) -> str:
        return json.dumps({"op": 10, "type": "n", "id": character * length}, ensure_ascii=character != "€")

    (request,) = read(logged_in(), [frame(header(most))])
    assert isinstance(request, wire.Ack)
    assert len(wire.encode_ack(request.id, 1, 1)) > 60_000
    assert wire.encode_ack(request.id, error="\x01" * 10_000)
    assert read(logged_in(), [frame(header(most + 1))]) == [reasons.INVALID_HEADER]


def test_a_sum_of_64_bits_is_let_in_whole() -> None:
    most = (1 << 64) - 1
    assert ask(changed("Post", datasum=most), b"abc").datasum == most
    assert ask(changed("Post", datasum=0), b"abc").datasum == 0
    assert ask(changed("Post", datasum=most + 1), b"abc") == reasons.INVALID_HEADER
    request = ask(changed("PostNotify", datalen=(1 << 63) - 1, notesum=most))
    assert (request.datalen, request.notesum, request.inline) == ((1 << 63) - 1, most, False)
