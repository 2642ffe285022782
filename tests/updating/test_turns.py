"""Never do two boxes have the turn at once, whatever is lost, late or killed; and somebody gets it."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.updating.turns import Asks, Back, Denied, Granted, Held, Said, Turn, Turns, decode, encode


@dataclass
class World:
    """Boxes whose words may be lost, or come late. What is on their disks outlives them."""

    names: tuple[str, ...]
    disks: dict[str, Turn] = field(default_factory=dict)
    alive: dict[str, Turns] = field(default_factory=dict)
    way: list[tuple[str, str, bytes]] = field(default_factory=list)
    asked: int = 0
    busy: set[str] = field(default_factory=set)
    """Who has the turn and makes use of it: until it gives it back itself, or is killed."""

    def __post_init__(self) -> None:
        for name in self.names:
            self.start(name)

    def start(self, name: str) -> None:
        """What was in memory is gone; a turn of before is of no use to who did not begin."""
        turn = msgspec.msgpack.decode(msgspec.msgpack.encode(self.disks.get(name, Turn())), type=Turn)
        self.alive[name] = Turns(name, turn, lambda: self.names)
        self.give_back(name)
        for other in self.names:
            if other != name and other in self.alive:
                self.say(other, self.alive[other].met(name))

    def say(self, name: str, said: list[tuple[str, Said]]) -> None:
        self.disks[name] = msgspec.structs.replace(self.alive[name].turn)
        self.way += [(name, to, encode(what)) for to, what in said]

    def ask(self, name: str) -> None:
        self.asked += 1
        if self.alive[name].state == "none":
            self.say(name, self.alive[name].ask(f"{name}{self.asked}"))
        else:
            self.say(name, self.alive[name].again())

    def give_back(self, name: str) -> None:
        self.busy.discard(name)
        self.say(name, self.alive[name].give_back())

    def deliver(self, at: int) -> None:
        sender, to, octets = self.way.pop(at % len(self.way))
        what = decode(octets)
        assert what is not None
        self.say(to, self.alive[to].heard(sender, what))

    def deliver_all(self) -> None:
        while self.way:
            self.deliver(0)

    def having(self) -> list[str]:
        return [name for name, turns in self.alive.items() if turns.state == "having"]


@settings(max_examples=300, deadline=None)
@given(st.integers(2, 4), st.lists(st.tuples(st.integers(0, 5), st.integers(0, 99)), max_size=120))
def test_two_boxes_never_have_the_turn_at_once(count: int, steps: list[tuple[int, int]]) -> None:
    world = World(tuple("abcd"[:count]))
    for what, which in steps:
        name = world.names[which % count]
        match what:
            case 0:
                world.ask(name)
            case 1 | 2 if world.way:
                world.deliver(which)
            case 3 if world.way:
                world.way.pop(which % len(world.way))
            case 4:
                world.give_back(name)
            case 5:
                world.start(name)
        for turns in world.alive.values():
            turns.tidy(lambda box: True)
        world.busy.update(world.having())
        assert len(world.busy) <= 1


@settings(max_examples=100, deadline=None)
@given(st.integers(2, 4), st.integers(0, 1 << 30))
def test_of_those_who_keep_asking_each_gets_it_in_the_end(count: int, seed: int) -> None:
    world, dice = World(tuple("abcd"[:count])), random.Random(seed)
    todo = set(world.names)
    for _ in range(400):
        for name in dice.sample(sorted(todo), len(todo)):
            world.ask(name)
        dice.shuffle(world.way)
        world.deliver_all()
        for name in world.having():
            todo.discard(name)
            world.say(name, world.alive[name].give_back())
        for name, turns in world.alive.items():
            if turns.state == "asking" and turns.denied is not None and dice.random() < 0.5:
                world.say(name, turns.give_back())
        world.deliver_all()
        for turns in world.alive.values():
            turns.tidy(lambda box: True)
        if not todo:
            return
    raise AssertionError(f"{todo} never got it")


def test_of_two_that_ask_at_once_the_lower_id_goes_first() -> None:
    world = World(("a", "b"))
    world.ask("b")
    world.ask("a")
    world.deliver_all()
    assert world.having() == ["a"] and world.alive["b"].denied == "a"


def test_a_turn_lasts_until_it_is_given_back_and_its_box_is_in_sync() -> None:
    world = World(("a", "b"))
    world.ask("a")
    world.deliver_all()
    turns = world.alive["b"]
    turns.tidy(lambda box: True)
    assert turns.holder == "a" and turns.ask("mine") == [] and turns.denied == "a"
    world.say("a", world.alive["a"].give_back())
    world.deliver_all()
    turns.tidy(lambda box: False)
    assert turns.holder == "a"
    turns.tidy(lambda box: True)
    assert turns.holder is None
    world.ask("b")
    world.deliver_all()
    assert world.having() == ["b"]


def test_the_turn_of_a_box_that_is_put_out_is_over() -> None:
    world = World(("a", "b"))
    world.ask("a")
    world.deliver_all()
    world.names = ("b",)
    world.alive["b"].tidy(lambda box: False)
    assert world.alive["b"].holder is None


def test_a_box_that_lost_what_it_wanted_says_so_when_it_is_asked() -> None:
    world = World(("a", "b"))
    world.ask("a")
    world.deliver_all()
    world.disks["a"] = Turn()
    world.way.clear()
    world.start("a")
    assert [decode(octets) for *_, octets in world.way] == [Held("a1")]
    world.deliver_all()
    world.alive["b"].tidy(lambda box: True)
    assert world.alive["b"].holder is None


def test_what_a_newer_box_says_is_left_alone() -> None:
    assert decode(b"\x92\xa5dance\xa1x") is None and decode(b"") is None and decode(b"\xff" * 50) is None
    for said in (Asks("i"), Granted("i"), Denied("i", "a"), Back("i"), Held("i")):
        assert decode(encode(said)) == said


def test_a_box_that_joins_meanwhile_does_not_take_the_turn_away() -> None:
    world = World(("b", "c"))
    world.ask("b")
    world.deliver_all()
    world.names = ("a", "b", "c")
    world.start("a")
    world.ask("a")
    world.deliver_all()
    assert world.having() == ["b"] and world.alive["a"].denied in ("b", "c")
