"""A box in a network of its own kind: real multicast between namespaces."""

import pytest

pytestmark = pytest.mark.root

PAIRING = "_tmtp-pair._tcp.local."
SERVICE = "_tmtp._tcp.local."


def test_a_box_is_found_with_what_it_announces(lab):
    a, b = lab.machine("a"), lab.machine("b")
    a.box(site="Müller & Söhne", box_id="k7d2m9qa", port=4711).event("announced")
    found = b.find()
    assert list(found) == ["Müller & Söhne"]
    box = found["Müller & Söhne"]
    assert (box["host"], box["port"], box["id"]) == ("muller-sohne.local", 4711, "k7d2m9qa")
    assert (box["version"], box["pairing"]) == ("1.2.3", False)
    assert box["addresses"] == [a.address, a.address6]


def test_pairing_is_announced_while_it_is_open_within_250_ms(lab):
    a, b = lab.machine("a"), lab.machine("b")
    box, observer = a.box(), b.observe()
    box.event("announced")
    for seconds in (30, 0.4):
        box.tell(f"pair {seconds}")
        opened = box.wait("paired")["at"]
        assert observer.record(PAIRING, value=f"Home.{PAIRING}", ttl=4500)["at"] - opened < 0.25
        if seconds == 30:
            box.tell("pair 0")
        due = box.wait("paired")["at"] if seconds == 30 else opened + seconds
        assert 0 <= observer.record(PAIRING, value=f"Home.{PAIRING}", ttl=0)["at"] - due < 0.25
        repeated = [fact["ttl"] for fact in observer.listen(0.6) if fact["record"] == PAIRING]
        assert repeated
        assert set(repeated) == {0}
    box.tell("pair 30")
    assert b.find()["Home"]["pairing"]


def test_goodbye_is_quick(lab):
    a, b = lab.machine("a"), lab.machine("b")
    box, observer = a.box(), b.observe()
    box.event("announced")
    box.tell("stop")
    stopping = box.wait("stopping")["at"]
    assert observer.record(SERVICE, value=f"Home.{SERVICE}", ttl=0)["at"] - stopping < 0.3
    assert observer.record("home.local.", value=a.address, ttl=0)["at"] - stopping < 0.3
    assert box.wait("stopped")["at"] - stopping < 0.5


def test_a_change_of_addresses_is_told_at_once_and_link_local_ones_where_there_is_nothing_better(lab):
    a, b = lab.machine("a"), lab.machine("b")
    box, observer = a.box(), b.observe()
    box.event("announced")
    a.ip("addr", "add", "10.77.0.91/24", "dev", "eth0")
    a.ip("addr", "add", "fd77::91/64", "dev", "eth0", "nodad")
    assert observer.record("home.local.", value="10.77.0.91")["ttl"] > 0
    a.ip("addr", "del", f"{a.address}/24", "dev", "eth0")
    a.ip("addr", "del", f"{a.address6}/64", "dev", "eth0")
    observer.record("home.local.", value=a.address, ttl=0)
    assert b.find()["Home"]["addresses"] == ["10.77.0.91", "fd77::91"]
    a.ip("addr", "flush", "dev", "eth0", "scope", "global")
    a.ip("addr", "add", "169.254.7.7/16", "dev", "eth0", "scope", "link")
    observer.record("home.local.", value="169.254.7.7")
    v4, v6 = b.find()["Home"]["addresses"]
    assert v4 == "169.254.7.7"
    assert v6.startswith("fe80::")
    assert "%" in v6


def test_a_cable_that_is_pulled_and_put_back_and_another_interface(lab):
    a, b = lab.machine("a"), lab.machine("b")
    box = a.box()
    box.event("announced")
    lab.cable(a, "down")
    box.reasons("check the cable")
    a.ip("addr", "flush", "dev", "eth0")
    lab.cable(a, "up")
    lab.plug(a, "wlan0")
    a.address_on("wlan0")
    box.event("announced")
    box.reasons("")
    assert b.find()["Home"]["addresses"] == [a.address, a.address6]


def test_without_multicast_the_box_goes_on_says_so_once_and_is_announced_when_there_is(lab):
    d, b = lab.machine("d", plugged=False), lab.machine("b")
    box = d.box()
    assert "typing the address" in box.reasons("cannot find this box")[0]
    box.tell("busy")
    assert box.wait("late_s")["late_s"] < 0.2
    box.listen(2.2)
    assert len([fact for fact in box.facts if "not announced" in fact.get("event", "")]) == 1
    lab.plug(d)
    d.address_on()
    box.event("announced")
    box.reasons("")
    assert b.find()["Home"]["addresses"] == [d.address, d.address6]
