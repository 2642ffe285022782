"""Two real boxes of one site: one gives the other its version, and never are both updated at once."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator

import pytest

from tests.kit import Client
from tests.updating.house import Managed, NewBox, in_sync, join, until

Pair = tuple[Managed, Managed]


@pytest.fixture
def pair(new_box: NewBox) -> Iterator[Pair]:
    """Two boxes in sync, with the same update at hand."""
    first, second = new_box(name="attic"), new_box(name="cellar")
    Client.register(first, alias="ann smith").close()
    join(second, first)
    yield first, second


def install(box: Managed, *words: str, code: int = 0) -> str:
    return box.say("install", "--from", str(box.folder / "stick"), *words, code=code)


def finish(box: Managed) -> None:
    """The machine restarts, and what was installed is good."""
    box.restart_machine()
    until(lambda: box.machine.proven)
    box.machine.bless()
    assert box.settled()["outcome"] == "installed"


def holder(box: Managed) -> str | None:
    turn = box.update["turn"]
    return None if turn is None else str(turn["name"])


def test_of_two_that_begin_at_once_one_goes_first_and_gives_the_other_what_it_has(pair: Pair) -> None:
    said: dict[str, int] = {}

    def begin(box: Managed) -> None:
        said[box.label] = box.saying("install", "--from", str(box.folder / "stick"), "--json").returncode

    for box in pair:
        box.publish("1.2", octets=2_500_000)
    threads = [threading.Thread(target=begin, args=(box,)) for box in pair]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(said.values()) == [0, 1]
    armed = [box for box in pair if box.machine.status["other"]["state"] == "trying"]
    assert [label for label, code in said.items() if code == 0] == [box.label for box in armed]

    (first,), (second,) = armed, [box for box in pair if box not in armed]
    finish(first)
    in_sync(first, second)
    told = json.loads(second.say("check", "--json"))
    assert (told["newest"], told["source"]) == ("1.2", f"box {first.label}")
    until(lambda: holder(second) is None)
    assert json.loads(second.say("install", "--json"))["version"] == "1.2"
    kept = {path.name: path.read_bytes() for path in (first.data / "update/kept").glob("*.zst")}
    staged = {path.name: path.read_bytes() for path in (second.data / "update/staged").glob("*.zst")}
    assert kept == staged and len(kept) == 2


def test_the_second_waits_until_the_first_is_in_sync_again_whoever_is_killed(pair: Pair) -> None:
    first, second = pair
    for box in pair:
        box.publish("1.2")
    tool = first.machine.root / "bin/systemctl"
    works = tool.read_text()
    tool.write_text("#!/bin/sh\nsleep 60\n")
    first.control("update.install", folder=str(first.folder / "stick"))
    assert until(lambda: holder(second)) == "attic"
    first.kill9()
    (first.data / "update/staged/request.json").unlink(missing_ok=True)
    tool.write_text(works)
    first.start()
    assert first.settled()["outcome"] in ("failed", None)
    in_sync(first, second)
    until(lambda: holder(second) is None)

    install(first)
    assert until(lambda: holder(second)) == "attic"
    second.kill9()
    second.start()
    in_sync(first, second)
    assert holder(second) == "attic"
    assert "box attic is being updated" in install(second, code=1)
    first.kill9()
    assert "box attic is away" in install(second, code=1)
    assert "attic" in str(second.update["turn"]), "its turn outlives it"
    first.machine.boot()
    first.start()
    in_sync(first, second)
    assert "box attic is being updated" in install(second, code=1), "it has yet to be blessed"
    until(lambda: first.machine.proven)
    first.machine.bless()
    assert first.settled()["outcome"] == "installed"
    until(lambda: holder(second) is None)
    install(second)
    assert holder(first) == "cellar"


def test_a_box_that_cannot_reach_the_other_is_updated_only_by_hand_and_one_that_could_is_not_proven(
    pair: Pair,
) -> None:
    first, second = pair
    second.publish("1.2")
    install(second)
    second.terminate()
    assert json.loads((second.data / "update/before.json").read_text())["linked"] == [first.id]
    first.terminate()
    second.machine.boot()
    second.start()
    assert until(lambda: "box attic was linked before the update" in str(second.update["unproven"]))
    assert second.machine.proven is None
    assert second.control("status")["state"] == "warning"
    first.start()
    assert until(lambda: second.machine.proven) == "1.2"
    second.machine.bless()
    assert second.settled()["outcome"] == "installed"

    first.terminate()
    until(lambda: second.control("status")["peers"]["linked"] == 0)
    second.publish("1.3")
    assert "box attic is away" in install(second, code=1)
    install(second, "--alone")
    assert json.loads((second.data / "update/before.json").read_text())["linked"] == []
