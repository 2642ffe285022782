"""One machine of the lab: `python -m tests.discovery.side WORD JSON`, started in a namespace.

`box` runs discovery with a real trio loop. It takes lines on standard input: `pair SECONDS`, `busy` (how late
the loop was at worst since the last time), `pause SECONDS` (of the site's name), `ready 0` or `1`, `error` or
`well` (in health), `hang SECONDS` (the loop), `stop`; it prints JSON lines: what is announced (the log's
word), health's reasons when they change, who holds the site's name, peers that appear, answers. `find` prints
what is found. `listen` prints the records that are announced, `resolve` asks for an address all the time and
prints the answer when it changes, `flood` sends packets, `squat` claims names, `be` has an address name,
`take_back` says that a box is gone.
"""

import ipaddress
import json
import logging
import socket
import struct
import sys
import time

import trio
from zeroconf import DNSAddress, DNSIncoming  # type: ignore[attr-defined]

from appliance.discovery import DiscoverySettings, SiteName, find, run_discovery
from appliance.health import Health


def say(**fact):
    sys.stdout.write(json.dumps({"at": time.monotonic(), **fact}) + "\n")
    sys.stdout.flush()


class Told(logging.Handler):
    """The log's events, as facts."""

    def emit(self, record):
        say(event=record.getMessage(), **{k: str(v) for k, v in getattr(record, "fields", {}).items()})


class Loop:
    """How late the loop was at worst."""

    def __init__(self):
        self.late_s = 0.0

    async def watch(self):
        while True:
            due = trio.current_time() + 0.01
            await trio.sleep_until(due)
            self.late_s = max(self.late_s, trio.current_time() - due)


async def watch_health(health):
    seen = None
    while True:
        if health.reasons != seen:
            seen = health.reasons
            say(state=health.state, reasons=seen)
        await trio.sleep(0.02)


async def watch_name(name):
    seen = None
    while True:
        if (name.holder, name.held) != seen:
            seen = name.holder, name.held
            say(holder=name.holder, held=name.held, name=name.name)
        await trio.sleep(0.02)


def peer_found(box, addresses, port):
    say(peer=box, addresses=addresses, port=port)
    raise ZeroDivisionError("whoever is told of a peer does no harm")


async def box(settings):
    health = Health()
    health.serving()
    loop = Loop()
    name = SiteName()
    async with trio.open_nursery() as nursery:
        await nursery.start(run_discovery, DiscoverySettings(**settings), health, name, peer_found)
        nursery.start_soon(watch_health, health)
        nursery.start_soon(watch_name, name)
        nursery.start_soon(loop.watch)
        stdin = trio.lowlevel.FdStream(0)
        rest = b""
        async for octets in stdin:
            *lines, rest = (rest + octets).split(b"\n")
            for line in lines:
                word, _, argument = line.decode().partition(" ")
                if word == "pair":
                    health.pair_for(float(argument))
                    say(paired=float(argument))
                elif word == "busy":
                    say(late_s=loop.late_s, rss=rss(), cpu_s=time.process_time())
                    loop.late_s = 0.0
                elif word == "pause":
                    name.pause(float(argument))
                    say(paused=float(argument))
                elif word == "ready":
                    name.ready = argument == "1"
                    say(ready=name.ready)
                elif word in ("error", "well"):
                    health.fail("test", "it does not serve" if word == "error" else None)
                    say(told=word)
                elif word == "hang":
                    say(hangs=float(argument))
                    time.sleep(float(argument))  # noqa: ASYNC251 - a loop that hangs is what is wanted
                elif word == "stop":
                    say(stopping=True)
                    nursery.cancel_scope.cancel()
                    return


def rss():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * 4096


def flood(seconds, octets, interface):
    """Responses with as many records as fit, each with another name, whole and cut, as fast as it goes."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(interface))
    packets = []
    for number in range(100):
        records, answers = b"", 0
        while len(records) < octets:
            name = labels(f"{number:x}-{octets:x}-{answers:x}", "local")
            records += name + struct.pack(">HHIHI", 1, 0x8001, 4500, 4, answers)
            answers += 1
        packet = struct.pack(">HHHHHH", 0, 0x8400, 0, answers, 0, 0) + records
        packets += [packet, packet[: len(packet) // 2], number.to_bytes(8, "big") * 20]
    count, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        for packet in packets:
            try:
                sock.sendto(packet, ("224.0.0.251", 5353))
                count += 1
            except OSError:
                time.sleep(0.001)
    say(packets=count)


def member():
    """A socket that hears what is said to everybody over IPv4, on eth0."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind(("224.0.0.251", 5353))
    index = socket.if_nametoindex("eth0")
    group = struct.pack("=4s4si", socket.inet_aton("224.0.0.251"), bytes(4), index)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, group)
    return sock


def listen():
    """Say of each record that is announced: what it is, its time to live, and when it came."""
    sock = member()
    say(listening=True)
    while True:
        data, (sender, _) = sock.recvfrom(9000)
        at = time.monotonic()
        message = DNSIncoming(data)
        for record in message.answers() if message.is_response() else ():
            value = getattr(record, "alias", None) or getattr(record, "server", None)
            if isinstance(record, DNSAddress):
                value = str(ipaddress.ip_address(record.address))
            fact = {"record": record.name, "value": value, "ttl": record.ttl, "sender": sender}
            sys.stdout.write(json.dumps({"at": at, **fact}) + "\n")
        sys.stdout.flush()


def resolve(name):
    """Ask as a simple resolver does, from a port of its own; say where the name leads when that changes."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    index = socket.if_nametoindex("eth0")
    sock.setsockopt(
        socket.IPPROTO_IP,
        socket.IP_MULTICAST_IF,
        struct.pack("=4s4si", socket.inet_aton("224.0.0.251"), bytes(4), index),
    )
    sock.settimeout(0.05)
    question = labels(name, "local") + struct.pack(">HH", 255, 1)
    seen = None
    for number in range(1 << 16):
        began = time.monotonic()
        sock.sendto(struct.pack(">HHHHHH", number, 0, 1, 0, 0, 0) + question, ("224.0.0.251", 5353))
        leads = []
        try:
            while True:
                message = DNSIncoming(sock.recvfrom(9000)[0])
                if message.id == number:
                    records = [each for each in message.answers() if isinstance(each, DNSAddress)]
                    leads += sorted(str(ipaddress.ip_address(each.address)) for each in records)
        except TimeoutError:
            pass
        if leads != seen:
            seen = leads
            say(resolved=leads)
        time.sleep(max(0.0, began + 0.07 - time.monotonic()))


def be(name, address, insists):
    """Have an address name, as any device has. Who insists says so again whenever others say it is theirs."""
    sock = member()
    record = labels(name, "local") + struct.pack(">HHIH", 1, 0x8001, 120, 4) + socket.inet_aton(address)
    packet = struct.pack(">HHHHHH", 0, 0x8400, 0, 1, 0, 0) + record
    sock.sendto(packet, ("224.0.0.251", 5353))
    say(called=name)
    while insists:
        data, (sender, _) = sock.recvfrom(9000)
        if sender != address and labels(name, "local")[:-1] in data.lower():
            sock.sendto(packet, ("224.0.0.251", 5353))


def squat(names):
    """Claim these services whenever somebody asks for anything, with a text that has no id."""
    sock = member()
    packet = struct.pack(">HHHHHH", 0, 0x8400, 0, len(names), 0, 0)
    for name in names:
        packet += (
            labels(name, "_tmtp", "_tcp", "local") + struct.pack(">HHIH", 16, 0x8001, 4500, 2) + b"\x01x"
        )
    say(squatting=True)
    while True:
        data, _ = sock.recvfrom(9000)
        if data[2] & 0x80 == 0:
            sock.sendto(packet, ("224.0.0.251", 5353))


def take_back(name, address):
    """Say in the box's name that it is gone."""
    service = labels("_tmtp", "_tcp", "local")
    packet = struct.pack(">HHHHHH", 0, 0x8400, 0, 2, 0, 0)
    target = labels(name, "_tmtp", "_tcp", "local")
    packet += service + struct.pack(">HHIH", 12, 1, 0, len(target)) + target
    packet += labels(name.lower(), "local") + struct.pack(">HHIH", 1, 1, 0, 4) + socket.inet_aton(address)
    member().sendto(packet, ("224.0.0.251", 5353))


def labels(*texts):
    return b"".join(bytes([len(text.encode())]) + text.encode() for text in texts) + b"\0"


if __name__ == "__main__":
    word, given = sys.argv[1], json.loads(sys.argv[2])
    if word == "box":
        log = logging.getLogger("appliance")
        log.setLevel(logging.INFO)
        log.addHandler(Told())
        trio.run(box, given)
        say(stopped=True)
    elif word == "find":
        for found in trio.run(find, given):
            say(**{name: getattr(found, name) for name in found.__slots__})
    elif word == "flood":
        flood(**given)
    elif word == "listen":
        listen()
    elif word == "take_back":
        take_back(*given)
    elif word == "resolve":
        resolve(given)
    elif word == "be":
        be(*given)
    elif word == "squat":
        squat(given)
