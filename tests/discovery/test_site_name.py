"""The name that all boxes of a site share: one holds it, and when that is gone another takes it."""

import time

import pytest

pytestmark = pytest.mark.root

TAKEN_S, LEFT_S = 3.0, 1.0
"""When the holder just stops, and when it says goodbye."""
NAME = "home.local."
AVAHI = """
while :; do
    answer=$(avahi-resolve-host-name -4 home.local 2> /dev/null)
    read up _ < /proc/uptime
    echo "$up $answer"
    sleep 0.05
done
"""


def up():
    """The time that the shell of avahi's machine tells."""
    with open("/proc/uptime") as uptime:
        return float(uptime.read().split()[0])


@pytest.fixture
def site(lab):
    """Boxes of one site: started with their ids' first letter, the machine's."""

    def box(letter, **settings):
        return lab.machine(letter).box(box_id=8 * letter, site_id="s1tes1te", **settings)

    return box


def resolver(lab, machine="d"):
    return lab.machine(machine).side("resolve", "home")


def holders(*boxes):
    """How often each was told that it holds the name."""
    return [len([fact for fact in box.facts if fact.get("held")]) for box in boxes]


def test_a_power_cut_moves_the_name_and_who_comes_back_finds_it_held(lab, site):
    a, b, c = lab.machine("a"), lab.machine("b"), lab.machine("c")
    asks, avahi = resolver(lab), lab.machine("e").avahi(AVAHI)
    boxes = {letter: site(letter) for letter in "abc"}
    asks.leads(a)
    avahi.resolves(a.address)
    boxes["c"].holder("aaaaaaaa")
    time.sleep(0.7)
    avahi.listen(0.01)
    cut, cut_up = boxes["a"].kill(), up()
    took = asks.leads(b)["at"] - cut
    took_avahi = avahi.resolves(b.address) - cut_up
    print(f"kill -9: asked {took:.2f} s, avahi {took_avahi:.2f} s")
    assert max(took, took_avahi) < TAKEN_S
    boxes["c"].holder("bbbbbbbb", 1)
    back = site("a")
    back.holder("bbbbbbbb", 4)
    assert back.event("announced")["host"] == "home-aaaaaaaa.local"
    assert asks.listen(0.5) == []
    cut = boxes["b"].kill()
    took = asks.leads(a)["at"] - cut
    print(f"kill -9 of the second: {took:.2f} s")
    assert took < TAKEN_S
    cut = back.kill()
    took = asks.leads(c)["at"] - cut
    print(f"kill -9 of the third: {took:.2f} s")
    assert took < TAKEN_S


def test_a_cable_that_is_pulled_moves_the_name_and_does_not_move_it_back(lab, site):
    a, b = lab.machine("a"), lab.machine("b")
    asks, boxes = resolver(lab), [site("a"), site("b")]
    asks.leads(a)
    lab.cable(a, "down")
    pulled = time.monotonic()
    took = asks.leads(b)["at"] - pulled
    print(f"cable pulled: {took:.2f} s")
    assert took < TAKEN_S
    boxes[0].holder(None)
    lab.cable(a, "up")
    boxes[0].holder("bbbbbbbb")
    boxes[1].holder("bbbbbbbb")
    assert asks.listen(1.5) == []
    for box in boxes:
        box.listen(0.01)
    assert holders(*boxes) == [1, 1]


def test_an_orderly_stop_moves_the_name_at_once(lab, site):
    a, b = lab.machine("a"), lab.machine("b")
    asks, avahi = resolver(lab), lab.machine("e").avahi(AVAHI)
    boxes = [site("a"), site("b")]
    asks.leads(a)
    avahi.resolves(a.address)
    boxes[1].holder("aaaaaaaa")
    avahi.listen(0.01)
    boxes[0].tell("stop")
    stopping, stopping_up = boxes[0].wait("stopping")["at"], up()
    took = asks.leads(b)["at"] - stopping
    took_avahi = avahi.resolves(b.address) - stopping_up
    print(f"orderly stop: asked {took:.2f} s, avahi {took_avahi:.2f} s")
    assert took < LEFT_S
    assert took_avahi < LEFT_S + 0.5
    assert boxes[0].wait("stopped")["at"] - stopping < 0.5


def test_a_pause_leaves_the_name_to_another_which_keeps_it(lab, site):
    a, b = lab.machine("a"), lab.machine("b")
    asks, boxes = resolver(lab), [site("a"), site("b")]
    asks.leads(a)
    boxes[1].holder("aaaaaaaa")
    boxes[0].tell("pause 1")
    took = asks.leads(b)["at"] - boxes[0].wait("paused")["at"]
    print(f"pause: {took:.2f} s")
    assert took < LEFT_S
    boxes[0].holder("bbbbbbbb", 1)
    assert asks.listen(1.5) == []


def test_a_box_that_does_not_serve_leaves_the_name_to_any_other(lab, site):
    a, b = lab.machine("a"), lab.machine("b")
    asks, boxes = resolver(lab), [site("a"), site("b")]
    asks.leads(a)
    boxes[1].holder("aaaaaaaa")
    boxes[0].tell("error")
    assert asks.leads(b)["at"] - boxes[0].wait("told")["at"] < LEFT_S
    boxes[1].tell("pause 1")
    boxes[1].wait("paused")
    asks.leads(b, 2.5)
    boxes[0].tell("well")
    boxes[0].wait("told")
    boxes[1].tell("ready 0")
    assert asks.leads(a)["at"] - boxes[1].wait("ready")["at"] < LEFT_S
    boxes[1].tell("ready 1")
    boxes[0].tell("hang 5")
    hangs = boxes[0].wait("hangs")["at"]
    took = asks.leads(b)["at"] - hangs
    print(f"a loop that hangs: {took:.2f} s")
    assert took < 5


def test_a_box_that_is_alone_holds_the_name_also_in_an_error_and_another_site_does_not_take_it(lab, site):
    a, b = lab.machine("a"), lab.machine("b")
    asks, box = resolver(lab), site("a")
    box.tell("error")
    began = box.wait("told")["at"]
    took = asks.leads(a)["at"] - began
    print(f"first holder of a network: {took:.2f} s")
    other = b.box(box_id="00000000", site_id="0thers1t")
    reason = other.reasons("is called home.local")[0]
    assert "give all boxes of the site another name" in reason
    assert asks.listen(0.5) == []
    cut = box.kill()
    asks.leads(b)
    other.reasons("")
    print(f"another site takes it when it is free: {other.facts[-1]['at'] - cut:.2f} s")


def test_when_a_partition_heals_the_lower_id_keeps_the_name(lab, site):
    a, b = lab.machine("a"), lab.machine("b")
    asks, boxes = resolver(lab), [site("a"), site("b")]
    asks.leads(a)
    boxes[1].holder("aaaaaaaa")
    lab.cable(b, "nomaster")
    boxes[1].holder("bbbbbbbb")
    time.sleep(1.5)
    observer = lab.machine("d").observe()
    lab.cable(b, "master", "br0")
    healed = time.monotonic()
    goodbye = observer.record(NAME, value=b.address, ttl=0)["at"]
    boxes[1].holder("aaaaaaaa")
    print(f"healed: one holder after {goodbye - healed:.2f} s")
    assert goodbye - healed < TAKEN_S
    told = [fact for fact in observer.listen(1.6) if fact.get("record") == NAME and fact["ttl"]]
    assert {fact["value"] for fact in told} <= {None, a.address, a.address6}
    boxes[0].listen(0.01)
    assert holders(*boxes) == [1, 1]
    assert asks.facts[-1]["resolved"] == [a.address, a.address6]


def test_an_address_that_changes_stays_with_the_holder(lab, site):
    a = lab.machine("a")
    asks, boxes = resolver(lab), [site("a"), site("b")]
    asks.leads(a)
    boxes[1].holder("aaaaaaaa")
    time.sleep(0.5)
    observer, avahi = lab.machine("d").observe(), lab.machine("e").avahi(AVAHI)
    avahi.resolves(a.address)
    old = a.address
    a.address = "10.77.0.91"
    a.ip("addr", "add", f"{a.address}/24", "dev", "eth0")
    a.ip("addr", "del", f"{old}/24", "dev", "eth0")
    changed, changed_up = time.monotonic(), up()
    assert observer.record(NAME, value=old, ttl=0)["value"] == old
    took = asks.leads(a)["at"] - changed
    took_avahi = avahi.resolves(a.address) - changed_up
    print(f"another address: asked {took:.2f} s, avahi {took_avahi:.2f} s")
    assert max(took, took_avahi) < TAKEN_S
    assert asks.listen(1) == []
    assert holders(*boxes)[1] == 0


@pytest.mark.alone
def test_a_stranger_keeps_the_name_and_gets_no_fight(lab, site):
    a, b, d = lab.machine("a"), lab.machine("b"), lab.machine("d")
    asks, box = resolver(lab), site("a")
    asks.leads(a)
    b.side("be", ["home", b.address, False]).end()
    observer = d.observe()
    assert observer.record(NAME, value=a.address)["ttl"] > 0, "said once, nothing is taken"
    b.side("be", ["home", b.address, True])
    observer.record(NAME, value=a.address, ttl=0)
    reason = box.reasons("is called home.local")[0]
    assert b.address in reason
    told = [fact for fact in observer.listen(1.5) if fact.get("record") == NAME and fact["ttl"]]
    assert {fact["value"] for fact in told} <= {b.address}, "no fight"


def test_peers_are_told_where_they_are_when_they_come_and_change_and_come_back(lab, site):
    a = lab.machine("a")
    box, other = site("a"), lab.machine("c").box(box_id="cccccccc", site_id="0thers1t")
    other.event("announced")
    box.event("announced")
    began = time.monotonic()
    b = lab.machine("b")
    peer = site("b", port=4711)
    fact = box.wait("peer")
    print(f"a peer is found {fact['at'] - began:.2f} s after its process was started")
    assert (fact["peer"], fact["addresses"], fact["port"]) == ("bbbbbbbb", [b.address, b.address6], 4711)
    assert peer.wait("peer")["addresses"] == [a.address, a.address6]
    b.ip("addr", "add", "10.77.0.92/24", "dev", "eth0")
    changed = time.monotonic()
    while "10.77.0.92" not in (fact := box.wait("peer"))["addresses"]:
        pass
    print(f"its new address: {fact['at'] - changed:.2f} s")
    peer.kill()
    assert not [fact for fact in box.facts if fact.get("peer", "bbbbbbbb") != "bbbbbbbb"]
