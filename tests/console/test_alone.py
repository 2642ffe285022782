"""A console in a real process: killed at any instant it leaves a port that the next one can use."""

import subprocess
import sys
from contextlib import contextmanager

import pytest

from tests.console.cable import Cable, Person

pytestmark = pytest.mark.e2e


@contextmanager
def process(cable, folder):
    command = [sys.executable, "-m", "tests.console.alone", str(folder), str(cable.box)]
    started = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        cable.wait_until_open()
        yield started
    finally:
        started.kill()
        started.wait()


def test_a_killed_console_is_followed_by_another(tmp_path):
    cable = Cable(tmp_path)
    person = Person(cable.person)
    try:
        for _ in range(3):
            cable.plug()
            with process(cable, tmp_path):
                person.types("\x15\rpair --help\r")
                person.sees("Müller & Söhne: serving")
                person.sees("^Usage: pocket pair")
                person.types("status --watch\r")
                person.sees("no box is running")
                person.sees("^pocket> ")
                person.types("log --foll")
            person.reads(0.2)
            cable.unplug()
    finally:
        person.close()
        cable.close()
