"""Metrics of a real box, over real HTTP."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

pytest.register_assert_rewrite("tests.kit")

from appliance.metrics import CONNECTIONS_MAX, METRICS, REQUEST_OCTETS_MAX, TIMEOUT_S, Desk  # noqa: E402
from tests.kit import Box, People, fresh, settle  # noqa: E402

pytestmark = pytest.mark.e2e

SAMPLE = re.compile(r'([a-z][a-z0-9_]*)(?:\{([a-z]+)="([^"\\\n]*)"\})? (-?[0-9][0-9.e+-]*)')
WORDS = {
    "site", "version", "box", "state", "reasons", "address", "fingerprint", "registration", "why",
    "comparison", "firmware", "firmware_newest",
}  # fmt: skip
"""What is no figure in status."""

LISTENING = "0A"
"""As /proc/net/tcp has it."""


class MeasuredBox(Box):
    """A box with metrics; `scrape` is where."""

    def __init__(self) -> None:
        super().__init__(config='[metrics]\nlisten = "127.0.0.1:0"\n')
        told = [record for record in self.control("log", lines=100) if record["event"] == "metrics"]
        host, port = told[0]["address"].removeprefix("http://").removesuffix("/metrics").split(":")
        self.metrics = (host, int(port))


@pytest.fixture(scope="module")
def box() -> Iterator[MeasuredBox]:
    with MeasuredBox() as box:
        yield box


def exchange(box: MeasuredBox, octets: bytes) -> tuple[int, dict[str, str], bytes]:
    """The answer's status code, headers and body. The box closes after one."""
    with socket.create_connection(box.metrics, 20) as sock:
        sock.sendall(octets)
        return read(sock)


def read(sock: socket.socket) -> tuple[int, dict[str, str], bytes]:
    with sock.makefile("rb") as answer:
        head, _, body = answer.read().partition(b"\r\n\r\n")
    line, *headers = head.decode("ascii").split("\r\n")
    return int(line.split()[1]), dict(header.split(": ", 1) for header in headers), body


def scrape(box: MeasuredBox) -> dict[str, float]:
    """Samples by name and label, checked against the text format."""
    code, headers, body = exchange(box, b"GET /metrics HTTP/1.1\r\nHost: box\r\n\r\n")
    assert code == 200
    assert headers["content-type"].startswith("text/plain; version=0.0.4")
    samples: dict[str, float] = {}
    family = ""
    for line in body.decode().removesuffix("\n").split("\n"):
        if line.startswith("# HELP "):
            family, text = line.removeprefix("# HELP ").split(" ", 1)
            assert text and f"# TYPE {family} " not in samples
            continue
        if line.startswith("# TYPE "):
            name, kind = line.removeprefix("# TYPE ").split(" ")
            assert name == family and kind in ("gauge", "counter")
            assert name.endswith("_total") == (kind == "counter"), line
            continue
        match = SAMPLE.fullmatch(line)
        assert match is not None and match[1] == family, line
        key = match[1] + (f"{{{match[3]}}}" if match[2] else "")
        assert key not in samples
        samples[key] = float(match[4])
    return samples


def figures(status: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in status.items():
        if isinstance(value, dict):
            yield from figures(value, f"{prefix}{name}.")
        elif prefix or name not in WORDS:
            yield prefix + name


def test_every_figure_of_status_is_told(box: MeasuredBox) -> None:
    assert set(figures(box.control("status"))) == {metric.path for metric in METRICS}
    assert {metric.name for metric in METRICS} <= scrape(box).keys()


def test_figures_are_those_of_status(box: MeasuredBox) -> None:
    people = People(box)
    alice, bob = people.members("alice", "bob")
    people.group(alice, bob)
    people.node(alice, "phone").close()
    alice.post(b"x" * 1000, to=bob)
    settle(alice, bob)
    alice.join("there is no such group", error="you are not in a group of this name: there is no such group")
    time.sleep(0.5)
    status, samples = box.control("status"), scrape(box)
    for metric in METRICS:
        value: Any = status
        for name in metric.path.split("."):
            value = value[name]
        assert samples[metric.name] == pytest.approx(float(value), rel=0.05, abs=2.0), metric
    assert samples["pocket_members"] == 3 and samples["pocket_nodes"] == 4 and samples["pocket_groups"] == 1
    assert samples["pocket_queue_messages"] >= 1 and samples["pocket_queue_bytes"] >= 1000
    assert samples["pocket_messages_refused_total"] == 1
    assert samples["pocket_state{serving}"] == 1 and samples["pocket_state{error}"] == 0
    assert samples["pocket_registration{open}"] == 1 and samples["pocket_registration{closed}"] == 0
    people.close()


def test_nobody_is_named(box: MeasuredBox) -> None:
    people = People(box)
    alice, bob = people.members("alice", "bob")
    label = fresh("phone")
    people.node(alice, label)
    gid = people.group(alice, bob)
    _, _, body = exchange(box, b"GET /metrics HTTP/1.0\r\n\r\n")
    status = box.control("status")
    names = [alice.alias, bob.alias, alice.uid, bob.uid, gid, label, box.name, box.fingerprint]
    for name in [*names, status["box"], status["address"]]:
        assert name.encode() not in body
    people.close()


@pytest.mark.parametrize(
    ("request_line", "code"),
    [
        (b"GET / HTTP/1.1", 404),
        (b"GET /metrics/x HTTP/1.1", 404),
        (b"POST /metrics HTTP/1.1", 405),
        (b"GET /metrics?collect=all HTTP/1.1", 200),
        (b"GET", 400),
        (b"\x16\x03\x01\x02\x00", 400),
        (b"GET /metrics HTTP/1.1\r\nX: " + b"x" * 2 * REQUEST_OCTETS_MAX, 431),
    ],
)
def test_what_is_no_request_for_metrics_is_told_so(box: MeasuredBox, request_line: bytes, code: int) -> None:
    got, headers, body = exchange(box, request_line + b"\r\nHost: box\r\n\r\n")
    assert got == code
    assert len(body) == int(headers["content-length"]) > 0
    assert ("allow" in headers) == (code == 405)


def test_head_is_answered_without_a_body(box: MeasuredBox) -> None:
    code, headers, body = exchange(box, b"HEAD /metrics HTTP/1.1\r\nHost: box\r\n\r\n")
    assert (code, body) == (200, b"")
    assert int(headers["content-length"]) > 1000


def test_connections_that_say_nothing_are_few(box: MeasuredBox) -> None:
    silent = [socket.create_connection(box.metrics, 20) for _ in range(CONNECTIONS_MAX)]
    code, _, _ = exchange(box, b"")
    assert code == 503
    for sock in silent:
        sock.close()
    deadline = time.monotonic() + 5
    while code != 200:
        assert time.monotonic() < deadline
        with contextlib.suppress(ConnectionResetError):  # a refusal may cross our request
            code, _, _ = exchange(box, b"GET /metrics HTTP/1.1\r\nHost: box\r\n\r\n")


@pytest.mark.parametrize("octets", [b"", b"GET /met"])
def test_a_connection_that_stops_half_way_ends(octets: bytes) -> None:
    async def no_status() -> dict[str, Any]:
        raise AssertionError("nobody has asked")

    async def main() -> float:
        ours, theirs = trio.testing.memory_stream_pair()
        await ours.send_all(octets)
        await Desk(no_status).answer(theirs)
        assert await ours.receive_some() == b""
        return trio.current_time()

    clock = trio.testing.MockClock(autojump_threshold=0)
    began = clock.current_time()
    assert trio.run(main, clock=clock) - began == pytest.approx(TIMEOUT_S)


def test_a_port_that_is_taken_is_told_with_the_setting(box: MeasuredBox) -> None:
    host, port = box.metrics
    with pytest.raises(AssertionError, match=r"cannot serve metrics on .*: see metrics\.listen"):
        Box(config=f'[metrics]\nlisten = "{host}:{port}"\n')


def test_without_metrics_there_is_one_port_and_no_http_library() -> None:
    with Box() as plain:
        listening = {
            fields[9]
            for line in Path(f"/proc/{plain.pid}/net/tcp").read_text().splitlines()[1:]
            if (fields := line.split())[3] == LISTENING
        }
        assert len(sockets_of(plain.pid) & listening) == 1
    loaded = "import sys, appliance.app, appliance.cli; print('h11' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", loaded], capture_output=True).stdout == b"False\n"


def sockets_of(pid: int) -> set[str]:
    """Inodes of the sockets of a process."""
    links = [os.readlink(descriptor) for descriptor in Path(f"/proc/{pid}/fd").iterdir()]
    return {link.removeprefix("socket:[").removesuffix("]") for link in links if link.startswith("socket:[")}
