"""A hand on the button: what it opens, and for how long."""

from typing import Any

import pytest
import trio

from appliance.control import ControlError
from appliance.control.words import Words
from appliance.edges.start import Hand, _until_pressed


class Said:
    """Stands in for the words."""

    def __init__(self, error=None):
        self.words = []
        self.error = error

    async def say(self, word, **args):
        self.words.append((word, args))
        if self.error:
            raise self.error


def hand(said, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("appliance.edges.start.time.monotonic", lambda: now[0])
    words: Any = said
    return Hand(words), now


def test_a_press_opens_pairing_and_the_network_for_two_minutes(monkeypatch):
    said = Said()
    pressed, now = hand(said, monkeypatch)
    assert not pressed.is_near()
    trio.run(pressed.pressed_briefly)
    assert said.words == [("pair.press", {})]
    now[0] += 119
    assert pressed.is_near()
    now[0] += 2
    assert not pressed.is_near()


def test_where_registration_is_closed_a_press_is_refused_but_somebody_is_there(monkeypatch):
    pressed, _ = hand(Said(ControlError("closed")), monkeypatch)
    with pytest.raises(ControlError):
        trio.run(pressed.pressed_briefly)
    assert pressed.is_near()


def test_the_button_is_waited_for_until_it_is_pressed():
    answers = [False, False, True]

    class Panel:
        async def confirm(self, timeout_s):
            return answers.pop(0)

    panel: Any = Panel()

    async def main():
        with trio.fail_after(5):
            await _until_pressed(panel)

    trio.run(main)
    assert answers == []


def test_words_of_others_are_said_like_the_boxes_own():
    words = Words.__new__(Words)
    words._handlers = {}

    async def echo(args):
        return args

    words.add({"echo": echo})
    assert trio.run(lambda: words.say("echo", a=1)) == {"a": 1}
    assert words.handlers["echo"] is echo
