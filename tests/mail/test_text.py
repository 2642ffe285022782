"""Texts that strangers wrote, to search and to show; names that they gave, as names of files."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.mail.filenames import OCTETS_MAX, safe_name
from appliance.mail.snippets import LENGTH, LOOK_MAX, snippet
from appliance.mail.text import folded, line, plain


@pytest.mark.parametrize(
    ("markdown", "text"),
    [
        ("# Head\n\nSome *very* **bold** `code` ~~gone~~ text", "Head Some very bold code gone text"),
        ("> quoted\n> > twice", "quoted twice"),
        ("- one\n- two\n  * three\n1. four", "one two three 1. four"),
        ("see [the plan](https://x.org/plan) or [here](#a)", "see the plan https://x.org/plan or here"),
        ("![a picture](u:photo.jpg) and <https://x.org>", "a picture and https://x.org"),
        ("<b>bold</b><br/>a < b and c > d", "bold a < b and c > d"),
        ("| a | b |\n|---|:-:|\n| 1 | 2 |", "a b 1 2"),
        ("Head\n====\n\n---\nsnake_case", "Head snake case"),
        ("[not a link] (x) ](", "not a link (x) ("),
        ("", ""),
    ],
)
def test_of_a_commonmark_text_the_words_are_left(markdown: str, text: str) -> None:
    assert plain(markdown) == text


@pytest.mark.parametrize(
    "piece",
    [
        "[",
        "](",
        "[x](",
        "<a ",
        "> ",
        "#",
        "* ",
        "| -",
        " \n",
        "**",
        "[](",
        "<!-",
        "~",
        " ",
        "- ",
        "=",
        "> # - ",
    ],
)
def test_no_text_makes_it_slow(piece: str) -> None:
    text = piece * (65536 // len(piece)) + "x"
    began = time.thread_time()
    plain(text)
    line(text, 500)
    snippet(text, [("x", True)])
    assert time.thread_time() - began < 0.25


def test_joined_characters_stay_together_and_others_go() -> None:
    assert (
        line("\u0646\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", 20)
        == "\u0646\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"
    )
    assert line("a\u202eb\x07c\u0000d", 20) == "a b c d"
    assert line(None, 20) == line(["a"], 20) == ""


def test_words_are_compared_as_the_index_does() -> None:
    assert folded("CAFÉ") == folded("cafe\u0301") == "cafe"
    assert folded("Ünïcode") == "unicode"


def test_a_snippet_shows_what_was_looked_for() -> None:
    text = "lorem ipsum " * 30 + "then the Invoice came, and invoices again " + "dolor sit " * 40
    shown, marks = snippet(text, [("the", False), ("invoice", True)])
    assert [shown[a:b] for a, b in marks] == ["the", "Invoice", "invoices"]
    assert shown.startswith("... ") and shown.endswith(" ...") and len(shown) <= LENGTH + 8


def test_a_snippet_without_a_word_is_the_beginning() -> None:
    assert snippet("one two", [("zebra", False)]) == ("one two", [])
    assert snippet("", [("zebra", False)]) == ("", [])
    assert snippet("lorem " * LOOK_MAX + "zebra", [("zebra", False)])[0].startswith("lorem lorem")
    assert snippet("x" * 1000, [])[0] == "x" * LENGTH + " ..."


@given(st.text(max_size=400), st.lists(st.tuples(st.text(max_size=4), st.booleans()), max_size=3))
def test_a_snippet_is_short_and_its_marks_are_in_it(text: str, words: list[tuple[str, bool]]) -> None:
    shown, marks = snippet(text, words)
    assert len(shown) <= LENGTH + 8
    assert all(0 <= a < b <= len(shown) for a, b in marks)


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("report.pdf", "report.pdf"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\x\\a.txt", "a.txt"),
        ("..", "x"),
        (".bashrc", "bashrc"),
        ("", "x"),
        ("   ", "x"),
        ("a:b?c*.txt", "a_b_c_.txt"),
        ("CON", "_CON"),
        ("nul.txt", "_nul.txt"),
        ("a\x00b\nc\x1b.txt", "ab c.txt"),
        ("r\u202etxt.exe", "rtxt.exe"),
        ("trailing. ", "trailing"),
        ("cafe\u0301.txt", "caf\u00e9.txt"),
        ("/", "x"),
    ],
)
def test_a_strangers_name_is_a_name_of_a_file(name: str, safe: str) -> None:
    assert safe_name(name, "x") == safe


def test_a_long_name_keeps_its_suffix() -> None:
    safe = safe_name("ä" * 200 + ".tar.gz", "x")
    assert safe.endswith("ä.gz") and len(safe.encode()) <= OCTETS_MAX
    assert safe_name("y" * 300, "x") == "y" * OCTETS_MAX
    assert safe_name("y" * 300 + "." + "z" * 100, "x") == "y" * OCTETS_MAX


@given(name=st.text(max_size=200))
def test_every_name_is_one_file_in_its_folder(name: str) -> None:
    safe = safe_name(name, "x")
    assert Path("folder", safe).parent == Path("folder") and safe not in (".", "..") and "\0" not in safe
    assert 0 < len(safe.encode()) <= OCTETS_MAX and safe == safe.strip()
    assert safe_name(safe, "x") == safe
