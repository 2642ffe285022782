"""Another implementation of mDNS sees what we announce, and we see it."""

import pytest

pytestmark = pytest.mark.root

BROWSE = "avahi-browse --resolve --parsable --no-db-lookup --terminate"


def test_avahi_finds_the_box_and_its_addresses_and_forgets_it_at_its_goodbye(lab):
    a, b = lab.machine("a"), lab.machine("b")
    box = a.box(site="Müller", box_id="k7d2m9qa", port=4711)
    box.tell("pair 30")
    avahi = b.avahi(
        f"read; {BROWSE} _tmtp._tcp > /run/all & {BROWSE} _tmtp-pair._tcp; wait $!; cat /run/all;"
        "avahi-resolve-host-name -4 muller.local; avahi-resolve-host-name -6 muller.local;"
        "echo resolved; avahi-browse --parsable --no-db-lookup _tmtp._tcp"
    )
    box.event("announced")
    avahi.tell("go")
    avahi.line("resolved")
    lines = [fact.get("text", "") for fact in avahi.facts]
    for kind in ("_tmtp._tcp", "_tmtp-pair._tcp"):
        found = [line for line in lines if line.startswith("=;eth0;IPv4;") and f";{kind};" in line]
        assert len(found) == 1, lines
        _, _, _, name, _, _, host, address, port, text = found[0].split(";")
        assert (name, host, port) == (r"M\195\188ller", "muller.local", "4711")
        assert address in (a.address, a.address6)
        assert sorted(text.split()) == ['"id=k7d2m9qa"', '"txtvers=1"', '"version=1.2.3"']
    assert f"muller.local\t{a.address}" in lines
    assert f"muller.local\t{a.address6}" in lines
    avahi.line("+;eth0;IPv4;")
    box.tell("stop")
    avahi.line("-;eth0;IPv4;", timeout_s=2)


def test_a_name_that_avahi_publishes_is_not_taken_from_it(lab):
    a, b = lab.machine("a"), lab.machine("b")
    other = b.avahi("avahi-publish -s Home _tmtp._tcp 99 & avahi-publish -a -R home.local 10.77.0.2; wait")
    other.line("Established under name")
    other.line("Established under name")
    box = a.box().event("announced")
    assert (box["name"], box["host"]) == ("Home (2)", "home-2.local")


def test_avahi_does_not_take_the_boxs_name(lab):
    a, b = lab.machine("a"), lab.machine("b")
    box = a.box()
    avahi = b.avahi("read; avahi-publish -s Home _tmtp._tcp 99")
    box.event("announced")
    avahi.tell("go")
    avahi.line("Established under name 'Home #2'")
    assert not [fact for fact in box.facts if "taken" in fact.get("event", "")]
