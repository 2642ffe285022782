"""`pocket mail`: what it asks, what people see, what programs get."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime

import pytest

from appliance.control import ControlError

POSTED = "2026-05-12T14:03:00.000Z"
HERE = datetime(2026, 5, 12, 14, 3, tzinfo=UTC).astimezone().strftime("%Y-%m-%d %H:%M")
HIT = {
    "msgid": "18b4c1d5a3f20000",
    "id": "18b4c1d5a3f20001",
    "archive": "Club",
    "membership": 12,
    "posted": POSTED,
    "op": "delivery",
    "from": "UID2",
    "alias": "Bob Smith",
    "subject": "Summer camp",
    "thread": "",
    "size": 9,
    "attachments": 2,
    "snippet": "pack a\ntorch\x07 for",
    "marks": [[7, 12]],
}
OWN = HIT | {
    "msgid": "18b4c1d5a3f20010",
    "archive": "",
    "membership": 0,
    "alias": "",
    "subject": "",
    "posted": "",
    "attachments": 0,
    "snippet": "",
}
CLUB = {"name": "Club", "membership": 12, "messages": 1500, "octets": 3 << 20, "oldest": POSTED, "indexed": 1}
SITE = {"name": "", "membership": 0, "messages": 20, "octets": 2048, "oldest": "", "indexed": 20}
STATE = {
    "kept": True,
    "messages": 1520,
    "octets": 3 << 20,
    "oldest": POSTED,
    "used": 4 << 20,
    "budget": 5 << 30,
    "indexed": 21,
    "archives": [SITE, CLUB],
    "trouble": None,
}
MESSAGE = {
    "archive": "Club",
    "membership": 12,
    "msgid": HIT["msgid"],
    "posted": POSTED,
    "from": "UID2",
    "alias": "Bob\x1b Smith",
    "subject": "Summer camp",
    "cc": [{"name": "Ann", "uid": "UID1"}],
    "body": "Pack a torch.\n\x1b[2JBob",
    "attachments": [{"name": "map.png", "size": 2048}],
}


def test_what_is_looked_for_is_asked_as_it_was_typed_with_phrases_in_quotes(pocket):
    pocket.answers(mail_search={"found": [], "next": "", "indexed": True})
    assert pocket(
        "mail", "search", "Ann Smith", "summer camp", "torch", "subject:to do", 'x "y z"', "since:2026"
    ) == ("nothing was found\n")
    pocket(
        "mail", "search", "Ann Smith", "a", "--membership", "Club", "--best", "--limit", "5", "--after", "0.7"
    )
    assert pocket.asked == [
        (
            "mail.search",
            {
                "member": "Ann Smith",
                "words": '"summer camp" torch subject:"to do" x "y z" since:2026',
                "membership": None,
                "order": "newest",
                "limit": 20,
                "after": "",
            },
        ),
        (
            "mail.search",
            {
                "member": "Ann Smith",
                "words": "a",
                "membership": "Club",
                "order": "best",
                "limit": 5,
                "after": "0.7",
            },
        ),
    ]


def test_what_is_found_is_told_with_a_few_words_around_and_cannot_move_the_cursor(pocket):
    pocket.answers(mail_search={"found": [HIT, OWN], "next": "0.7\x07", "indexed": False})
    assert pocket("mail", "search", "Ann Smith", "torch").splitlines() == [
        f"{HERE}  Club  Bob Smith: Summer camp [2 attachments]",
        "    pack a torch\\u0007 for",
        "    18b4c1d5a3f20000",
        "-  this site  UID2: (no subject)",
        "    18b4c1d5a3f20010",
        "there is more: add   --after 0.7\\u0007",
        "what came last is not looked through yet: search again in a minute",
    ]


@pytest.mark.parametrize(
    "words", [("search", "x"), ("search", "x", "y", "--limit", "0"), ("archive", "x", "maybe")]
)
def test_a_wrong_call_asks_nobody(pocket, words):
    pocket("mail", *words, code=2)
    assert pocket.asked == []


def test_what_cannot_be_looked_for_is_told_in_the_boxs_words(pocket):
    pocket.answers(mail_search=ControlError("since:soon is no date"))
    pocket("mail", "search", "Ann Smith", "since:soon", code=1)
    assert pocket.stderr == "Error: since:soon is no date\n"


def test_what_is_kept_is_a_table(pocket):
    pocket.answers(mail_show=STATE)
    assert pocket("mail", "show", "Ann Smith").splitlines() == [
        "OF         MESSAGES      SIZE  SINCE",
        "this site        20  2.00 KiB  -",
        f"Club          1,500  3.00 MiB  {HERE}",
        "4.00 MiB of 5.00 GiB are used",
    ]
    assert json.loads(pocket("mail", "show", "Ann Smith", "--json")) == STATE


def test_who_has_nothing_kept_is_told_how_to_begin_and_what_is_wrong(pocket):
    pocket.answers(mail_show=STATE | {"kept": False, "archives": [], "trouble": "the index is\x07 damaged"})
    assert pocket("mail", "show", "Ann Smith").splitlines() == [
        'messages of this site are not kept: say   pocket mail archive "Ann Smith" on',
        "  ! the index is\\u0007 damaged",
    ]


def test_one_message_is_shown_whole(pocket):
    pocket.answers(mail_message=MESSAGE)
    assert pocket("mail", "show", "Ann Smith", "18b4c1d5a3f20000").splitlines() == [
        "from      Bob\\u001b Smith UID2",
        f"posted    {HERE}",
        "at        Club",
        "subject   Summer camp",
        "to        Ann",
        "attached  map.png, 2.00 KiB",
        "",
        "Pack a torch.",
        "\\u001b[2JBob",
    ]
    assert pocket.asked == [("mail.message", {"member": "Ann Smith", "message": "18b4c1d5a3f20000"})]


def test_the_archive_of_this_site_is_switched_on_and_off(pocket, monkeypatch):
    pocket.answers(mail_archive=STATE, mail_show=STATE)
    assert pocket("mail", "archive", "Ann Smith", "on") == "messages of Ann Smith are kept from now on\n"
    assert "are gone" in pocket("mail", "archive", "Ann Smith", "off")
    assert [args["on"] for _, args in pocket.asked] == [True, False]
    monkeypatch.setattr("appliance.cli.people.at_terminal", lambda: True)
    said = pocket("mail", "archive", "Ann Smith", "off", stdin="n\n", code=1)
    assert "Forget 20 messages of this site, 2.00 KiB, kept for Ann Smith?" in said
    pocket("mail", "archive", "Ann Smith", "off", stdin="y\n")
    pocket("mail", "archive", "Ann Smith", "off", "--yes")
    assert [word for word, _ in pocket.asked].count("mail.archive") == 4


PICTURE = b"\x89PNG..." * 100
RECORD = {
    "archive": "Club",
    "membership": 12,
    "node": 7,
    "msgid": HIT["msgid"],
    "id": "",
    "op": "delivery",
    "body": "hi",
    "body_offset": 0,
    "body_octets": 2,
    "left_octets": len(PICTURE),
    "attachments": [{"name": "../map.png", "kind": "u", "size": len(PICTURE), "offset": 2, "kept": True}],
}


def pages(args):
    done = bool(args["after"])
    return {
        "records": [] if done else [RECORD],
        "after": {"7.0": HIT["msgid"]},
        "done": done,
        "total": 1,
        "uid": "U",
    }


def piece(args):
    octets = (b"hi" + PICTURE)[args["offset"] : args["offset"] + args["octets"]]
    return {"data": base64.b64encode(octets).decode()}


def test_an_export_is_written_by_who_asks(pocket, tmp_path):
    pocket.answers(mail_page=pages, mail_piece=piece)
    said = pocket("mail", "export", "Ann Smith", "--to", str(tmp_path / "out"))
    assert said.startswith("1 messages, ") and said.endswith(f" are in {tmp_path / 'out'}\n")
    (file,) = (file for file in (tmp_path / "out" / "files").rglob("*") if file.is_file())
    assert file.read_bytes() == PICTURE
    again = json.loads(pocket("mail", "export", "Ann Smith", "--to", str(tmp_path / "out"), "--json"))
    assert again["messages"] == 1
    assert {args["member"] for _, args in pocket.asked} == {"Ann Smith"}


def test_an_export_that_cannot_be_written_says_why(pocket, tmp_path):
    pocket.answers(mail_page=pages, mail_piece=piece)
    (tmp_path / "mine").write_text("x")
    pocket("mail", "export", "Ann Smith", "--to", str(tmp_path), code=1)
    assert "has other things in it" in pocket.stderr
