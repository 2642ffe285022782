"""Putting the box on a Wi-Fi network.

There is one way, NetworkManager by its `nmcli` command; where that is not to be had, `problem` says so. The
password goes to nmcli's standard input (`--ask`), never into its arguments, which every user of a machine
can read. nmcli reads it like a keyboard, so control characters are refused before.

A profile that an attempt has made and that did not work is removed again: what is left are networks that
worked once, and that is how `configured` knows that the box was set up.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import trio

from appliance.console.process import Answer, ask, environment

CONNECT_S = 25.0
"""Clients in browsers wait for 30 s."""

SCAN_S = 20.0
LOOK_S = 5.0
HIDDEN_AGAIN_S = 4.0
HIDDEN_ATTEMPTS = 2
NETWORKS_MAX = 64
SSID_OCTETS_MAX = 32
PASSWORD_OCTETS_MAX = 128
REASON_CHARS_MAX = 200

NOT_RUNNING, NOT_FOUND, TIMED_OUT = 8, 10, 3
"""Of nmcli's exit codes."""


class WifiError(Exception):
    """It did not work; says what is wrong and what to do."""


@dataclass(frozen=True, slots=True)
class Network:
    """What a scan has found. `signal_dbm` is about -100 (hardly there) to -40 (near)."""

    ssid: bytes
    signal_dbm: int
    secured: bool

    @property
    def name(self) -> str:
        """The SSID for people: what does not print is replaced."""
        text = self.ssid.decode("utf-8", "replace")
        return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


class Wifi(Protocol):
    """What can put the box on a network. All of these take a few seconds at most, `connect` CONNECT_S."""

    async def problem(self) -> str | None:
        """Why there is no Wi-Fi here, and what to do; None if there is."""
        ...

    async def scan(self) -> list[Network]:
        """The networks in reach, the strongest first, each once. Raises WifiError."""
        ...

    async def connect(self, ssid: bytes, password: str) -> None:
        """Join a network and keep it for the next start. Raises WifiError. A cancelled attempt may have
        worked.
        """
        ...

    async def configured(self) -> bool:
        """Whether the box knows a network that it has been on. Raises WifiError."""
        ...

    async def connected(self) -> bool:
        """Whether the box is on a Wi-Fi network now. Raises WifiError."""
        ...


class NoWifi:
    """Nowhere to connect to, and why."""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    async def problem(self) -> str | None:
        return self._reason

    async def scan(self) -> list[Network]:
        raise WifiError(self._reason)

    async def connect(self, ssid: bytes, password: str) -> None:
        raise WifiError(self._reason)

    async def configured(self) -> bool:
        return False

    async def connected(self) -> bool:
        return False


class NetworkManager:
    """NetworkManager, by nmcli (tried with 1.42). `connect_s` is what an attempt may take, `look_s` what a
    question may.
    """

    def __init__(self, connect_s: float = CONNECT_S, look_s: float = LOOK_S) -> None:
        self._connect_s = connect_s
        self._look_s = look_s

    async def problem(self) -> str | None:
        try:
            kinds = await self._lines(["-f", "TYPE", "device"])
        except WifiError as error:
            return str(error)
        if ["wifi"] not in kinds:
            return "there is no Wi-Fi device in this box, or NetworkManager does not manage it"
        return None

    async def scan(self) -> list[Network]:
        found: dict[bytes, Network] = {}
        fields = "SSID-HEX,SIGNAL,SECURITY"
        for line in await self._lines(["-f", fields, "device", "wifi", "list", "--rescan", "yes"], SCAN_S):
            network = parse_network(line)
            if network is None:
                continue
            known = found.get(network.ssid)
            if known is None or known.signal_dbm < network.signal_dbm:
                found[network.ssid] = network
        return sorted(found.values(), key=lambda network: -network.signal_dbm)[:NETWORKS_MAX]

    async def connect(self, ssid: bytes, password: str) -> None:
        check(ssid, password)
        before = await self._profiles()
        deadline = trio.current_time() + self._connect_s
        try:
            await self._join(ssid, password, deadline)
        except WifiError:
            for profile in await self._profiles() - before:
                await self._nmcli(["connection", "delete", "uuid", profile])
            raise

    async def configured(self) -> bool:
        return bool(await self._profiles())

    async def connected(self) -> bool:
        return ["wifi", "connected"] in await self._lines(["-f", "TYPE,STATE", "device"])

    async def _join(self, ssid: bytes, password: str, deadline: float) -> None:
        hidden: list[str] = []
        for attempt in range(1 + HIDDEN_ATTEMPTS):
            left_s = max(deadline - trio.current_time(), 1.0)
            options = ["--wait", str(max(int(left_s) - 1, 1)), "--ask"]
            words: list[str | bytes] = [*options, "device", "wifi", "connect", ssid, *hidden]
            answer = await self._nmcli(words, left_s, password.encode() + b"\n")
            if answer.code == 0:
                return
            if answer.code != NOT_FOUND or attempt == HIDDEN_ATTEMPTS:
                raise WifiError(why(answer, ssid, password))
            hidden = ["hidden", "yes"]
            await trio.sleep(
                min(HIDDEN_AGAIN_S, max(deadline - trio.current_time() - 2, 0)) if attempt else 0
            )

    async def _profiles(self) -> set[str]:
        """The Wi-Fi networks that NetworkManager knows, by UUID."""
        lines = await self._lines(["-f", "UUID,TYPE", "connection", "show"])
        return {line[0] for line in lines if line[1:] == ["802-11-wireless"]}

    async def _lines(self, words: Sequence[str], limit_s: float | None = None) -> list[list[str]]:
        """What nmcli lists. Raises WifiError."""
        answer = await self._nmcli(["-t", *words], limit_s)
        if answer.code != 0:
            raise WifiError(why(answer))
        return [fields(line) for line in answer.output.splitlines()]

    async def _nmcli(
        self, words: Sequence[str | bytes], limit_s: float | None = None, password: bytes = b""
    ) -> Answer:
        try:
            return await ask(
                ["nmcli", *words], environment(INPUTRC="/dev/null"), limit_s or self._look_s, password
            )
        except FileNotFoundError:
            raise WifiError(
                "NetworkManager is not installed (there is no nmcli): set the network up in the system"
            ) from None
        except OSError as error:
            raise WifiError(f"nmcli cannot be run: {error.strerror}") from None


def check(ssid: bytes, password: str) -> None:
    """Raises WifiError for what can be no network's name or password."""
    if not 0 < len(ssid) <= SSID_OCTETS_MAX or b"\0" in ssid:
        raise WifiError(f"a network's name has 1 to {SSID_OCTETS_MAX} octets")
    if len(password.encode()) > PASSWORD_OCTETS_MAX:
        raise WifiError(f"a Wi-Fi password has at most {PASSWORD_OCTETS_MAX} octets")
    if any(unicodedata.category(char) == "Cc" for char in password):
        raise WifiError("a Wi-Fi password has no control characters in it")


def why(answer: Answer, ssid: bytes = b"", password: str = "") -> str:
    """What is wrong, in words; never with the password among them."""
    if answer.why == "time limit" or answer.code == TIMED_OUT:
        return "it took too long: the password may be wrong, or the network out of reach; try again"
    if answer.code == NOT_RUNNING or "NMClient" in answer.errors:
        return "NetworkManager is not running: start it with   systemctl start NetworkManager"
    if answer.code == NOT_FOUND and ssid:
        return f"there is no network {Network(ssid, 0, False).name} in reach: see   wifi scan"
    if "ecrets were required" in answer.errors or not answer.errors.strip():
        return "the network did not take the password: check it and try again"
    lines = answer.errors.strip().splitlines()
    said = next((line for line in lines if line.startswith("Error: ")), lines[-1]).removeprefix("Error: ")
    said = "".join(char for char in said if char.isprintable())[:REASON_CHARS_MAX]
    return f"NetworkManager says: {said.replace(password, '...') if password else said}"


def fields(line: str) -> list[str]:
    """The fields of a line of `nmcli -t`: between colons, with a backslash before what is meant as it is."""
    found = [""]
    chars = iter(line)
    for char in chars:
        if char == ":":
            found.append("")
        else:
            found[-1] += next(chars, "") if char == "\\" else char
    return found


def parse_network(line: Sequence[str]) -> Network | None:
    """A network of a scan; None for hidden ones and what cannot be read."""
    try:
        ssid_hex, signal, security = line
        ssid, percent = bytes.fromhex(ssid_hex), int(signal)
    except ValueError:
        return None
    if not 0 < len(ssid) <= SSID_OCTETS_MAX or not 0 <= percent <= 100:
        return None
    return Network(ssid, dbm(percent), bool(security.strip("- ")))


def dbm(percent: int) -> int:
    """NetworkManager takes -100 to -40 dBm for 0 to 100 %."""
    return round(percent * 0.6) - 100


def find_wifi(kind: str, connect_s: float = CONNECT_S) -> Wifi:
    """`kind` is "auto" or "off"."""
    if kind == "off":
        return NoWifi("Wi-Fi is off in the configuration: see console.wifi")
    return NetworkManager(connect_s)
