"""What a message says, whoever wrote it: TMTP revision 1, section 6."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance import wire
from appliance.mail.content import ATTACHMENTS_MAX, BODY_MAX, HEAD_MAX, Attachment, Person, needed, read

from .kit import POSTED_MS, UID, content, frame


def message(details: bytes, rest: bytes, op: str = "delivery", **fields: Any) -> tuple[bytes, bytes]:
    data = details + rest
    return wire.encode_message(op, UID, 7, POSTED_MS, len(data), len(details), None, **fields), data


def test_a_post_says_who_what_and_when() -> None:
    said = content("Hello *Bob*", "Summer camp", threadid="1", cc=[{"who": "Eve", "whouid": "E1"}])
    assert (said.op, said.sender, said.id, said.posted_ms) == ("delivery", UID, 1, POSTED_MS)
    assert (said.subject, said.alias, said.thread) == ("Summer camp", "Ann of Work", "1")
    assert said.cc == (Person("Eve", "E1"),)
    assert said.body == "Hello *Bob*" and said.body_size == 11 and said.problem == ""


def test_attachments_are_where_their_sizes_say() -> None:
    head, data = frame(1, "body", "s", [("a.txt", b"12345"), ("b.pdf", b""), ("c", b"xyz")])
    said = read(head, data)
    assert said.body == "body"
    assert [(a.name, a.kind, data[a.offset : a.offset + a.size]) for a in said.attachments] == [
        ("a.txt", "u", b"12345"),
        ("b.pdf", "u", b""),
        ("c", "u", b"xyz"),
    ]
    assert all(a.kept for a in said.attachments) and said.files_kept == 8


@pytest.mark.parametrize(
    "attach",
    [
        [{"name": "u:a", "size": 5}],
        [{"name": "u:a", "size": -1}],
        [{"name": "u:a", "size": True}],
        [{"name": "u:a", "size": 1.0}],
        [{"name": "u:a", "size": "1"}],
        [{"name": "u:a", "size": 10**30}],
        ["u:a"],
        {"name": "u:a", "size": 1},
        7,
        [{"size": 0}] * (ATTACHMENTS_MAX + 1),
    ],
)
def test_attachments_that_cannot_be_where_they_say_are_none(attach: Any) -> None:
    said = read(*message(json.dumps({"subject": "s", "attach": attach}).encode(), b"1234"))
    assert said.attachments == () and said.body == "1234" and said.subject == "s"
    assert said.problem == "its attachments are not where it says"


def test_of_a_name_that_says_no_kind_all_is_the_name() -> None:
    attach = [{"name": name, "size": 0} for name in ("u:a:b", "f:form", "x:y", "plain", ":z", "", 5)]
    said = read(*message(json.dumps({"attach": attach}).encode(), b""))
    assert [(a.kind, a.name) for a in said.attachments] == [
        ("u", "a:b"),
        ("f", "form"),
        ("", "x:y"),
        ("", "plain"),
        ("", ":z"),
        ("", ""),
        ("", ""),
    ]


def test_what_an_archive_has_let_go_of_is_known_to_be_gone() -> None:
    head, data = frame(1, "body", "s", [("a", b"12345")])
    whole = read(head, data)
    trimmed = read(head, data[: whole.body_at + 4])
    assert trimmed.body == "body" and trimmed.size == whole.size
    assert trimmed.attachments == (Attachment("a", "u", 5, whole.body_at + 4, kept=False),)
    assert (trimmed.files_kept, trimmed.body_kept) == (0, 4)
    bare = read(head, data[: whole.body_at])
    assert (bare.body, bare.body_kept, bare.body_size, bare.subject) == ("", 0, 4, "s")


def test_keys_are_matched_in_any_case_and_of_two_the_last_counts() -> None:
    said = read(
        *message(b'{"Subject":"a","SUBJECT":"b","ThreadId":"t","CC":[{"Who":"Eve"}],"alias":null}', b"")
    )
    assert (said.subject, said.thread, said.cc) == ("b", "t", (Person("Eve", ""),))
    assert read(*message(b'{"subject":"a","Subject":null}', b"")).subject == ""


def test_pings_invites_and_notes_say_their_text_and_names() -> None:
    ping = read(*message(b"", b"let me in", "ping", alias="Ann of Work", to="Bob of Club"))
    assert (ping.body, ping.alias) == ("let me in", "Ann of Work")
    assert ping.names == ["Bob of Club", "Ann of Work"]
    invite = read(*message(b"", b"join", "invite", alias="Ann of Work", gid="the choir", to="Bob of Club"))
    assert invite.names == ["Bob of Club", "the choir", "Ann of Work"]
    note = read(*message(b'{"threadid":"00ff","cc":[{"who":"Eve"}]}', b"", "notify", postid="00ff"))
    assert (note.thread, note.cc) == ("00ff", (Person("Eve", ""),))


def test_what_devices_tell_each_other_is_no_text() -> None:
    said = read(*message(b'{"nodesync":true}', b"secret state of an app"))
    assert said.sync and said.body == ""


def test_a_text_goes_in_one_line_and_does_nothing_to_a_terminal() -> None:
    said = content("", "a\n\x1b[31mred\u202e \u2028 b", alias="x" * 1000)
    assert said.subject == "a [31mred b"
    assert len(said.alias) == 255


def test_of_a_long_body_the_beginning_is_read_and_no_half_a_character() -> None:
    said = content("ä" * BODY_MAX)
    assert said.body == "ä" * (BODY_MAX // 2) and said.body_size == 2 * BODY_MAX
    assert content("a" + "ä" * BODY_MAX).body.endswith("ä")


def test_what_is_no_text_ends_a_body() -> None:
    assert content(b"text\xff and\x00\x01\x02 octets").body == "text\ufffd and"


def test_details_that_are_too_long_or_too_deep_are_not_read() -> None:
    said = read(*message(b'{"subject":"' + b"x" * HEAD_MAX + b'"}', b"body"))
    assert said.subject == "" and said.problem == "its details are too long" and said.body == ""
    for depth in (40, 100_000):
        deep = b'{"subject":"s","x":' + b"[" * depth + b"]" * depth + b"}"
        said = read(*message(deep, b"body"))
        assert said.subject == "" and said.problem == "its details cannot be read" and said.body == "body"


def test_numbers_without_end_make_no_work() -> None:
    head, data = message(b'{"subject":"s","x":' + b"9" * 200_000 + b',"y":1e999,"z":-1e999}', b"")
    began = time.thread_time()
    said = read(head, data)
    assert time.thread_time() - began < 0.5
    assert said.subject == "s"
    json.dumps(said.details, allow_nan=False)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
KEYS = st.sampled_from(["subject", "Attach", "cc", "alias", "threadid", "nodesync", "x"])
ENTRIES = st.fixed_dictionaries(
    {}, optional={"name": VALUES, "size": VALUES | st.integers(0, 20), "who": VALUES}
)
DETAILS = st.dictionaries(KEYS, VALUES | st.lists(ENTRIES, max_size=4), max_size=6)
HEADS = st.dictionaries(
    st.sampled_from(["op", "from", "id", "posted", "datalen", "datahead", "alias", "gid", "nodeid"]),
    VALUES | st.integers(0, 300),
)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.binary(max_size=200), DETAILS), HEADS | st.binary(max_size=60), st.binary(max_size=60))
def test_whatever_it_is_it_is_read_within_its_bounds(
    details: bytes | dict[str, Any], head: bytes | dict[str, Any], rest: bytes
) -> None:
    first = details if isinstance(details, bytes) else json.dumps(details).encode()
    data = first + rest
    if isinstance(head, dict):
        head = json.dumps({"datahead": len(first), "datalen": len(data), **head}).encode()
    head = b"%04x" % len(head) + head
    said = read(head, data)
    assert said.size >= said.kept == len(data) >= said.datahead >= 0
    assert 0 <= said.body_at <= said.body_at + said.body_size <= said.size
    at = said.body_at + said.body_size
    for attachment in said.attachments:
        assert attachment.offset == at
        assert attachment.kept == (at + attachment.size <= said.kept)
        at += attachment.size
    assert at == said.size
    everything = (said.subject, said.alias, said.thread, said.body, said.sender, said.op, *said.names)
    "".join(everything).encode()
    json.dumps([said.head, said.details], allow_nan=False).encode()
    assert read(head, data[: needed(head, len(data))], len(data)) == said


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_what_was_said_is_what_is_read(data: st.DataObject) -> None:
    words = st.text(st.characters(codec="utf-8", categories=["L", "N"]), max_size=10)
    subject, body = data.draw(words), data.draw(words)
    files = data.draw(st.lists(st.tuples(words, st.binary(max_size=20)), max_size=4))
    head, octets = frame(5, body, subject, files)
    said = read(head, octets)
    assert (said.subject, said.body) == (subject, body)
    assert [(a.name, octets[a.offset : a.offset + a.size]) for a in said.attachments] == files
