"""A serial cable made of two ptys, with the box's console on one end and pyserial on the other."""

import os
import re
import select
import sys
import termios
import threading
import time
import tty
from contextlib import contextmanager, suppress

import serial
import trio

from appliance.console import Actions, ConsoleSettings, run_console
from appliance.health import Health

WAIT_S = 15.0
STATUS = {
    "site": "Müller & Söhne", "state": "serving", "reasons": [], "members": 0,
    "address": "=192.168.1.5:4433", "fingerprint": "SHA256:AB:CD",
}  # fmt: skip

STUB = [
    "import os, sys, time",
    "words = sys.argv[1:]",
    "if '_POCKET_COMPLETE' in os.environ:",
    "    print('plain,status' if os.environ['COMP_CWORD'] == '1' else 'plain,Ann Smith/phone')",
    "elif words == ['--help']:",
    "    print('Commands:')",
    "    print('  serve   Run the box.')",
    "    print('  status  How the box')",
    "    print('          is doing.')",
    "elif words == ['status', '--watch']:",
    "    for turn in range(1000):",
    "        print('turn', turn, flush=True)",
    "        time.sleep(0.1)",
    "elif words[:1] == ['log']:",
    "    try:",
    "        print('\\n'.join('x' * 99 for _ in range(int(words[1]))), flush=True)",
    "        if len(words) > 2: time.sleep(60)",
    "    except KeyboardInterrupt:",
    "        time.sleep(60)",
    "else:",
    "    print('said', words, 'in', os.environ['POCKET_DATA'], repr(sys.stdin.read()), flush=True)",
    "    print('confirmed', os.environ.get('POCKET_CONFIRMED'), file=sys.stderr, end='')",
]


class Cable:
    """`box` is a path that is there while the cable is plugged in; `person` the path of the other end.

    While `paused`, nothing that the box sends is taken.
    """

    def __init__(self, folder):
        self.box = folder / "ttyBOX0"
        self.paused = False
        self.carried_at = time.monotonic()
        self._person_master, self._person_slave = raw_pty()
        self.person = os.ttyname(self._person_slave)
        self.box_master: int | None = None
        self._slave: int | None = None
        self._stop, self._lock = threading.Event(), threading.Lock()
        self._thread = threading.Thread(target=self._carry)
        self._thread.start()

    def plug(self):
        with self._lock:
            self.box_master, self._slave = raw_pty()
            self.box.symlink_to(os.ttyname(self._slave))

    def wait_until_open(self):
        """Until the console has set the port up; what is typed before that is lost."""
        assert self._slave is not None
        deadline = time.monotonic() + WAIT_S
        while termios.tcgetattr(self._slave)[4] != termios.B115200:
            assert time.monotonic() < deadline, "the console did not open the port"
            time.sleep(0.01)
        time.sleep(0.05)

    def unplug(self):
        with self._lock:
            if self.box_master is not None and self._slave is not None:
                self.box.unlink()
                os.close(self._slave)
                os.close(self.box_master)
                self.box_master = self._slave = None

    def wait_until_quiet(self, seconds, at_most_s):
        """Until nothing was carried for so long."""
        deadline = time.monotonic() + at_most_s
        while time.monotonic() - self.carried_at < seconds:
            assert time.monotonic() < deadline, "it is never quiet"
            time.sleep(0.05)

    def close(self):
        self._stop.set()
        self._thread.join()
        self.unplug()
        os.close(self._person_master)
        os.close(self._person_slave)

    def _carry(self):
        while not self._stop.is_set():
            with self._lock:
                if self.box_master is None:
                    moved = False
                else:
                    moved = move(self._person_master, self.box_master)
                    moved |= not self.paused and move(self.box_master, self._person_master)
            if moved:
                self.carried_at = time.monotonic()
            else:
                time.sleep(0.002)


def raw_pty():
    master, slave = os.openpty()
    tty.setraw(slave)
    return master, slave


def move(source, target):
    """Carry what is there, if there is room; whether anything was."""
    readable, _, _ = select.select([source], [], [], 0)
    _, writable, _ = select.select([], [target], [], 0)
    if not readable or not writable:
        return False
    try:
        octets = os.read(source, 512)
    except OSError:
        return False
    while octets:
        octets = octets[os.write(target, octets) :]
    return True


class Person:
    """Somebody with pyserial at the other end."""

    def __init__(self, path):
        self.serial = serial.Serial(path, 115200, timeout=0.02, write_timeout=WAIT_S)
        self.seen = b""

    def close(self):
        self.serial.close()

    def types(self, text):
        self.serial.write(text.encode() if isinstance(text, str) else text)

    def reads(self, seconds):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.seen += self.serial.read(65536)

    def sees(self, pattern, seconds=WAIT_S):
        """Wait until this comes; what was seen up to there, as text. What follows is for the next call."""
        deadline = time.monotonic() + seconds
        while True:
            text = self.seen.decode("utf-8", "replace")
            found = re.search(pattern, text, re.MULTILINE)
            if found:
                self.seen = text[found.end() :].encode()
                return text[: found.end()]
            assert time.monotonic() < deadline, f"{pattern!r} was not seen, but {text[-2000:]!r}"
            self.seen += self.serial.read(65536)


class Running:
    """A console in a thread of its own. `press` is a hand on the button; `ticks` grows while the rest of
    the box can work."""

    def __init__(self, settings, status, button, unlocked):
        self.health = Health()
        self.health.serving()
        self.unlocked = unlocked
        self.status = dict(STATUS, **status)
        self.ticks = 0
        self.worst_s = 0.0
        self._settings = settings
        self._button = button
        self._ready = threading.Event()
        self._pressed = trio.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        self._ready.wait()

    def _run(self):
        try:
            trio.run(self._main)
        except BaseException as error:
            self._failure = error
            self._ready.set()

    async def _main(self):
        self._token = trio.lowlevel.current_trio_token()
        with trio.CancelScope() as self._scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._tick)
                actions = Actions(self._press_awaited if self._button else None, lambda: self.unlocked)
                words = {"status": self._status}

                async def start(task_status=trio.TASK_STATUS_IGNORED):
                    await run_console(self._settings, words, self.health, actions, task_status)

                await nursery.start(start)
                self._ready.set()

    async def _status(self, args):
        if isinstance(self.status.get("site"), Exception):
            raise self.status["site"]
        return self.status

    async def _press_awaited(self):
        await self._pressed.wait()
        self._pressed = trio.Event()

    async def _tick(self):
        while True:
            start = trio.current_time()
            await trio.sleep(0.01)
            self.worst_s = max(self.worst_s, trio.current_time() - start)
            self.ticks += 1

    def press(self):
        self._token.run_sync_soon(self._pressed_now)

    def _pressed_now(self):
        self._pressed.set()

    def stop(self):
        """Seconds that it took."""
        start = time.monotonic()
        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self._scope.cancel)
        self._thread.join()
        if self._failure is not None:
            raise self._failure
        return time.monotonic() - start


@contextmanager
def console(
    folder,
    *,
    status=(),
    button=False,
    unlocked=False,
    plugged=True,
    command=None,
    data=None,
    ports=(),
    **settings,
):
    """A cable with a console on one end and a person at the other: (running, person, cable)."""
    stub = folder / "stub.py"
    stub.write_text("\n".join(STUB))
    cable = Cable(folder)
    if plugged:
        cable.plug()
    person = Person(cable.person)
    chosen = ConsoleSettings(
        data=data or folder,
        ports=(*ports, str(folder / "ttyBOX*")),
        command=command or (sys.executable, "-S", "-E", str(stub)),
        **settings,
    )
    running = Running(chosen, dict(status), button, unlocked)
    try:
        if plugged:
            cable.wait_until_open()
        yield running, person, cable
    finally:
        try:
            running.stop()
        finally:
            person.close()
            cable.close()
