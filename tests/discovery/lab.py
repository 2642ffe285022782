"""Machines in a network: namespaces, each with an eth0 on a common bridge, made and removed by the test."""

import contextlib
import itertools
import json
import os
import queue
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
WAIT_S = 15.0
_numbers = itertools.count(1)
AVAHI = """
mount -t tmpfs none /run
mkdir /run/dbus /run/avahi-daemon
cat > /run/bus.conf <<END
<busconfig>
<type>system</type> <listen>unix:path=/run/dbus/system_bus_socket</listen> <auth>EXTERNAL</auth>
<policy context="default"> <allow user="*"/> <allow own="*"/> <allow send_type="method_call"/>
<allow send_requested_reply="true"/> <allow receive_requested_reply="true"/> </policy>
</busconfig>
END
cat > /run/avahi.conf <<END
[server]
host-name=observer
allow-interfaces=eth0
[wide-area]
enable-wide-area=no
END
exec 3> /run/log
dbus-daemon --config-file=/run/bus.conf --nofork --nopidfile >&3 2>&3 &
until test -S /run/dbus/system_bus_socket; do sleep 0.05; done
avahi-daemon --file /run/avahi.conf --no-drop-root --no-chroot --no-rlimits >&3 2>&3 &
until avahi-resolve-host-name -4 observer.local > /dev/null 2>&1; do sleep 0.1; done
"""
KERNEL = """echo 1 > /proc/sys/net/ipv4/conf/all/promote_secondaries
echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad"""
ALONE = ["setpriv", "--pdeathsig", "KILL", "unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
"""With the test, its processes end, and theirs."""


def ip(*words, check=True):
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"
    return done.stdout


class Process:
    """A process in a namespace that prints JSON lines."""

    def __init__(self, machine, *command, env=None):
        self._process = subprocess.Popen(
            ["ip", "netns", "exec", machine.namespace, *ALONE, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            env=env,
            text=True,
        )
        assert self._process.stdin and self._process.stdout
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        self.facts: list[dict[str, Any]] = []
        """All that was printed; what is no JSON as {"text": ...}."""
        self._new: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self._stdout:
            try:
                self._new.put(json.loads(line))
            except ValueError:
                self._new.put({"text": line.rstrip("\n")})
        self._new.put(None)

    def tell(self, line):
        self._stdin.write(line + "\n")
        self._stdin.flush()

    def wait(self, wanted, timeout_s=WAIT_S):
        """The next fact that has these keys; those before it are passed over."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                fact = self._new.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no {wanted} in {timeout_s} s; said so far: {self.facts}") from None
            assert fact is not None, f"ended without {wanted}; said so far: {self.facts}"
            self.facts.append(fact)
            if wanted in fact:
                return fact

    def listen(self, seconds):
        """Everything that it says in this time."""
        end, seen = time.monotonic() + seconds, len(self.facts)
        with contextlib.suppress(queue.Empty):
            while (left := end - time.monotonic()) > 0 and (fact := self._new.get(timeout=left)) is not None:
                self.facts.append(fact)
        return self.facts[seen:]

    def reasons(self, text, timeout_s=WAIT_S):
        """Wait until health's reasons have the text; without one, until there are none."""
        deadline = time.monotonic() + timeout_s
        while True:
            reasons = self.wait("reasons", max(0.0, deadline - time.monotonic()))["reasons"]
            if any(text in reason for reason in reasons) if text else not reasons:
                return reasons

    def event(self, text, timeout_s=WAIT_S):
        """The next event of the log that starts so."""
        deadline = time.monotonic() + timeout_s
        while True:
            fact = self.wait("event", max(0.0, deadline - time.monotonic()))
            if fact["event"].startswith(text):
                return fact

    def record(self, name, timeout_s=5.0, **wanted):
        """An observer's next record of that name that is as wanted."""
        deadline = time.monotonic() + timeout_s
        while True:
            fact = self.wait("record", max(0.0, deadline - time.monotonic()))
            if fact["record"] == name and all(fact[key] == value for key, value in wanted.items()):
                return fact

    def line(self, text, timeout_s=WAIT_S):
        """The next line that has the text."""
        deadline = time.monotonic() + timeout_s
        while True:
            fact = self.wait("text", max(0.0, deadline - time.monotonic()))
            if text in fact["text"]:
                return fact["text"]

    def resolves(self, address, timeout_s=8.0):
        """Wait until avahi resolves to the address; when it did."""
        line = self.line(f"\t{address}", timeout_s)
        return float(line.split()[0])

    def holder(self, wanted, timeout_s=8.0):
        """Wait until the box says that this one holds the site's name, or nobody (None)."""
        deadline = time.monotonic() + timeout_s
        while True:
            fact = self.wait("holder", max(0.0, deadline - time.monotonic()))
            if fact["holder"] == wanted:
                return fact

    def leads(self, machine, timeout_s=8.0):
        """Wait until the resolver says that the name leads to the machine, and there alone."""
        deadline = time.monotonic() + timeout_s
        wanted = [machine.address, machine.address6]
        while True:
            fact = self.wait("resolved", max(0.0, deadline - time.monotonic()))
            if fact["resolved"] == wanted:
                return fact

    def kill(self):
        """As in a power cut; when it was."""
        self._process.kill()
        return time.monotonic()

    def end(self, timeout_s=WAIT_S):
        """Everything that it says until it ends by itself."""
        self._process.wait(timeout_s)
        while (fact := self._new.get(timeout=timeout_s)) is not None:
            self.facts.append(fact)
        return self.facts

    def close(self):
        self._process.kill()
        self._process.wait()
        self._reader.join()
        self._stdin.close()
        self._stdout.close()


class Machine:
    """A namespace with an eth0 and an address in 10.77.0.0/24 and one of fd77::/64."""

    def __init__(self, lab, name, number):
        self.lab, self.name, self.number = lab, name, number
        self.namespace = f"{lab.prefix}-{name}"
        self.address = f"10.77.0.{number}"
        self.address6 = f"fd77::{number}"
        self.processes = []

    def ip(self, *words, check=True):
        return ip("-n", self.namespace, *words, check=check)

    def address_on(self, interface="eth0"):
        self.ip("addr", "add", f"{self.address}/24", "dev", interface)
        self.ip("addr", "add", f"{self.address6}/64", "dev", interface, "nodad")

    def start(self, *command, env=None):
        process = Process(self, *command, env=env)
        self.processes.append(process)
        return process

    def box(self, site="Home", box_id=None, **settings):
        given = {"site": site, "box_id": box_id or f"box0000{self.number}", "version": "1.2.3", "port": 4433}
        return self.side("box", given | {"warn_after_s": 0.3} | settings)

    def side(self, word, given=None):
        """See side.py."""
        return self.start(sys.executable, "-m", "tests.discovery.side", word, json.dumps(given))

    def observe(self):
        """Hear what is announced."""
        process = self.side("listen")
        process.wait("listening")
        return process

    def avahi(self, script):
        """Run a shell script beside an avahi-daemon of the machine's own."""
        return self.start("bash", "-c", AVAHI + script)

    def find(self, timeout_s=0.8):
        """What is found from here: name -> box."""
        facts = self.side("find", timeout_s).end()
        assert all("name" in fact for fact in facts), facts
        return {fact["name"]: fact for fact in facts}


class Lab:
    """A bridge and its machines. `close` leaves nothing, also when half of it was made."""

    def __init__(self):
        self.prefix = f"mdns{os.getpid()}-{next(_numbers)}"
        self.machines = {}
        self.switch = f"{self.prefix}-switch"

    def __enter__(self):
        try:
            ip("netns", "add", self.switch)
            ip("-n", self.switch, "link", "add", "br0", "type", "bridge", "mcast_snooping", "0")
            ip("-n", self.switch, "link", "set", "br0", "up")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for machine in self.machines.values():
            for process in machine.processes:
                process.close()
        for namespace in [*(m.namespace for m in self.machines.values()), self.switch]:
            ip("netns", "del", namespace, check=False)

    def machine(self, name, plugged=True):
        """The machine of that name, made when first asked for."""
        if name not in self.machines:
            made = self.machines[name] = Machine(self, name, len(self.machines) + 1)
            ip("netns", "add", made.namespace)
            made.ip("link", "set", "lo", "up")
            ip("netns", "exec", made.namespace, "sh", "-c", KERNEL)
            if plugged:
                self.plug(made)
                made.address_on()
        return self.machines[name]

    def plug(self, machine, interface="eth0"):
        """Lay a cable from the machine to the switch."""
        machine.ip(
            "link",
            "add",
            interface,
            "type",
            "veth",
            "peer",
            "name",
            f"{machine.name}-{interface}",
            "netns",
            self.switch,
        )
        self.cable(machine, "master", "br0", interface=interface)
        self.cable(machine, "up", interface=interface)
        machine.ip("link", "set", interface, "up")

    def cable(self, machine, *state, interface="eth0"):
        """Pull the cable out at the switch ("down") or put it in ("up"); put it into another network, or
        alone ("nomaster").
        """
        ip("-n", self.switch, "link", "set", f"{machine.name}-{interface}", *state)
