"""Several that want one name."""

import time

import pytest

pytestmark = pytest.mark.root


def names(machine):
    """What is found: id -> (name, host)."""
    return {box["id"]: (box["name"], box["host"]) for box in machine.find().values()}


def eventually(look, wanted, timeout_s=8.0):
    deadline = time.monotonic() + timeout_s
    while (seen := look()) != wanted:
        assert time.monotonic() < deadline, f"{seen}, not {wanted}"


def test_who_comes_later_takes_the_next_name_whatever_its_id_and_of_the_host_alone_if_the_site_differs(lab):
    a, b, c = lab.machine("a"), lab.machine("b"), lab.machine("c")
    a.box(box_id="zzzzzzzz").event("announced")
    second = b.box(box_id="00000000").event("announced")
    assert (second["name"], second["host"]) == ("Home (2)", "home-2.local")
    third = c.box(site="Office", host="home").event("announced")
    assert (third["name"], third["host"]) == ("Office", "home-3.local")


def test_three_that_start_at_once_agree(lab):
    machines = [lab.machine(name) for name in "abc"]
    boxes = {}
    for machine, box_id in zip(machines, ("22222222", "11111111", "33333333"), strict=True):
        boxes[box_id] = machine.box(box_id=box_id)
    for box in boxes.values():
        box.event("announced")

    def shape():
        return sorted(names(lab.machine("d")).values())

    eventually(shape, [("Home", "home.local"), ("Home (2)", "home-2.local"), ("Home (3)", "home-3.local")])


def test_when_two_networks_are_joined_the_lower_id_keeps_the_name(lab):
    a, b, c = lab.machine("a"), lab.machine("b"), lab.machine("c")
    lab.cable(b, "nomaster")
    boxes = [a.box(box_id="99999999"), b.box(box_id="11111111")]
    assert [box.event("announced")["name"] for box in boxes] == ["Home", "Home"]
    time.sleep(0.5)
    lab.cable(b, "master", "br0")
    boxes[1].tell("pair 30")
    assert boxes[0].event("announced")["name"] == "Home (2)"
    assert names(c) == {"99999999": ("Home (2)", "home-2.local"), "11111111": ("Home", "home.local")}
    assert not [fact for fact in boxes[1].facts if "taken" in fact.get("event", "")]


def test_what_is_taken_back_in_our_name_is_announced_again(lab):
    a, b, c = lab.machine("a"), lab.machine("b"), lab.machine("c")
    a.box().event("announced")
    time.sleep(0.7)
    observer = c.observe()
    b.side("take_back", ["Home", "10.77.0.1"]).end()
    gone = observer.record("_tmtp._tcp.local.", ttl=0)["at"]
    assert observer.record("_tmtp._tcp.local.", ttl=4500)["at"] - gone < 2


def test_who_claims_every_name_gets_the_box_to_say_so_and_no_more(lab):
    a, b = lab.machine("a"), lab.machine("b")
    claims = ["Home", *(f"Home ({number})" for number in range(2, 10)), "Home (box00001)"]
    b.side("squat", claims).wait("squatting")
    box = a.box()
    assert "give the site another name" in box.reasons("are used by others")[0]
    box.tell("busy")
    assert box.wait("late_s")["late_s"] < 0.2
    box.tell("stop")
    stopping = box.wait("stopping")["at"]
    assert box.wait("stopped")["at"] - stopping < 0.5
