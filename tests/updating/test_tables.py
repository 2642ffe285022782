"""A version with other tables: nobody gets in before it has proven itself, and the way back loses nothing."""

from __future__ import annotations

import json
import shutil
import sqlite3
import sys
from collections.abc import Iterable
from contextlib import closing

import pytest

from tests.kit import Client, HungUp, pocket
from tests.updating import newer
from tests.updating.house import Managed, NewBox, until

NEWER = [sys.executable, newer.__file__]


def tables(box: Managed) -> int:
    with closing(sqlite3.connect(box.data / "pocket.db")) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


def write(sender: Client, receiver: Client, words: Iterable[bytes]) -> None:
    for word in words:
        sender.post(word, to=[receiver])


def read(reader: Client, count: int) -> list[bytes]:
    """So many messages; these and what came before them are acknowledged, and no more."""
    reader.auto_ack = False
    reader.login()
    found: list[bytes] = []
    while len(found) < count:
        frame = reader.next()
        reader.ack(frame)
        if frame.data:
            found.append(frame.data)
    reader.close()
    return found


def begin(box: Managed) -> tuple[Client, Client]:
    """Two members; what is written before the update waits."""
    ann, bob = Client.register(box, alias="ann smith"), Client.register(box, alias="bob smith")
    bob.close()
    write(ann, bob, [b"before 1", b"before 2"])
    box.say("install", "--from", str(box.publish("1.2")))
    return ann, bob


def test_data_of_before_between_and_after_is_there_after_going_back(new_box: NewBox) -> None:
    box = new_box()
    ann, bob = begin(box)
    box.terminate()
    box.command = NEWER
    box.machine.boot()
    box.start()
    assert until(lambda: box.machine.proven) == "1.2" and tables(box) == newer.NEW
    box.machine.bless()
    assert box.settled()["tables_before"] == newer.OLD
    ann.login()
    assert read(bob, 1) == [b"before 1"]
    write(ann, bob, [b"between 1", b"between 2"])
    told = json.loads(box.say("rollback", "--json"))
    assert told["version"] == "1.1" and told["entries"] > 0
    box.terminate()
    box.command = None
    box.machine.boot()
    box.start()
    assert tables(box) == newer.OLD
    until(lambda: box.machine.proven)
    box.machine.bless()
    state = box.settled()
    assert (state["outcome"], state["tables_before"]) == ("went back", None)
    ann.login()
    write(ann, bob, [b"after"])
    assert read(bob, 4) == [b"before 2", b"between 1", b"between 2", b"after"]
    assert json.loads(pocket(box, "journal", "verify", "--json"))["ok"]


def test_while_it_has_yet_to_prove_itself_no_client_is_served_and_going_back_loses_nothing(
    new_box: NewBox,
) -> None:
    box = new_box()
    ann, bob = begin(box)
    box.terminate()
    box.command = NEWER
    box.machine.boot()
    folder = box.machine.root / "run/pocket"
    shutil.rmtree(folder)
    folder.write_text("no folder")
    box.start()
    assert any("no messages are taken yet" in reason for reason in box.control("status")["reasons"])
    assert "changed the tables" in str(box.update["held"])
    with pytest.raises((HungUp, OSError)):
        ann.login()
    box.kill9()
    folder.unlink()
    folder.mkdir()
    box.machine.give_up()
    box.command = None
    box.start()
    assert tables(box) == newer.OLD and box.settled()["outcome"] == "given up"
    assert read(bob, 2) == [b"before 1", b"before 2"]


def test_the_way_back_is_refused_when_what_came_since_is_gone(new_box: NewBox) -> None:
    box = new_box()
    begin(box)
    box.terminate()
    box.command = NEWER
    box.machine.boot()
    box.start()
    until(lambda: box.machine.proven)
    box.machine.bless()
    box.settled()
    about = box.data / "update/snapshot/about.json"
    told = json.loads(about.read_text())
    box.terminate()
    about.write_text(json.dumps({**told, "at": told["at"] - 8 * 86400}))
    box.start()
    until(lambda: box.update["tables_before"] is None)
    assert not (box.data / "update/snapshot/pocket.db").exists()
    said = box.say("rollback", code=1)
    assert "1.1 cannot read the data" in said and "restore a backup" in said
    assert box.machine.status["running"] == "1.2"
