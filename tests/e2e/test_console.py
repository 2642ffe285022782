"""The serial console of a real box: its own ports, its own words, a cable."""

from __future__ import annotations

import re
import time
from pathlib import Path

from tests.console.cable import Cable, Person
from tests.kit import Box

SOON_S = 20.0


def test_the_box_serves_its_words_on_the_ports_of_its_configuration(tmp_path: Path) -> None:
    cable = Cable(tmp_path)
    person = Person(cable.person)
    try:
        cable.plug()
        with Box(registration="pairing", name="Home", config=f'[console]\nports = ["{cable.box}"]\n') as box:
            cable.wait_until_open()
            person.types("status\r")
            person.sees("^Home: serving for")
            person.types("pair open\r")
            person.sees("pairing is open for 2 min")
            person.types("doctor\r")
            assert re.search(rf"serial port {cable.box}", person.sees("need a hand|nothing is wrong"))
            before = box.control("status")["fingerprint"]
            person.types("factory-reset\r")
            person.sees("site's name> ")
            person.types("Away\r")
            person.sees("^pocket> ")
            assert box.running
            person.types("factory-reset\r")
            person.sees("site's name> ")
            person.types("Home\r")
            deadline = time.monotonic() + SOON_S
            while box.running:
                assert time.monotonic() < deadline, box.words()
                time.sleep(0.05)
            box.start()
            assert box.control("status")["fingerprint"] != before
            cable.unplug()
            assert box.control("status")["site"] == "Home"
    finally:
        person.close()
        cable.close()


def test_a_port_that_is_none_is_a_warning_and_messages_go_on(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with Box(config=f'[console]\nports = ["{tmp_path / "file"}"]\n') as box:
        deadline = time.monotonic() + SOON_S
        while not box.control("status")["reasons"]:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert "is no serial port" in box.control("status")["reasons"][0]
        assert box.prompter().alive
