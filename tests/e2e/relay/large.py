"""Messages larger than memory: made as they go, and summed up as they come."""

from __future__ import annotations

import hashlib
import random
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from appliance import wire
from tests.kit import Client
from tests.kit.line import TLS

PIECE_OCTETS = 1 << 20
PATIENCE_S = 300.0


def pieces(size: int, seed: int = 1) -> Iterator[bytes]:
    """`size` octets of no pattern, always the same."""
    block = random.Random(seed).randbytes(PIECE_OCTETS)
    number = 0
    while size > 0:
        yield (number.to_bytes(8, "big") + block)[: min(size, PIECE_OCTETS)]
        size -= PIECE_OCTETS
        number += 1


def sum_of(size: int, seed: int = 1) -> str:
    total = hashlib.sha256()
    for piece in pieces(size, seed):
        total.update(piece)
    return total.hexdigest()


def write(path: Path, size: int, seed: int = 1) -> Path:
    with path.open("wb") as file:
        for piece in pieces(size, seed):
            file.write(piece)
    return path


@dataclass
class Summed:
    """A message that came: its id, size and the SHA-256 of its data."""

    op: str
    number: str
    size: int
    digest: str


class Heavy:
    """One link of the same device as `client`, for messages of any size."""

    def __init__(self, client: Client) -> None:
        self._link = wire.ClientLink()
        self._socket = TLS.wrap_socket(socket.create_connection(client.box.address, PATIENCE_S))
        self._socket.settimeout(PATIENCE_S)
        self._say(wire.TmtpRev("1"))
        self._say(wire.Login(client.uid, client.node))
        while not isinstance(self._next(), wire.Info):
            pass

    def __enter__(self) -> Heavy:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def _say(self, request: wire.Request) -> None:
        self._socket.sendall(self._link.encode(request))

    def post(self, to: str, size: int, seed: int = 1) -> str:
        """The id of a message of `size` octets, when it is acknowledged."""
        self._say(wire.Post("large", [wire.Target(to, 1)], size))
        for piece in pieces(size, seed):
            self._socket.sendall(piece)
        while not isinstance(event := self._next(), wire.AckReply):
            pass
        assert event.error is None and event.msgid, event
        return wire.format_id(event.msgid)

    def message(self, op: str = "delivery") -> Summed:
        """The next message of this kind."""
        while True:
            event = self._next()
            if not isinstance(event, wire.Message):
                continue
            total, size = hashlib.sha256(event.data), len(event.data)
            while size < event.datalen:
                piece = self._next()
                assert isinstance(piece, wire.Data)
                total.update(piece.octets)
                size += len(piece.octets)
            self._say(wire.Ack(wire.format_id(event.id), "got"))
            if event.op == op:
                return Summed(event.op, wire.format_id(event.id), size, total.hexdigest())

    def _next(self) -> object:
        while (event := self._link.next_event()) is wire.NEED_DATA:
            octets = self._socket.recv(1 << 18)
            assert octets, "the link was closed"
            self._link.receive_data(octets)
        return event
