"""What is heard from others, judged; and packets at a bounded rate."""

from typing import Any

import pytest
from zeroconf import (  # type: ignore[attr-defined]
    DNSAddress,
    DNSPointer,
    DNSService,
    DNSText,
    RecordUpdate,
    ServiceInfo,
)

from appliance.discovery.dns import text_value
from appliance.discovery.ear import FACTS_MAX, NAMES_MAX, Ear, Verdict, Watch
from appliance.discovery.found import found_in
from appliance.discovery.gate import BURST_OCTETS, RATE_OCTETS_PER_S, WAIT_MAX_S, Bucket, Gate
from appliance.discovery.names import SERVICE, first_names

OWN, OTHER = bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2])
HOME = f"Home.{SERVICE}"
UNIQUE = 0x8001


class Case:
    def __init__(self, *, held, box_id="55555555"):
        self.woken = 0
        self.ear = Ear(self.wake)
        self.ear.watch(Watch(first_names("Home", "", box_id), 4433, frozenset([OWN]), frozenset([OWN]), held))

    def wake(self):
        self.woken += 1

    def hear(self, *records):
        self.hear_updates(*(RecordUpdate(record, None) for record in records))
        return self

    def hear_updates(self, *updates: Any) -> None:
        library: Any = None
        self.ear.async_update_records(library, 0, list(updates))


def text(box_id, name=HOME, ttl=4500):
    entry = b"\x09txtvers=1" + (b"\x0bid=" + box_id.encode() if box_id else b"")
    return DNSText(name, 16, UNIQUE, ttl, entry)


def service(target="home.local.", port=4433, name=HOME, ttl=120):
    return DNSService(name, 33, UNIQUE, ttl, 0, 0, port, target)


def address(packed, name="home.local.", ttl=120):
    return DNSAddress(name, 1, UNIQUE, ttl, packed)


def pointer(ttl=4500):
    return DNSPointer(SERVICE, 12, 1, ttl, HOME)


@pytest.mark.parametrize(
    ("heard", "before", "held"),
    [
        ([], Verdict(), Verdict()),
        ([text("55555555"), service(), address(OWN)], Verdict(), Verdict()),
        ([text("66666666")], Verdict(instance=True), Verdict()),
        ([text("44444444")], Verdict(instance=True), Verdict(instance=True)),
        ([text("")], Verdict(instance=True), Verdict(instance=True)),
        ([service("other.local.")], Verdict(instance=True), Verdict(instance=True)),
        ([service(port=9)], Verdict(instance=True), Verdict(instance=True)),
        ([service("other.local."), text("66666666")], Verdict(instance=True), Verdict()),
        ([address(OTHER)], Verdict(host=True), Verdict(host=True)),
        ([text("66666666"), address(OTHER)], Verdict(True, True), Verdict()),
        ([text("44444444"), address(OTHER)], Verdict(True, True), Verdict(True, True)),
        (
            [service(name=f"Office.{SERVICE}"), text("66666666", f"Office.{SERVICE}"), address(OTHER)],
            Verdict(host=True),
            Verdict(),
        ),
        (
            [service(name=f"Office.{SERVICE}"), text("44444444", f"Office.{SERVICE}"), address(OTHER)],
            Verdict(host=True),
            Verdict(host=True),
        ),
        ([text("44444444", f"Office.{SERVICE}"), address(OTHER, "office.local.")], Verdict(), Verdict()),
        (
            [text("44444444"), DNSPointer(SERVICE, 12, 1, 0, HOME)],
            Verdict(instance=True),
            Verdict(instance=True),
        ),
    ],
)
def test_who_has_a_name(heard, before, held):
    assert Case(held=False).hear(*heard).ear.verdict() == before
    assert Case(held=True).hear(*heard).ear.verdict() == held


@pytest.mark.parametrize(
    "record",
    [
        text("66666666"),
        service("other.local."),
        address(OTHER),
        pointer(ttl=0),
        text("55555555", ttl=0),
        service(ttl=0),
        address(OWN, ttl=0),
    ],
)
def test_who_touches_our_names_wakes_us_once_and_only_if_we_hold_them(record):
    case = Case(held=True).hear(record).hear(record, record)
    assert (case.ear.alarm, case.woken) == (True, 1)
    assert Case(held=False).hear(record).woken == 0


@pytest.mark.parametrize(
    "record",
    [
        text("55555555"),
        service(),
        address(OWN),
        address(OTHER, "office.local."),
        address(OTHER, ttl=0),
        text("66666666", f"Office.{SERVICE}"),
        service("old.local.", ttl=0),
    ],
)
def test_what_is_ours_or_does_not_concern_us_does_not_wake_us(record):
    assert Case(held=True).hear(record).woken == 0


def test_our_own_echo_is_heard_once():
    case = Case(held=True).hear(pointer(), pointer())
    assert (case.ear.echo, case.ear.alarm, case.woken) == (True, False, 1)


def test_late_words_of_ours_from_before_a_change_of_the_host_are_no_rivals():
    case = Case(held=True)
    names = first_names("Home", "", "55555555").after(instance=False, host=True)
    case.ear.watch(Watch(names, 4433, frozenset([OWN]), frozenset([OWN]), True))
    assert case.hear(service("home.local.")).ear.verdict().free
    assert case.woken == 0


def test_what_was_judged_is_forgotten():
    case = Case(held=True).hear(text("44444444"), address(OTHER), service("other.local."))
    case.ear.forget()
    assert case.ear.verdict().free
    assert not case.ear.alarm


def test_what_is_kept_is_bounded_and_the_latest_stays():
    case = Case(held=False)
    for number in range(3 * NAMES_MAX):
        case.hear(
            text(f"{number:08}", f"x{number}.{SERVICE}"), service("x.local.", number, f"x{number}.{SERVICE}")
        )
        case.hear(address(OTHER, f"home-{number}.local."), service("x.local.", number))
    kept: list[dict[str, Any]] = [case.ear._texts, case.ear._targets, case.ear._strangers]
    assert all(len(facts) <= NAMES_MAX for facts in kept)
    assert all(len(each) <= FACTS_MAX for facts in kept for each in facts.values())
    assert case.hear(text("11111111")).ear.verdict().instance


def test_a_record_that_is_not_understood_does_no_harm():
    class Odd:
        @property
        def new(self):
            raise ZeroDivisionError

    case = Case(held=True)
    case.hear_updates(Odd())
    assert case.hear(text("44444444")).ear.verdict().instance


@pytest.mark.parametrize(
    ("octets", "value"),
    [
        (b"\x0bid=k7d2m9qa", "k7d2m9qa"),
        (b"\x09txtvers=1\x0bID=k7d2m9qa", "k7d2m9qa"),
        (b"\x02id", ""),
        (b"\xffid=cut", "cut"),
        (b"\x00\x00\x05id=\xff\xfe", "\ufffd\ufffd"),
        (b"", ""),
    ],
)
def test_the_value_in_a_text(octets, value):
    assert text_value(octets, b"id") == value


def test_what_is_found_is_fit_to_be_shown():
    properties = {"id": "\x1b[2J" + "x" * 100, "version": "1\n2", "txtvers": "1"}
    info = ServiceInfo(
        SERVICE,
        f"Ho\x9bme.{SERVICE}",
        port=1,
        properties=properties,
        server="h\u202e.local.",
        parsed_addresses=["fe80::1", "fd00::1", "10.0.0.9", "169.254.0.1", "10.0.0.1"],
    )
    found = found_in(info, True)
    assert found is not None
    assert (found.name, found.host, found.version, found.pairing) == ("Ho me", "h .local", "1 2", True)
    assert found.id.startswith("[2Jx")
    assert len(found.id) == 64
    assert found.addresses == ("10.0.0.1", "10.0.0.9", "fd00::1", "169.254.0.1", "fe80::1")
    assert found_in(ServiceInfo(SERVICE, HOME, port=1, server="h.local."), False) is None


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_packets_pass_at_once_up_to_a_burst_and_then_at_the_rate():
    clock = Clock()
    bucket = Bucket(clock=clock)
    assert bucket.take(BURST_OCTETS) == 0
    assert bucket.take(1024) == pytest.approx(1024 / RATE_OCTETS_PER_S)
    assert bucket.take(10 * BURST_OCTETS) == WAIT_MAX_S
    clock.now += 3600
    assert bucket.take(BURST_OCTETS) == 0
    assert bucket.take(1024) > 0


def test_the_gate_survives_what_the_library_does_not():
    passed = []

    class Library:
        def datagram_received(self, data, addr):
            passed.append(data)
            raise ZeroDivisionError

    gate = Gate(Library(), Bucket())
    for data in (b"one", b"two"):
        gate.datagram_received(data, ("192.0.2.1", 5353))
    assert passed == [b"one", b"two"]
    gate.error_received(OSError())
