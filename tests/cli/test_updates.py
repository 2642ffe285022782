"""`pocket update`: what it asks, and what people see."""

from __future__ import annotations

import json
import time

import pytest

from appliance.cli import updates
from tests.cli.test_words import STATUS

STATE = {
    "managed": True, "board": "rpi", "version": "1.1", "trial": False, "other": "1.0", "other_state": "good",
    "given_up": ["0.9"], "shunned": ["0.9", "0.8"], "running": None, "phase": None, "result": None,
    "problem": None, "automatic": False, "at": "03:30", "url": "", "newest": None, "turn": None,
}  # fmt: skip


@pytest.fixture(autouse=True)
def image(tmp_path, monkeypatch):
    monkeypatch.setattr(updates, "LOOK_EVERY_S", 0.01)
    (tmp_path / "usr/lib/pocket-image").mkdir(parents=True)
    (tmp_path / "usr/lib/pocket-image/slots.py").write_text("")
    monkeypatch.setenv("POCKET_SYSTEM", str(tmp_path))


def states(*answers):
    """One answer after the other, the last for ever."""
    todo = list(answers)
    return lambda args: todo.pop(0) if len(todo) > 1 else todo[0]


def test_how_far_an_update_is_and_what_it_came_to_is_shown(pocket):
    done = {"version": "1.2", "installed": True, "restarts": True}
    under_way = {**STATE, "running": "install", "target": "1.2"}
    pocket.answers(
        update_install={},
        update_state=states(
            {**under_way, "phase": "looking"},
            {**under_way, "phase": "fetching", "octets": 1 << 20, "octets_total": 4 << 20},
            {**under_way, "phase": "waiting for the turn"},
            {**under_way, "phase": "installing", "percent": 40},
            {**STATE, "result": done},
        ),
    )
    told = pocket("update", "install", "--from", "/media/stick", "--again")
    assert pocket.asked[0] == (
        "update.install",
        {
            "folder": "/media/stick",
            "version": None,
            "downgrade": False,
            "again": True,
            "alone": False,
            "no_restart": False,
        },
    )
    assert "1.2 is installed: the machine restarts now" in told
    for words in (
        "looking",
        "fetching 1.2: 1.00 MiB of 4.00 MiB",
        "waiting for the turn",
        "installing 1.2: 40 %",
    ):
        assert words in pocket.stderr


def test_an_update_for_programs_is_json_and_nothing_else(pocket):
    done = {"version": "1.1", "installed": False, "restarts": False}
    pocket.answers(update_install={}, update_state={**STATE, "result": done})
    assert json.loads(pocket("update", "install", "--json")) == done and pocket.stderr == ""
    assert "nobody has a newer version than 1.1" in pocket("update", "install")


def test_an_update_that_fails_ends_the_command_with_the_reason(pocket):
    pocket.answers(update_install={}, update_state={**STATE, "problem": "box attic is being updated"})
    pocket("update", "install", code=1)
    assert "box attic is being updated" in pocket.stderr


def test_going_back_says_what_comes_along(pocket):
    done = {"version": "1.0", "installed": True, "restarts": False, "entries": 1234}
    pocket.answers(update_rollback={}, update_state={**STATE, "result": done})
    told = pocket("update", "rollback", "--no-restart")
    assert pocket.asked[0] == ("update.rollback", {"alone": False, "no_restart": True})
    assert "tried when the machine restarts" in told and "1,234 entries" in told


def test_what_there_is_is_told_with_who_could_not_be_asked(pocket):
    found = {"board": "rpi", "running": "1.1", "newest": "1.2", "source": "box attic", "newer": True}
    web = {"source": "https://h/", "versions": [], "problem": "it did not answer"}
    pocket.answers(
        update_check=states(
            {**found, "left_before": True, "sources": [web]},
            {**found, "newest": "1.1", "newer": False, "sources": []},
            {**found, "newest": None, "newer": False, "sources": [web]},
        )
    )
    told = pocket("update", "check")
    assert "version 1.2 is there, from box attic; it was tried here before" in told
    assert "! https://h/: it did not answer" in pocket.stderr
    assert "nobody has a newer version" in pocket("update", "check")
    assert "there is nobody who has an update" in pocket("update", "check")


def test_all_of_it_is_told(pocket):
    now = time.time()
    pocket.answers(
        update_state={
            **STATE,
            "trial": True,
            "unproven": "its own port does not answer",
            "held": "no messages are taken yet",
            "turn": {"box": "ABCDEFGH", "name": "attic"},
            "outcome": "given up",
            "outcome_version": "0.9",
            "outcome_at": now - 7200,
            "outcome_text": "it did not prove itself",
            "newest": "1.2",
            "newest_from": "box attic",
            "checked": now - 60,
            "tables_before": 4,
            "tables_until": now + 86400,
            "kept": "1.1",
            "automatic": True,
            "last_problem": "the network is gone",
        }
    )
    told = pocket("update", "status")
    assert pocket.asked == [("update.state", {"seen": True})]
    for words in (
        "1.1 on rpi",
        "its own port does not answer",
        "no messages are taken yet",
        "1.0, good",
        "box attic (ABCDEFGH) is being updated",
        "0.9: given up, 2 h ago",
        "0.9, 0.8 (pocket update install --again)",
        "1.2, from box attic",
        "the tables of before are kept for 1 d",
        "every night from 03:30",
        "the network is gone",
    ):
        assert words in told, words


def test_status_tells_of_updates_where_the_box_does_them(pocket):
    facts = {"managed": True, "trial": False, "under_way": False, "available": False, "automatic": True}
    with_it = {**STATUS, "firmware": "1.1", "firmware_newest": "1.2"}
    pocket.answers(
        status=states(
            {**with_it, "update": facts},
            {**with_it, "update": {**facts, "available": True}},
            {**with_it, "update": {**facts, "under_way": True}},
            {**with_it, "update": {**facts, "trial": True}},
            {**with_it, "update": {**facts, "managed": False}},
        )
    )
    assert "update        1.1, updates at night\n" in pocket("status")
    assert "1.1; 1.2 is there (pocket update install)" in pocket("status")
    assert "an update is under way" in pocket("status")
    assert "1.1 is being tried" in pocket("status")
    assert "update" not in pocket("status")
