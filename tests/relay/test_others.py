"""Which boxes have links to which sites, as they tell each other."""

from __future__ import annotations

from appliance.relay.others import LISTED_AT_ONCE, Others
from appliance.site import Box

NAMES = ("one", "two")


class Pair:
    """Two boxes; `deaf` ones do not hear what is told."""

    def __init__(self) -> None:
        boxes = {name: Box(name, b"", slot, name, slot) for slot, name in enumerate(NAMES)}
        self.deaf: set[str] = set()
        self.now = 0.0
        self.one, self.two = (Others(lambda: boxes, name, lambda: self.now) for name in NAMES)
        self.one.tell = lambda topic, payload: self._say("one", "two", self.two, topic, payload)
        self.two.tell = lambda topic, payload: self._say("two", "one", self.one, topic, payload)

    def _say(self, who: str, to: str, other: Others, topic: str, payload: bytes) -> None:
        if to not in self.deaf:
            other.heard(who, topic, payload)


def test_a_box_that_begins_to_listen_later_hears_what_was_said_before() -> None:
    pair = Pair()
    pair.deaf.add("two")
    pair.one.in_reach("two", True)
    pair.one.linked(7)
    pair.deaf.clear()
    pair.two.in_reach("one", True)
    pair.two.linked(7)
    assert not pair.two.is_keeper(7) and pair.one.is_keeper(7)
    assert not pair.two.took_login(7), "a login of before, which is not told of any more"


def test_a_new_link_is_told_as_a_login_once_and_long_lists_are_none() -> None:
    pair = Pair()
    for number in range(LISTED_AT_ONCE + 5):
        pair.one.linked(number)
    pair.two.in_reach("one", True)
    pair.one.in_reach("two", True)
    assert pair.two.took_login(3) and not pair.two.took_login(3)
    one = Pair()
    one.deaf.add("two")
    for number in range(LISTED_AT_ONCE + 5):
        one.one.linked(number)
    one.deaf.clear()
    one.two.in_reach("one", True)
    one.one.in_reach("two", True)
    assert not any(one.two.took_login(number) for number in range(LISTED_AT_ONCE + 5))
    assert not one.two.is_keeper(LISTED_AT_ONCE + 1)
