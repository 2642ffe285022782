"""Wi-Fi in a machine without any: radios that the kernel simulates (mac80211_hwsim), two of them access
points, and the box is put on one by Improv over its serial console, as from a browser."""

from __future__ import annotations

from tests.console.browser import Browser, Refused

from .machine import Console
from .panel import Panel
from .progress import step, until
from .shell import Shell

PRESET, OTHER = ("Attic", "correct horse"), ("Cellar", "damp walls")
PRESET_TOML = f'[wifi]\nssid = "{PRESET[0]}"\npsk = "{PRESET[1]}"\n'
AUTHORIZED, PROVISIONED = 2, 4
UNABLE_TO_CONNECT, NOT_AUTHORIZED = 3, 4


PATIENCE_S = 60.0
"""To look for networks takes NetworkManager 15 s here: it waits for the access points to look, too."""


class Cord:
    """What a browser takes for a person's end of a cable."""

    def __init__(self, console: Console) -> None:
        self.serial = console


class PatientBrowser(Browser):
    def packet(self, seconds=PATIENCE_S):
        return super().packet(seconds)


def joined(shell: Shell) -> str:
    """The name of the Wi-Fi network that the box is on."""
    lines = shell.run("nmcli -t -f DEVICE,STATE,CONNECTION device").splitlines()
    found = [line.split(":")[2] for line in lines if line.startswith("wlan0:connected:")]
    return shell.run(f"nmcli -g 802-11-wireless.ssid connection show '{found[0]}'").strip() if found else ""


def refused(browser: Browser, name: str, password: str) -> int:
    """Why the box does not join."""
    try:
        browser.join(name, password)
    except Refused as refusal:
        return int(refusal.args[0])
    raise AssertionError(f"it joined {name} with {password!r}")


def part(shell: Shell, console: Console, seen: Panel) -> None:
    with step("Wi-Fi: the box joins the network that was preset"):
        shell.run("modprobe mac80211_hwsim radios=3")
        until(lambda: shell.run("nmcli -t device").count(":wifi:disconnected:") >= 3, "there are no radios")
        for interface, (name, password), net in (("wlan1", PRESET, "10.77.1"), ("wlan2", OTHER, "10.77.2")):
            shell.leave_running("access_point.py", interface, f"'{name}'", f"'{password}'", net)
        until(lambda: joined(shell) == PRESET[0], "it does not join")
    browser = PatientBrowser(Cord(console))
    with step("Wi-Fi: Improv says so, and changes nothing before somebody presses the button"):
        assert browser.state() == PROVISIONED
        assert refused(browser, *OTHER) == NOT_AUTHORIZED
        seen.hold(0.3)
        assert browser.state() == AUTHORIZED
    with step("Wi-Fi: Improv lists both networks, and says when a password is wrong"):
        found = {name: secured for name, _, secured in browser.networks()}
        assert found == {PRESET[0]: "YES", OTHER[0]: "YES"}, found
        assert refused(browser, OTHER[0], "dry walls") == UNABLE_TO_CONNECT
    with step("Wi-Fi: Improv puts the box on the other network"):
        browser.join(*OTHER)
        assert joined(shell) == OTHER[0]
        assert browser.states[-1] == PROVISIONED
