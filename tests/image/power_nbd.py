"""A server of network block devices on a socket of this computer: one disk, which QEMU takes for the
machine's.

The protocol is that of https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md: fixed newstyle
negotiation, simple replies. Requests are done one after the other, so that a flush covers everything that
was answered before.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from pathlib import Path

from .power_disk import VolatileDisk

GREETING = struct.pack(">8s8sH", b"NBDMAGIC", b"IHAVEOPT", 0b11)
OPTION = struct.Struct(">8sII")
OPTION_REPLY = struct.Struct(">QIII")
OPTION_MAGIC = 0x3E889045565A9
REQUEST = struct.Struct(">IHHQQI")
REQUEST_MAGIC = 0x25609513
REPLY = struct.Struct(">IIQ")
REPLY_MAGIC = 0x67446698

EXPORT_NAME, ABORT, INFO, GO = 1, 2, 6, 7
REP_ACK, REP_INFO, REP_UNSUPPORTED = 1, 3, 1 << 31 | 1
HAS_FLAGS, SEND_FLUSH, SEND_FUA = 1, 4, 8
FLAGS = HAS_FLAGS | SEND_FLUSH | SEND_FUA
READ, WRITE, DISCONNECT, FLUSH = range(4)
FUA = 1
EIO, EINVAL = 5, 22


class Gone(Exception):
    """The client has hung up, or the power is gone."""


class Server:
    """Serves `disk` at `path` from a thread of its own, to one client after the other, until closed."""

    def __init__(self, disk: VolatileDisk, path: Path) -> None:
        self._disk = disk
        path.unlink(missing_ok=True)
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(path))
        self._listening.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join(10)

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            with client, contextlib.suppress(Gone, ConnectionError):
                if _negotiate(client, self._disk.size):
                    while True:
                        self._answer(client)

    def _answer(self, client: socket.socket) -> None:
        magic, flags, command, cookie, offset, length = REQUEST.unpack(_receive(client, REQUEST.size))
        if magic != REQUEST_MAGIC or command == DISCONNECT:
            raise Gone
        octets = _receive(client, length) if command == WRITE else b""
        error, result = 0, b""
        if command == READ:
            result = self._disk.read(offset, length)
            error = 0 if len(result) == length else EINVAL
        elif command == WRITE:
            done = self._disk.write(offset, octets) and (not flags & FUA or self._disk.flush())
            error = 0 if done else EIO
        elif command == FLUSH:
            error = 0 if self._disk.flush() else EIO
        else:
            error = EINVAL
        if error == EIO:
            raise Gone
        client.sendall(REPLY.pack(REPLY_MAGIC, error, cookie) + (b"" if error else result))


def _negotiate(client: socket.socket, size: int) -> bool:
    """Whether the client goes on to requests."""
    client.sendall(GREETING)
    (no_zeroes,) = struct.unpack(">I", _receive(client, 4))
    while True:
        _, option, length = OPTION.unpack(_receive(client, OPTION.size))
        _receive(client, length)
        if option == EXPORT_NAME:
            client.sendall(struct.pack(">QH", size, FLAGS) + bytes(0 if no_zeroes & 2 else 124))
            return True
        if option in (INFO, GO):
            told = struct.pack(">HQH", 0, size, FLAGS)
            client.sendall(OPTION_REPLY.pack(OPTION_MAGIC, option, REP_INFO, len(told)) + told)
            client.sendall(OPTION_REPLY.pack(OPTION_MAGIC, option, REP_ACK, 0))
            if option == GO:
                return True
            continue
        answer = REP_ACK if option == ABORT else REP_UNSUPPORTED
        client.sendall(OPTION_REPLY.pack(OPTION_MAGIC, option, answer, 0))
        if option == ABORT:
            return False


def _receive(client: socket.socket, length: int) -> bytes:
    octets = bytearray()
    while len(octets) < length:
        piece = client.recv(length - len(octets))
        if not piece:
            raise Gone
        octets += piece
    return bytes(octets)
