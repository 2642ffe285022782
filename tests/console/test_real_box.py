"""A real box, its real words, and a cable."""

import re
import sys

import pytest

from tests.console.cable import console
from tests.kit import Box

pytestmark = pytest.mark.e2e


def test_words_on_the_cable_ask_the_running_box(tmp_path):
    with Box(registration="pairing", name="Home") as box:
        told = box.control("status")
        command = (sys.executable, "-m", "appliance.cli")
        with console(tmp_path, status=told, command=command, data=box.data) as (_, person, _):
            person.types("status\r")
            person.sees("^fingerprint  SHA256:")
            seen = person.sees("^pocket> ")
            assert "Home: serving for" in seen
            assert f"address       {told['address']}" in seen
            person.types("pair open --minutes 3\r")
            person.sees("pairing is open for 3 min")
            assert box.control("status")["pairing_open_s"] > 150
            person.types("pair cl\t\r")
            person.sees("pairing is closed")
            person.types("status --watch --every 0.2\r")
            for _ in range(3):
                person.sees("^Home: serving for")
            person.types("\x03")
            person.sees("\\^C\r\npocket> ")
            person.types("member show Nobody\r")
            person.sees("there is no member 'Nobody'")
            person.types("help\r")
            assert re.search(
                r"^status +How the box is doing\.\r$", person.sees("^Tab completes"), re.MULTILINE
            )
            assert box.running
