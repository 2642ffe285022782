"""Which lines are run, and what is completed, with the real command."""

import shlex

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from appliance.console.shell import NotAWord, Shell, split_open


@pytest.fixture
def shell(tmp_path):
    return Shell(tmp_path)


def test_help_is_what_the_command_itself_says_of_its_words(shell):
    known = dict(trio.run(shell.help))
    assert known["status"] == "How the box is doing."
    assert "serve" not in known
    assert "completion" not in known
    assert set(known) - set(shell.allowed) == {"wifi", "exit"}


def test_without_the_command_help_still_lists_words(tmp_path):
    known = dict(trio.run(Shell(tmp_path, command=("/there/is/none",)).help))
    assert "status" in known


@pytest.mark.parametrize(
    ("before", "candidates"),
    [
        ("stat", ["status"]),
        ("ser", []),
        ("he", ["help"]),
        ("pocket pair o", ["open"]),
        ("pair 'o", ["open"]),
        ("serve --l", []),
        ("status --js", ["--json"]),
    ],
)
def test_words_and_options_are_completed(shell, before, candidates):
    found, replace = trio.run(shell.complete, before)
    assert sorted(found) == candidates
    assert before[len(before) - replace :] in before.split(" ")


def test_after_a_space_all_that_may_follow_is_offered(shell):
    found, replace = trio.run(shell.complete, "pair ")
    assert {"open", "close"} <= set(found)
    assert replace == 0


def test_without_the_command_nothing_is_completed(tmp_path):
    assert trio.run(Shell(tmp_path, command=("/there/is/none",)).complete, "st") == ([], 2)


def test_a_confirmed_entry_may_be_several_words(tmp_path):
    shell = Shell(tmp_path, confirm=("device drop", "restore"))
    assert shell.must_be_confirmed(["device", "drop", "7"])
    assert shell.must_be_confirmed(["device", "--json", "drop", "7"])
    assert shell.must_be_confirmed(["restore"])
    assert not shell.must_be_confirmed(["restore", "--help"])
    assert not shell.must_be_confirmed(["device", "list"])
    assert not shell.must_be_confirmed([])


@given(st.text(max_size=40))
def test_no_line_does_harm(line):
    shell = Shell(data=None, allowed=("status",))  # type: ignore[arg-type]
    try:
        words = shell.parse(line)
    except NotAWord:
        return
    assert not words or words[0] in ("status", "help", "wifi", "exit")


words = st.lists(st.text("ab 'ü\"\\", min_size=1, max_size=6), max_size=4)


@given(words, st.text("abü", max_size=5))
def test_the_last_word_of_an_unfinished_line_is_found(before, last):
    line = " ".join([*map(shlex.quote, before), last])
    assert split_open(line) == ([*before, last], len(line) - len(last))


@given(st.text("ab '\"\\", max_size=20))
def test_unfinished_quotes_do_no_harm(line):
    found, start = split_open(line)
    assert found
    assert 0 <= start <= len(line)
