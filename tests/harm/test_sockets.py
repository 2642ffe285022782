"""Whoever asks the box how it is, however often, wrongly or without listening: messages go on."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress

import pytest

from appliance.control.server import CONNECTIONS_MAX
from tests.harm.home import Home

ATTACK_S = 1.0
THREADS = 4
QUESTIONS_MIN = 200
JUNK = random.Random(5).randbytes(1 << 18)
CONTROL = [
    b'{"word": "status"}\n',
    b'{"word": "log", "args": {"lines": 1000, "level": "debug"}}\n',
    b'{"word": "member.list"}\n',
    b'{"word": "' + b"x" * (1 << 20) + b'"}\n',
    b"[" * 60_000 + b"\n",
    JUNK,
]
METRICS = [
    b"GET /metrics HTTP/1.1\r\nHost: box\r\n\r\n",
    b"GET /metrics HTTP/1.1\r\nX: " + b"x" * (1 << 20) + b"\r\n\r\n",
    b"POST /metrics HTTP/1.1\r\nHost: box\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffff\r\n",
    JUNK,
]

CONFIG = 'log.level = "debug"\n[metrics]\nlisten = "127.0.0.1:0"\n'
WHICH = "control", "metrics"
Connect = Callable[[], socket.socket]


def connector(home: Home, which: str) -> Connect:
    if which == "control":

        def to_control() -> socket.socket:
            sock = socket.socket(socket.AF_UNIX)
            sock.connect(str(home.box.data / "control.sock"))  # waits while the backlog is full
            sock.settimeout(5)
            return sock

        return to_control
    (told,) = [each for each in home.box.control("log", lines=100) if each["event"] == "metrics"]
    host, port = told["address"].removeprefix("http://").removesuffix("/metrics").split(":")
    return lambda: socket.create_connection((host, int(port)), 5)


def ask(connect: Connect, questions: list[bytes], until: float, asked: list[int]) -> None:
    """One question after the other, reading what is answered."""
    while time.monotonic() < until:
        for number, question in enumerate(questions):
            with connect() as sock, suppress(ConnectionError):
                asked.append(number)
                with suppress(OSError):
                    sock.sendall(question)
                    sock.shutdown(socket.SHUT_WR)
                while sock.recv(1 << 16):
                    pass


def answer(connect: Callable[[], socket.socket]) -> bytes:
    """What is said to one who only listens; nothing if the line is cut before that is read."""
    with connect() as sock, sock.makefile("rb") as file, suppress(ConnectionError):
        return file.read()
    return b""


@pytest.mark.parametrize(("which", "questions"), [("control", CONTROL), ("metrics", METRICS)], ids=WHICH)
def test_questions_without_end(home: Callable[..., Home], which: str, questions: list[bytes]) -> None:
    asked_home = home(CONFIG)
    connect = connector(asked_home, which)
    asked: list[int] = []
    with asked_home.attacked():
        until = time.monotonic() + ATTACK_S
        threads = [
            threading.Thread(target=ask, args=(connect, questions, until, asked)) for _ in range(THREADS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(asked) > QUESTIONS_MIN and set(asked) == set(range(len(questions))), len(asked)
    asked_home.has_not_suffered()


@pytest.mark.parametrize(("which", "question"), [("control", CONTROL[1]), ("metrics", METRICS[0])], ids=WHICH)
def test_clients_that_neither_speak_nor_listen(
    home: Callable[..., Home], which: str, question: bytes
) -> None:
    """Some say half a sentence and hold the line, others ask and do not read; nobody else is served then."""
    asked_home = home(CONFIG)
    connect = connector(asked_home, which)
    with asked_home.attacked(), ExitStack() as silent:
        for number in range(CONNECTIONS_MAX * 8):
            sock = silent.enter_context(connect())
            with suppress(ConnectionError):
                sock.sendall(question[:20] if number < CONNECTIONS_MAX else question)
        time.sleep(ATTACK_S)
        assert any(b"busy" in answer(connect) for _ in range(5))
    asked_home.has_not_suffered()
