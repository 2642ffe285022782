"""NetworkManager by nmcli, or by what stands in for it."""

import time

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from appliance.console import wifi
from appliance.console.wifi import Network, NetworkManager, NoWifi, WifiError, dbm, fields, find_wifi


def test_a_scan_gives_each_network_once_the_strongest_first(nmcli):
    assert trio.run(NetworkManager().scan) == [
        Network(b"Home", dbm(90), True),
        Network("Café".encode(), dbm(31), False),
    ]


def test_a_network_is_joined_and_the_password_is_nobodys_to_read(nmcli):
    trio.run(NetworkManager().connect, b"Home", "sesame street")
    assert nmcli.state["connected"] == "Home"
    words, said, env = next(asked for asked in nmcli.asked if "connect" in asked[0])
    assert words[-5:] == ["--ask", "device", "wifi", "connect", "Home"]
    assert said == "sesame street"
    assert not any("sesame" in text for text in [*words, *env.values()])
    assert trio.run(NetworkManager().connected)
    assert trio.run(NetworkManager().configured)


def test_an_open_network_is_joined_without_a_password(nmcli):
    trio.run(NetworkManager().connect, "Café".encode(), "")
    assert nmcli.state["connected"] == "Café"


def test_a_network_that_hides_is_joined(nmcli, monkeypatch):
    monkeypatch.setattr(wifi, "HIDDEN_AGAIN_S", 0)
    trio.run(NetworkManager().connect, b"Cellar", "no light here")
    assert nmcli.state["connected"] == "Cellar"


def test_a_wrong_password_is_told_and_leaves_nothing_behind(nmcli):
    with pytest.raises(WifiError, match="did not take the password"):
        trio.run(NetworkManager().connect, b"Home", "open sesame")
    assert nmcli.state["profiles"] == []
    assert not trio.run(NetworkManager().configured)


def test_a_failure_leaves_the_profiles_that_were_there(nmcli):
    nmcli.set(profiles=["Old"])
    with pytest.raises(WifiError):
        trio.run(NetworkManager().connect, b"Home", "open sesame")
    assert nmcli.state["profiles"] == ["Old"]


def test_a_network_that_is_not_there_is_told(nmcli, monkeypatch):
    monkeypatch.setattr(wifi, "HIDDEN_AGAIN_S", 0)
    with pytest.raises(WifiError, match="there is no network Nowhere in reach"):
        trio.run(NetworkManager().connect, b"Nowhere", "open sesame")


def test_what_nmcli_says_is_told_without_the_password(nmcli):
    nmcli.set(refusal="Warning: x\nError: 'open sesame' is no\x1b[2J valid PSK.\n.")
    with pytest.raises(WifiError) as raised:
        trio.run(NetworkManager().connect, b"Home", "open sesame")
    assert str(raised.value) == "NetworkManager says: '...' is no[2J valid PSK."


@pytest.mark.parametrize("hangs", ["connect", "always"])
def test_an_nmcli_that_hangs_is_given_up(nmcli, hangs):
    nmcli.set(hangs=hangs)
    start = time.monotonic()
    with pytest.raises(WifiError, match="took too long"):
        trio.run(NetworkManager(connect_s=1.0, look_s=0.5).connect, b"Home", "sesame street")
    assert time.monotonic() - start < 5


def test_a_network_manager_that_does_not_run_is_told(nmcli):
    nmcli.set(running=False)
    assert "NetworkManager is not running" in str(trio.run(NetworkManager().problem))
    with pytest.raises(WifiError, match="NetworkManager is not running"):
        trio.run(NetworkManager().scan)


def test_a_box_without_wifi_says_so(nmcli):
    nmcli.set(devices=["ethernet", "loopback"])
    assert "there is no Wi-Fi device in this box" in str(trio.run(NetworkManager().problem))
    nmcli.set(devices=["ethernet", "wifi"])
    assert trio.run(NetworkManager().problem) is None


def test_without_nmcli_it_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "NetworkManager is not installed" in str(trio.run(NetworkManager().problem))


def test_off_says_so():
    off = find_wifi("off")
    assert "off in the configuration" in str(trio.run(off.problem))
    for attempt in (off.scan, lambda: off.connect(b"Home", "x")):
        with pytest.raises(WifiError, match="off in the configuration"):
            trio.run(attempt)
    assert isinstance(off, NoWifi)
    assert not trio.run(off.configured)
    assert not trio.run(off.connected)


@pytest.mark.parametrize(
    ("ssid", "password"),
    [
        (b"", "x"),
        (b"x" * 33, "x"),
        (b"a\0b", "x"),
        (b"Home", "x" * 129),
        (b"Home", "a\x15b"),
        (b"Home", "a\nb"),
    ],
)
def test_what_can_be_no_network_does_not_reach_nmcli(nmcli, ssid, password):
    with pytest.raises(WifiError):
        trio.run(NetworkManager().connect, ssid, password)
    assert nmcli.asked == []


def test_names_that_look_like_options_are_names(nmcli):
    nmcli.set(networks=[["--help", "sesame street"]])
    trio.run(NetworkManager().connect, b"--help", "sesame street")
    assert nmcli.state["connected"] == "--help"


def test_what_does_not_print_is_not_shown_in_a_name():
    assert Network(b"a\x1b[2Jb\xff", -50, True).name == "a\ufffd[2Jb\ufffd"


@given(st.lists(st.text(max_size=10), min_size=1, max_size=5))
def test_fields_come_back_as_they_were(texts):
    line = ":".join(text.replace("\\", "\\\\").replace(":", "\\:") for text in texts)
    assert fields(line) == texts


@given(st.text())
def test_no_line_does_harm(line):
    wifi.parse_network(fields(line))
