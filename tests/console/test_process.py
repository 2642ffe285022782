"""Programs that end, do not end, say too much, or are not there."""

import os
import signal
import sys
import time

import pytest
import trio

from appliance.console.process import KEPT_OCTETS_MAX, ask, environment, stream


def program(text):
    return [sys.executable, "-S", "-E", "-c", text]


def test_what_a_program_says_is_kept_apart():
    answer = trio.run(
        ask,
        program("import sys; print(input()); print('no', file=sys.stderr); sys.exit(3)"),
        environment(),
        10,
        b"hi\n",
    )
    assert (answer.code, answer.why, answer.output, answer.errors) == (3, "itself", "hi\n", "no\n")


def test_it_gets_little_of_our_environment(monkeypatch):
    monkeypatch.setenv("POCKET_SECRET", "x")
    answer = trio.run(ask, program("import os; print(sorted(os.environ))"), environment(A="b"), 10)
    assert "POCKET_SECRET" not in answer.output
    assert "'A'" in answer.output


def test_one_that_says_too_much_is_cut():
    answer = trio.run(ask, program("print('x' * 1000000)"), environment(), 10)
    assert len(answer.output) == KEPT_OCTETS_MAX


def test_one_that_never_ends_is_ended_with_what_it_started():
    text = (
        "import subprocess, time; print(subprocess.Popen(['sleep', '600']).pid, flush=True); time.sleep(600)"
    )
    start = time.monotonic()
    answer = trio.run(ask, program(text), environment(), 1.0)
    assert (answer.why, answer.code) == ("time limit", -signal.SIGKILL)
    assert time.monotonic() - start < 5
    assert gone(int(answer.output))


def test_one_that_does_not_read_is_no_trouble():
    answer = trio.run(ask, program("print('x')"), environment(), 10, b"y" * 1_000_000)
    assert answer.output == "x\n"


def test_one_that_is_not_there_is_told():
    with pytest.raises(FileNotFoundError):
        trio.run(ask, ["there-is-no-such-program"], environment(), 10)


def test_a_program_that_goes_on_in_the_background_does_not_hold_it_up_beyond_its_time():
    text = "import subprocess; subprocess.Popen(['sleep', '600'])"
    start = time.monotonic()
    answer = trio.run(ask, program(text), environment(), 1.0)
    assert answer.code == 0
    assert time.monotonic() - start < 5


@pytest.fixture
def sigint_is_heard():
    """A shell that puts the tests in the background has them ignore SIGINT, and so all that they start."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_an_interrupt_is_asked_first(monkeypatch, sigint_is_heard):
    monkeypatch.setattr("appliance.console.process.INTERRUPTED_S", 20.0)  # a busy machine takes its time
    text = (
        "import time\n"
        "try:\n    print('at work', flush=True); time.sleep(600)\n"
        "except KeyboardInterrupt:\n    print('ended')"
    )
    said = b""

    async def main():
        nonlocal said
        interrupt = trio.Event()

        async def take(octets):
            nonlocal said
            said += octets
            interrupt.set()

        return await stream(program(text), environment(), take, limit_s=30, interrupt=interrupt)

    assert trio.run(main).why == "interrupted"
    assert said == b"at work\nended\n"


def test_who_is_cancelled_leaves_nothing_running():
    pids = []

    async def main():
        with trio.CancelScope() as scope:

            async def take(octets):
                pids.append(int(octets))
                scope.cancel()

            text = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
            await stream(program(text), environment(), take, limit_s=600)

    trio.run(main)
    assert gone(pids[0])


def gone(pid):
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            with open(f"/proc/{pid}/stat") as file:
                if file.read().split()[2] == "Z":
                    return True
            os.kill(pid, 0)
        except (OSError, ProcessLookupError):
            return True
        time.sleep(0.02)
    return False
