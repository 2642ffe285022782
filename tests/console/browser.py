"""A small Improv client, as a browser has it: it finds packets at the beginning of lines only."""

import time

import pytest

from tests.console.cable import WAIT_S

STATE, ERROR, RPC, RESULT = 1, 2, 3, 4


class Refused(Exception):
    """The box answered with an error."""


class Browser:
    """Speaks Improv over a person's end of the cable. `states` are those it was told, in order."""

    def __init__(self, person):
        self._serial = person.serial
        self._octets = b""
        self.states = []
        self.text = b""

    def send(self, data, kind=RPC):
        packet = b"IMPROV\x01" + bytes([kind, len(data)]) + data
        self._serial.write(packet + bytes([sum(packet) % 256]) + b"\n")

    def ask(self, command, data=b""):
        self.send(bytes([command, len(data)]) + data)

    def packet(self, seconds=WAIT_S):
        """The next packet: (type, data). Text on the way is kept in `text`."""
        deadline = time.monotonic() + seconds
        while True:
            found = self._find()
            if found is not None:
                return found
            if time.monotonic() > deadline:
                pytest.fail(f"no packet came, but {self.text + self._octets!r}")
            self._octets += self._serial.read(65536)

    def _find(self):
        while self._octets:
            if len(self._octets) >= 9 and self._octets.startswith(b"IMPROV"):
                whole = 10 + self._octets[8]
                if len(self._octets) < whole:
                    return None
                packet, self._octets = self._octets[:whole], self._octets[whole:]
                assert packet[6] == 1
                assert sum(packet[:-1]) % 256 == packet[-1]
                return packet[7], packet[9:-1]
            line, newline, rest = self._octets.partition(b"\n")
            if not newline:
                return None
            self.text += line + newline
            self._octets = rest
        return None

    def answer(self, command):
        """The strings of the answer to a command, or Refused. Notes states."""
        while True:
            kind, data = self.packet()
            if kind == STATE:
                self.states.append(data[0])
            elif kind == ERROR:
                if data[0]:
                    raise Refused(data[0])
            elif kind == RESULT and data[0] == command:
                return strings(data)

    def state(self):
        """What the box says its state is."""
        self.ask(2)
        while True:
            kind, data = self.packet()
            if kind == STATE:
                self.states.append(data[0])
                if data[0] == 4:
                    assert self.answer(2) == []
                return data[0]
            if kind == ERROR and data[0]:
                raise Refused(data[0])

    def info(self):
        self.ask(3)
        return self.answer(3)

    def networks(self):
        self.ask(4)
        found = []
        while network := self.answer(4):
            found.append(tuple(network))
        return found

    def join(self, ssid, password):
        ssid, password = ssid.encode(), password.encode()
        self.ask(1, bytes([len(ssid)]) + ssid + bytes([len(password)]) + password)
        return self.answer(1)


def strings(data):
    assert data[1] == len(data) - 2
    body, found = data[2:], []
    while body:
        found.append(body[1 : 1 + body[0]].decode())
        body = body[1 + body[0] :]
    return found
