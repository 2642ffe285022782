"""A disk that turns bits over: a box finds it, mends itself from the other, and serves meanwhile."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.kit import Box, Client, pocket

from .test_peers import at, in_sync, join, until

NewBox = Callable[..., Box]
LARGE = 3_000_000
SPILLS = "[store]\nspill_every_s = 0.2\n"


def flip(path: Path, octets: bytes) -> None:
    """Turn over a bit in the middle of these octets, wherever the file has them."""
    content = path.read_bytes()
    at = content.find(octets)
    assert at >= 0, "not in the file"
    with open(path, "r+b") as file:
        while at >= 0:
            middle = at + len(octets) // 2
            file.seek(middle)
            file.write(bytes([content[middle] ^ 0x10]))
            at = content.find(octets, at + 1)


def rows(box: Box, sql: str) -> list[Any]:
    with closing(sqlite3.connect(box.data / "pocket.db")) as connection:
        return connection.execute(sql).fetchall()


def blobs(box: Box) -> list[Path]:
    return sorted((box.data / "blobs").glob("??/" + "?" * 64))


def scrub(box: Box, code: int = 0) -> Any:
    return json.loads(pocket(box, "journal", "scrub", "--now", "--json", code=code))


def small(number: int) -> bytes:
    return b"small message %03d;" % number * 20


def large(number: int) -> bytes:
    return (b"large message %03d;" % number * (LARGE // 18 + 1))[:LARGE]


def received(client: Client) -> list[bytes]:
    found: list[bytes] = []
    while len(found) < 24:
        frame = client.next()
        if frame.op == "delivery":
            found.append(frame.data)
    return found


def test_a_box_mends_itself_from_another_and_nothing_is_lost(new_box: NewBox) -> None:
    home, other = new_box(config=SPILLS), new_box(config=SPILLS)
    ann, bob = Client.register(home, alias="ann smith"), Client.register(home, alias="bob smith")
    bob.close()
    wanted = [small(n) for n in range(20)] + [large(n) for n in range(4)]
    for data in wanted:
        ann.post(data, to=bob)
    ann.close()
    join(other, home)
    in_sync(home, other)
    until(lambda: not any(not n for (n,) in rows(other, "SELECT length(head) FROM message")))
    until(lambda: len(blobs(other)) == 4)
    other.terminate()
    database = other.data / "pocket.db"
    for number in (3, 11):
        flip(database, small(number))
    bodies = [
        body for (body,) in rows(other, "SELECT body FROM entry WHERE length(body) > 60 ORDER BY place")
    ]
    for body in bodies[2:6:3]:
        flip(database, body)
    flip(blobs(other)[1], blobs(other)[1].read_bytes()[100_000:100_100])
    blobs(other)[2].unlink()
    other.start()
    in_sync(home, other)
    assert not other.control("journal.verify")["ok"]

    ann = at(other, ann)
    ann.login()
    took: list[float] = []
    done = threading.Event()

    def write() -> None:
        while not done.is_set():
            began = time.monotonic()
            ann.post(b"meanwhile", to=ann)
            took.append(time.monotonic() - began)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        state = scrub(other)
    finally:
        done.set()
        writer.join()
    assert (state["open"], state["problems"]) == (0, [])
    assert state["found"] == state["repaired"] >= 5, (
        "two messages, two entries, a file; a restart noticed one"
    )
    assert len(took) > 10 and sorted(took)[len(took) // 2] < 0.25, took
    assert scrub(other)["found"] == 0
    assert other.control("journal.verify") == home.control("journal.verify") | {
        "messages": other.control("journal.verify")["messages"]
    }
    home.kill9()
    there = at(other, bob)
    there.login()
    assert received(there) == wanted


def test_a_device_gets_the_rest_where_an_attachment_is_lost(new_box: NewBox) -> None:
    box = new_box(config=SPILLS)
    ann, bob = Client.register(box, alias="ann smith"), Client.register(box, alias="bob smith")
    bob.close()
    for data in (b"before", large(1), b"between", large(2), b"after"):
        ann.post(data, to=bob)
    blobs(box)[0].write_bytes(b"cut short")
    lost = {hash_of(large(n)): n for n in (1, 2)}[blobs(box)[0].name]
    kept = 3 - lost
    bob = at(box, bob)
    bob.login()
    expected = {b"before", large(kept), b"between", b"after"}
    assert {bob.find("delivery").data for _ in range(4)} == expected
    ann.post(b"the link lives", to=bob)
    assert bob.find("delivery").data == b"the link lives"
    reason = until(lambda: [r for r in box.control("status")["reasons"] if "attachment" in r])
    assert "1 attachment" in reason[0] and "sent again" in reason[0]
    bob.close()
    bob = at(box, bob)
    bob.login()
    assert bob.find("login"), "and at the next login, too"
    said = pocket(box, "journal", "scrub", "--now", code=1)
    assert said == ""
    state = scrub_state(box)
    assert state["open"] == 1 and "1 attachment" in state["problems"][0]


def scrub_state(box: Box) -> Any:
    return box.control("journal.scrub")


def hash_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
