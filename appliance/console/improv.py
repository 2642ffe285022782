"""Improv over serial, sans-I/O: how a browser puts a new box on the Wi-Fi. The standard is at
https://www.improv-wifi.com/serial/.

    "IMPROV" | version 1 | type | length | data ... | checksum      one octet each but for the magic and data

The checksum is the sum of all octets before it, modulo 256. The port is shared with people who type: a
`Splitter` takes packets out of what arrives, and gives back everything else, in order. Clients end a packet
with a line feed, and find ours only at the beginning of a line; so ours stand between line feeds, and theirs
is taken out.

What people type may begin like a packet. So as long as only the magic is there, the octets are held back
until the next ones decide, or until `HOLD_S` of silence (`flush`). After the version octet, which nobody
types, it is a packet; one that is not whole after `PACKET_S` is dropped, never shown, for there may be a
password in it.

The state "authorization required", its error, and "stopped" are not in the text about serial lines: the
first two are in the standard's text about Bluetooth, the last is in its own client for browsers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

MAGIC = b"IMPROV"
VERSION = 1
HEAD = MAGIC + bytes([VERSION])
OVERHEAD_OCTETS = len(HEAD) + 3
"""Type, length and checksum beside magic and version."""

DATA_OCTETS_MAX = 255
HELD_OCTETS_MAX = OVERHEAD_OCTETS + DATA_OCTETS_MAX
STRINGS_OCTETS_MAX = DATA_OCTETS_MAX - 2
"""Of a result's strings with their lengths: beside them are the command and the length of them all."""

HOLD_S = 0.1
PACKET_S = 1.0
"""At 115200 bit/s the longest packet takes 23 ms."""


class PacketType(IntEnum):
    CURRENT_STATE = 1
    ERROR_STATE = 2
    RPC_COMMAND = 3
    RPC_RESULT = 4


class State(IntEnum):
    """Whether the box takes Wi-Fi settings."""

    STOPPED = 0
    """It cannot: there is no Wi-Fi here."""
    AUTHORIZATION_REQUIRED = 1
    AUTHORIZED = 2
    PROVISIONING = 3
    PROVISIONED = 4


class Error(IntEnum):
    NONE = 0
    INVALID_RPC = 1
    UNKNOWN_RPC = 2
    UNABLE_TO_CONNECT = 3
    NOT_AUTHORIZED = 4
    UNKNOWN = 0xFF


class Command(IntEnum):
    SEND_WIFI_SETTINGS = 1
    REQUEST_STATE = 2
    REQUEST_INFO = 3
    REQUEST_NETWORKS = 4


class ImprovError(Exception):
    """A packet that is none; `error` is what its sender is told."""

    def __init__(self, error: Error, reason: str) -> None:
        super().__init__(reason)
        self.error = error


@dataclass(frozen=True, slots=True)
class WifiSettings:
    """Of a network to join. The password is never shown, not even by `repr`."""

    ssid: bytes
    password: str

    def __repr__(self) -> str:
        return f"WifiSettings(ssid={self.ssid!r})"


@dataclass(frozen=True, slots=True)
class Rpc:
    """What a client asks for. `settings` come with SEND_WIFI_SETTINGS alone."""

    command: Command
    settings: WifiSettings | None = None


@dataclass(frozen=True, slots=True)
class Packet:
    """A whole packet with a right checksum. `type` may be any octet."""

    type: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Damaged:
    """What began like a packet and was none: a wrong checksum, or octets that did not come."""


Piece = bytes | Packet | Damaged
"""What came in: octets for the console, or a packet."""


class Splitter:
    """Takes packets out of a stream of octets. Holds at most HELD_OCTETS_MAX."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._after_packet = False

    @property
    def holding(self) -> Literal["nothing", "magic", "packet"]:
        """What was begun and is not whole: after HOLD_S ("magic") or PACKET_S ("packet") without
        anything more, call `flush`.
        """
        if not self._held:
            return "nothing"
        return "magic" if len(self._held) < len(HEAD) else "packet"

    def receive(self, octets: bytes) -> list[Piece]:
        """What `octets` complete, in order; never two runs of console octets in a row."""
        pieces: list[Piece] = []
        text = bytearray()
        at = 0
        while at < len(octets):
            if not self._held:
                start = octets.find(MAGIC[:1], at)
                plain = octets[at:] if start < 0 else octets[at:start]
                self._pass(plain, text)
                at += len(plain)
                if start < 0:
                    break
            self._held.append(octets[at])
            at += 1
            if len(self._held) <= len(HEAD):
                self._check_magic(text)
            elif len(self._held) == self._whole:
                if text:
                    pieces.append(bytes(text))
                    text.clear()
                pieces.append(self._packet())
        if text:
            pieces.append(bytes(text))
        return pieces

    def flush(self) -> list[Piece]:
        """Give up waiting: what was held of a magic is what somebody typed; the rest of a packet is lost."""
        held, holding = bytes(self._held), self.holding
        self._held.clear()
        if holding == "packet":
            return [Damaged()]
        text = bytearray()
        self._pass(held, text)
        return [bytes(text)] if text else []

    @property
    def _whole(self) -> int:
        """Octets of the packet that is held; out of reach while its length is not known."""
        length_at = len(HEAD) + 1
        if len(self._held) <= length_at:
            return HELD_OCTETS_MAX + 1
        return OVERHEAD_OCTETS + self._held[length_at]

    def _check_magic(self, text: bytearray) -> None:
        """If what is held cannot become a packet, pass on as much of it as cannot be the start of one."""
        while self._held and not HEAD.startswith(self._held):
            again = self._held.find(MAGIC[:1], 1)
            cut = len(self._held) if again < 0 else again
            self._pass(bytes(self._held[:cut]), text)
            del self._held[:cut]

    def _packet(self) -> Piece:
        held = bytes(self._held)
        self._held.clear()
        self._after_packet = True
        if checksum(held[:-1]) != held[-1]:
            return Damaged()
        return Packet(held[len(HEAD)], held[len(HEAD) + 2 : -1])

    def _pass(self, octets: bytes, text: bytearray) -> None:
        if octets and self._after_packet:
            self._after_packet = False
            octets = octets.removeprefix(b"\n")
        text += octets


def checksum(octets: bytes) -> int:
    return sum(octets) & 0xFF


def encode_packet(kind: PacketType, data: bytes) -> bytes:
    """A packet. Raises ValueError for more than DATA_OCTETS_MAX."""
    if len(data) > DATA_OCTETS_MAX:
        raise ValueError(f"{len(data)} octets do not fit into a packet, {DATA_OCTETS_MAX} do")
    packet = HEAD + bytes([kind, len(data)]) + data
    return packet + bytes([checksum(packet)])


def encode_state(state: State) -> bytes:
    return encode_packet(PacketType.CURRENT_STATE, bytes([state]))


def encode_error(error: Error) -> bytes:
    return encode_packet(PacketType.ERROR_STATE, bytes([error]))


def encode_result(command: Command, strings: Sequence[bytes] = ()) -> bytes:
    """The answer to a command: a list of strings. Raises ValueError if they do not fit."""
    if any(len(string) > DATA_OCTETS_MAX for string in strings):
        raise ValueError("a string is too long for a packet")
    body = b"".join(bytes([len(string)]) + string for string in strings)
    if len(body) > STRINGS_OCTETS_MAX:
        raise ValueError(f"{len(body)} octets of strings do not fit into a packet, {STRINGS_OCTETS_MAX} do")
    return encode_packet(PacketType.RPC_RESULT, bytes([command, len(body)]) + body)


def parse_rpc(data: bytes) -> Rpc:
    """What the data of an RPC_COMMAND asks for. Raises ImprovError with what to answer."""
    if len(data) < 2 or data[1] != len(data) - 2:
        raise ImprovError(Error.INVALID_RPC, "the length of an RPC does not fit its packet")
    try:
        command = Command(data[0])
    except ValueError:
        raise ImprovError(Error.UNKNOWN_RPC, f"there is no RPC {data[0]:#04x} here") from None
    if command is Command.SEND_WIFI_SETTINGS:
        return Rpc(command, _settings(data[2:]))
    if len(data) > 2:
        raise ImprovError(Error.INVALID_RPC, "an RPC has data that it cannot have")
    return Rpc(command)


def _settings(body: bytes) -> WifiSettings:
    strings: list[bytes] = []
    while body:
        length = body[0]
        if length >= len(body):
            raise ImprovError(Error.INVALID_RPC, "the strings of an RPC do not fit their length")
        strings.append(body[1 : 1 + length])
        body = body[1 + length :]
    if len(strings) != 2:
        raise ImprovError(Error.INVALID_RPC, "Wi-Fi settings are not a network's name and a password")
    try:
        return WifiSettings(strings[0], strings[1].decode())
    except UnicodeDecodeError:
        raise ImprovError(Error.INVALID_RPC, "the password is not UTF-8") from None
