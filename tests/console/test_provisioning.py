"""A browser puts the box on the Wi-Fi over the console's port, with people typing on it at the same time."""

import time

import pytest

from appliance.version import __version__
from tests.console.browser import Browser, Refused
from tests.console.cable import console

STOPPED, LOCKED, AUTHORIZED, PROVISIONING, PROVISIONED = range(5)
INVALID, UNKNOWN_RPC, UNABLE, NOT_AUTHORIZED, UNKNOWN = 1, 2, 3, 4, 255


def test_a_new_box_is_put_on_the_wifi(tmp_path, nmcli):
    with console(tmp_path) as (_, person, _):
        browser = Browser(person)
        assert browser.state() == AUTHORIZED
        name, version, _, device = browser.info()
        assert (name, version, device) == ("Pocket", __version__, "Müller & Söhne")
        assert browser.networks() == [("Home", "-46", "YES"), ("Café", "-81", "NO")]
        assert browser.join("Home", "sesame street") == []
        assert browser.states[-2:] == [PROVISIONING, PROVISIONED]
        assert nmcli.state["connected"] == "Home"
        assert browser.state() == PROVISIONED
        assert b"sesame" not in browser.text


def test_a_wrong_password_may_be_corrected(tmp_path, nmcli):
    with console(tmp_path) as (_, person, _):
        browser = Browser(person)
        with pytest.raises(Refused, match=str(UNABLE)):
            browser.join("Home", "open sesame")
        assert browser.packet() == (1, bytes([AUTHORIZED]))
        assert browser.join("Home", "sesame street") == []


def test_a_box_that_knows_a_network_is_locked(tmp_path, nmcli):
    nmcli.set(profiles=["Old"])
    with console(tmp_path) as (running, person, _):
        browser = Browser(person)
        assert browser.state() == LOCKED
        for attempt in (browser.networks, lambda: browser.join("Home", "sesame street")):
            with pytest.raises(Refused, match=str(NOT_AUTHORIZED)):
                attempt()
        assert browser.packet() == (1, bytes([LOCKED]))
        assert browser.info()[0] == "Pocket"
        nmcli.set(connected="Old")
        assert browser.state() == PROVISIONED
        running.unlocked = True
        assert browser.packet() == (1, bytes([AUTHORIZED]))
        assert browser.join("Home", "sesame street") == []
        running.unlocked = False
        assert browser.packet() == (1, bytes([PROVISIONED]))
        with pytest.raises(Refused, match=str(NOT_AUTHORIZED)):
            browser.join("Café", "")


def test_a_box_that_has_an_owner_is_locked(tmp_path, nmcli):
    with console(tmp_path, status={"members": 1}) as (running, person, _):
        browser = Browser(person)
        assert browser.state() == LOCKED
        with pytest.raises(Refused, match=str(NOT_AUTHORIZED)):
            browser.join("Home", "sesame street")
        assert not [asked for asked in nmcli.asked if "connect" in asked[0]]
        running.unlocked = True
        assert browser.state() == AUTHORIZED


def test_a_box_that_does_not_know_whether_it_has_an_owner_lets_nobody_in(tmp_path, nmcli):
    with console(tmp_path, status={"site": OSError("broken")}) as (_, person, _):
        with pytest.raises(Refused, match=str(UNKNOWN)):
            Browser(person).join("Home", "sesame street")
        assert not [asked for asked in nmcli.asked if "connect" in asked[0]]


def test_a_box_without_wifi_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with console(tmp_path, unlocked=True) as (_, person, _):
        browser = Browser(person)
        assert browser.state() == STOPPED
        with pytest.raises(Refused, match=str(UNKNOWN)):
            browser.networks()
        with pytest.raises(Refused, match=str(UNABLE)):
            browser.join("Home", "sesame street")
        person.types("\x15wifi\r")
        person.sees("NetworkManager is not installed")


def test_an_attempt_that_hangs_ends_and_meanwhile_the_state_is_told(tmp_path, nmcli):
    nmcli.set(hangs="connect")
    with console(tmp_path, wifi_connect_s=2.0) as (_, person, _):
        browser = Browser(person)
        browser.ask(1, b"\x04Home\x01x")
        assert [browser.packet(), browser.packet()] == [(2, b"\x00"), (1, bytes([PROVISIONING]))]
        assert browser.state() == PROVISIONING
        with pytest.raises(Refused, match=str(UNKNOWN)):
            browser.join("Home", "sesame street")
        with pytest.raises(Refused, match=str(UNABLE)):
            browser.answer(1)


def test_a_pulled_cable_does_not_end_an_attempt(tmp_path, nmcli):
    with console(tmp_path) as (_, person, cable):
        browser = Browser(person)
        browser.ask(1, b"\x04Home\x0dsesame street")
        assert [browser.packet(), browser.packet()] == [(2, b"\x00"), (1, bytes([PROVISIONING]))]
        cable.unplug()
        deadline = time.monotonic() + 10
        while nmcli.state["connected"] is None:
            assert time.monotonic() < deadline
            time.sleep(0.05)


@pytest.mark.parametrize(
    ("data", "error"),
    [(b"\x01\x00", INVALID), (b"\x02\x07", INVALID), (b"\x05\x00", UNKNOWN_RPC), (b"", INVALID)],
)
def test_what_cannot_be_understood_is_refused(tmp_path, nmcli, data, error):
    with console(tmp_path) as (_, person, _):
        browser = Browser(person)
        browser.send(data)
        assert browser.packet() == (2, bytes([error]))
        assert browser.state() == AUTHORIZED


def test_a_damaged_packet_is_refused_and_a_half_one_given_up(tmp_path, nmcli):
    with console(tmp_path) as (_, person, _):
        browser = Browser(person)
        person.types(b"IMPROV\x01\x03\x02\x02\x00\xff\n")
        assert browser.packet() == (2, bytes([INVALID]))
        person.types(b"IMPROV\x01\x03\x20\x01\x1e\x04Home\x0dsesame")
        assert browser.packet() == (2, bytes([INVALID]))
        assert browser.state() == AUTHORIZED
        assert b"sesame" not in browser.text


def test_packets_that_a_box_sends_are_not_answered(tmp_path, nmcli):
    with console(tmp_path) as (_, person, _):
        browser = Browser(person)
        for kind in (1, 2, 4, 9):
            browser.send(b"\x02\x00", kind)
        person.reads(1.0)
        assert person.seen == b""


def test_people_and_browsers_share_a_port(tmp_path, nmcli):
    with console(tmp_path) as (_, person, _):
        browser = Browser(person)
        person.types("\rIMP")
        assert browser.state() == AUTHORIZED
        person.types("ORT \x15sta")
        assert browser.info()[0] == "Pocket"
        person.types("tus\r")
        person.sees(r"said \['status'\]")


def test_who_types_the_magic_sees_it(tmp_path):
    with console(tmp_path) as (_, person, _):
        person.types("\r")
        person.sees("^pocket> ")
        person.types("IMPROV")
        person.sees("IMPROV", seconds=2)
        person.types("E\r")
        person.sees("there is no word 'IMPROVE'")


def test_a_person_joins_a_network_and_the_password_is_not_shown(tmp_path, nmcli, caplog):
    with console(tmp_path) as (_, person, _):
        person.types("\rwifi\r")
        person.sees("^not connected")
        person.types("wifi scan\r")
        person.sees("^-46 dBm  password  Home\r\n-81 dBm  open      Café\r\npocket> ")
        person.types("wifi join Home\r")
        person.sees("^password .*> ")
        person.types("sesame street\r")
        seen = person.sees("^connected\r\npocket> ")
        person.types("\x1b[A")
        seen += person.sees("wifi join Home")
        assert "sesame" not in seen
    assert "sesame" not in caplog.text
    assert nmcli.state["connected"] == "Home"


def test_a_person_who_moves_a_box_that_is_set_up_is_asked_first(tmp_path, nmcli):
    with console(tmp_path, status={"members": 2}) as (_, person, _):
        person.types("\rwifi join Home\r")
        person.sees("the box is set up already: type the site's name")
        person.types("\x03")
        person.sees("it was not done")
        person.types("wifi join Home\rMüller & Söhne\rsesame street\r")
        person.sees("^connected")


def test_what_is_wrong_with_the_wifi_is_told_to_people(tmp_path, nmcli):
    with console(tmp_path) as (_, person, _):
        person.types("\rwifi join Home\rwrong\r")
        person.sees("did not take the password")
        person.types("wifi join Home\r\x03")
        person.sees("it was not done")
        person.types("wifi eat\r")
        person.sees("wifi takes")
