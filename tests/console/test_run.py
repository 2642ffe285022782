"""Whatever goes wrong in the console, the box goes on."""

from typing import Any

import trio
import trio.testing

from appliance.console import Actions, ConsoleSettings, run, run_console
from appliance.console.port import READ_OCTETS
from appliance.console.session import INPUT_OCTETS_PER_S, Session
from appliance.health import Health
from tests.console.cable import console


class Flood:
    """A port that has always more."""

    def __init__(self):
        self.octets = 0

    async def receive(self):
        await trio.lowlevel.checkpoint()
        self.octets += READ_OCTETS
        return b"status\r" * (READ_OCTETS // 7)


def test_a_flood_is_read_no_faster_than_a_port_can_bring(tmp_path):
    port: Any = Flood()
    unused: Any = None

    async def main():
        session = Session("x", unused, unused, unused, Actions())
        with trio.move_on_after(10):
            await session._listen(port)

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert port.octets <= 10.2 * INPUT_OCTETS_PER_S
    assert port.octets > 100_000


def test_without_ports_there_is_no_console(tmp_path):
    async def main():
        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:

                async def start(task_status=trio.TASK_STATUS_IGNORED):
                    await run_console(ConsoleSettings(data=tmp_path), {}, Health(), Actions(), task_status)

                await nursery.start(start)

    trio.run(main)


def test_what_fails_is_told_and_tried_again(tmp_path, monkeypatch):
    health = Health()
    health.serving()
    told = []

    def broken(*_):
        told.append(health.reasons)
        raise RuntimeError("broken")

    monkeypatch.setattr(run, "find_wifi", broken)

    async def main():
        with trio.move_on_after(run.AGAIN_S * 2.5):
            await run_console(ConsoleSettings(data=tmp_path, ports=("x",)), {}, health, Actions())

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert told == [[], [], []]
    assert "the serial console failed" in health.reasons[0]


def test_a_session_that_fails_is_begun_anew(tmp_path, monkeypatch):
    line = Session._line
    failed: list[str] = []

    async def fails_once(self, text):
        if not failed:
            failed.append(text)
            raise RuntimeError("broken")
        await line(self, text)

    monkeypatch.setattr(Session, "_line", fails_once)
    with console(tmp_path) as (running, person, _):
        person.types("\r")
        person.sees("help lists the words")
        person.reads(3)
        assert failed
        person.types("status\r")
        person.sees("said")
        assert running.ticks
