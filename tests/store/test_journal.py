"""The journal proves itself: whatever is changed behind the box's back is found."""

from __future__ import annotations

import dataclasses
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import trio

from appliance import wire
from appliance.site import Payload, decode_facts
from appliance.store import SchemaError, StoreBroken, verify
from appliance.store.journal import GENESIS, BoxKey, Checker
from appliance.store.reading import PLACES, boxes, read_entries
from tests.store import kit

SMALL = b"small enough for a row"
LARGE = bytes(range(256)) * 300


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed store with everything in it: messages in both tables, queues, a blob, accounts, a group."""
    folder = tmp_path_factory.mktemp("made")

    async def main() -> None:
        async with kit.running(folder) as store:
            ann, bob, eve = await kit.members(store, 3)
            await ann.alias("ann-the-first")
            await bob.alias("bob-the-second")
            await bob.alias("bob-the-third")
            invite = wire.GroupInvite(
                id="g", gid="household", from_="ann-the-first", to="bob-the-second", datalen=0, datahead=0
            )
            assert (await ann.ask(invite, (Payload.of(b""),))).error is None
            await bob.newnode("phone")
            lost = await bob.newnode("lost")
            for data in (SMALL, LARGE, b""):
                await ann.post([bob.uid, eve.uid], data)
            await kit.spill(store)
            await lost.drop()
            await eve.acks((await kit.pending_ids(store, eve.node))[0])
            await ann.post([bob.uid], SMALL)
        # what a crash leaves: the newest part is in the journal only
        async with kit.running(folder) as store:
            bob = kit.Device(store, bob.node)
            await bob.post([eve.uid], SMALL)
            kit.power_cut(folder, folder / "cut")

    kit.run(main)
    for path in (folder / "cut").iterdir():
        target = folder / path.name
        if path.is_file():
            target.write_bytes(path.read_bytes())
    with closing(sqlite3.connect(folder / "pocket.db")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return kit.power_cut(made, tmp_path / "copy")


def problems(folder: Path) -> list[str]:
    result = verify(folder)
    assert result["ok"] == (not result["problems"])
    found: list[str] = result["problems"]
    return found


def flipped(value: Any) -> Any:
    """The value with one octet changed, of the same type."""
    if isinstance(value, bytes):
        return value[:-1] + bytes([value[-1] ^ 1])
    if isinstance(value, str):
        return value[:-1] + chr(ord(value[-1]) ^ 1)
    return value ^ 1


def test_an_untouched_store_is_clean(folder: Path) -> None:
    result = verify(folder)
    assert result["problems"] == []
    assert result["entries"] == kit.rows(folder, "SELECT count(*) FROM entry")[0][0]
    with closing(sqlite3.connect(folder / "pocket.db")) as connection:
        [(waiting,)] = connection.execute(
            "SELECT count(*) FROM (SELECT msgid FROM message WHERE msgid IN (SELECT msgid FROM queue)"
            " UNION SELECT msgid FROM fresh)"
        )
    assert result["messages"] == waiting > 5


def test_entries_chain_from_nothing_and_are_signed(folder: Path) -> None:
    key = BoxKey.load_or_create(folder / "box.key")
    with closing(sqlite3.connect(folder / "pocket.db")) as connection:
        entries = list(read_entries(connection, boxes(connection)))
    prev = GENESIS
    for seq, entry in enumerate(entries, 1):
        assert (entry.seq, entry.box, entry.prev) == (seq, key.box, prev)
        assert key.sign(seq, entry.clock, entry.kind, prev, entry.body) == entry
        prev = entry.digest()
    assert [entry.clock for entry in entries] == sorted(entry.clock for entry in entries)
    assert all(decode_facts(entry.body) for entry in entries)


COLUMNS = [
    *(f"entry.{column}" for column in ("clock", "prev", "signature", "body", "kind")),
    *(f"member.{column}" for column in ("number", "uid", "at_ms")),
    *(f"node.{column}" for column in ("number", "member", "label", "secret", "at_ms")),
    *(f"alias.{column}" for column in ("alias", "member")),
    *(f"standing.{column}" for column in ("member", "alias", "gid")),
    "team.gid",
    *(f"queue.{column}" for column in ("node", "rank", "msgid", "size")),
    *(f"message.{column}" for column in ("msgid", "rank", "sender", "size", "blob", "head", "data")),
    *(f"fresh.{column}" for column in ("msgid", "rank", "sender", "size", "head", "data")),
    *(f"box.{column}" for column in ("id", "public_key")),
    "load.octets",
]


def all_rows(folder: Path, table: str, column: str) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(folder / "pocket.db")) as connection:
        connection.row_factory = sqlite3.Row
        sql = f"SELECT * FROM {table} WHERE {column} IS NOT NULL AND {column} != ''"
        return [dict(row) for row in connection.execute(sql)]


def condition(row: dict[str, Any]) -> str:
    return " AND ".join(f"{name} IS :{name}" for name in row)


@pytest.mark.parametrize("column", COLUMNS)
def test_a_flipped_octet_in_any_row_is_found(folder: Path, column: str) -> None:
    table, column = column.split(".")
    rows = all_rows(folder, table, column)
    # a message that was acknowledged since the spill is there still, and nobody needs it
    for row in rows[-1:] if table in ("message", "fresh") else rows:
        where = condition(row)
        new = flipped(row[column])
        try:
            assert (
                kit.change(folder, f"UPDATE {table} SET {column} = :new WHERE {where}", **row, new=new) == 1
            )
        except sqlite3.IntegrityError:
            continue
        assert problems(folder), row
        kit.change(
            folder,
            f"UPDATE {table} SET {column} = :old WHERE {condition(row | {column: new})}",
            **(row | {column: new}),
            old=row[column],
        )
    assert problems(folder) == []


@pytest.mark.parametrize("which", [0, -1])
@pytest.mark.parametrize(
    "table", ["entry", "member", "node", "alias", "standing", "team", "queue", "message", "fresh"]
)
def test_a_removed_row_is_found(folder: Path, table: str, which: int) -> None:
    row = all_rows(folder, table, "1")[which]
    assert kit.change(folder, f"DELETE FROM {table} WHERE {condition(row)}", **row) == 1
    assert problems(folder) or (table, which) == ("entry", -1)


def test_every_removed_entry_but_the_newest_is_found(made: Path, tmp_path: Path) -> None:
    places = [place for (place,) in kit.rows(made, "SELECT place FROM entry ORDER BY place")]
    for place in places[:-1]:
        folder = kit.power_cut(made, tmp_path / str(place))
        kit.change(folder, "DELETE FROM entry WHERE place = ?", place)
        assert problems(folder), f"entry {place // PLACES} is not missed"


def test_swapped_entries_are_found(made: Path, tmp_path: Path) -> None:
    places = [place for (place,) in kit.rows(made, "SELECT place FROM entry ORDER BY place")]
    for one, other in pairwise(places):
        folder = kit.power_cut(made, tmp_path / str(one))
        kit.change(folder, "UPDATE entry SET place = -1 WHERE place = ?", one)
        kit.change(folder, "UPDATE entry SET place = ? WHERE place = ?", one, other)
        kit.change(folder, "UPDATE entry SET place = ? WHERE place = -1", other)
        assert problems(folder)


def test_the_entries_of_a_clone_do_not_fit(made: Path, tmp_path: Path) -> None:
    """Signed by the same key, with the same numbers; the hash chain tells them apart."""
    boxes = [kit.power_cut(made, tmp_path / name) for name in ("card", "clone")]

    async def main() -> None:
        for number, box in enumerate(boxes):
            async with kit.running(box) as store:
                ann = kit.Device(store, min(store.site.nodes))
                for _ in range(3):
                    await ann.post([ann.uid], b"on box %d" % number)

    kit.run(main)
    card, clone = boxes
    [(newest,)] = kit.rows(card, "SELECT max(place) FROM entry")
    for place in (newest - PLACES, newest - 2 * PLACES):
        [row] = kit.rows(clone, "SELECT clock, kind, prev, body, signature FROM entry WHERE place = ?", place)
        kit.change(
            card,
            "UPDATE entry SET clock = ?, kind = ?, prev = ?, body = ?, signature = ? WHERE place = ?",
            *row,
            place,
        )
        assert any("out of order" in p or "does not continue" in p for p in problems(card))


def test_the_checker_follows_one_journal_in_order(tmp_path: Path) -> None:
    key = BoxKey.load_or_create(tmp_path / "key")
    other = BoxKey.load_or_create(tmp_path / "other")
    first = key.sign(1, 16, 1, GENESIS, b"first")
    second = key.sign(2, 32, 2, first.digest(), b"second")

    def found(*entries: Any, gap: bool = False) -> str:
        checker = Checker(key.public)
        return [str(checker.check(entry, gap)) for entry in entries][-1]

    assert found(first, second) == "None"
    assert found(second, gap=True) == "None"
    assert "1 to 1" in found(second)
    assert "out of order" in found(first, second, first)
    assert "out of order" in found(first, key.sign(2, 15, 2, first.digest(), b"earlier"))
    assert "does not continue" in found(first, key.sign(2, 32, 2, second.digest(), b"second"))
    assert "does not continue" in found(key.sign(1, 16, 1, bytes([1]) * 32, b"first"))
    assert "bad signature" in found(first, other.sign(2, 32, 2, first.digest(), b"second"))
    assert "bad signature" in found(dataclasses.replace(first, signature=bytes(64)))
    assert "bad signature" in found(dataclasses.replace(first, signature=b""))
    assert key.box != other.box and len(key.box) == 8


def test_entries_that_are_missing_at_the_end_are_found_if_the_tables_went_further(tmp_path: Path) -> None:
    async def main() -> None:
        async with kit.running(tmp_path) as store:
            ann = await kit.member(store)
            msgid = (await ann.post([ann.uid])).msgid
            await ann.acks(msgid)

    kit.run(main)
    kit.change(tmp_path, "DELETE FROM entry WHERE place = (SELECT max(place) FROM entry)")
    assert any(text.startswith("the newest entries of box") for text in problems(tmp_path))


def test_a_store_of_another_box_is_found(tmp_path: Path) -> None:
    """Nothing has happened on it yet, so no signature tells."""

    async def main() -> None:
        async with kit.running(tmp_path / "data"):
            pass

    kit.run(main)
    for tamper in (
        lambda folder: (folder / "box.key").write_bytes(bytes(32)),
        lambda folder: (folder / "box.key").unlink() or kit.change(folder, "UPDATE box SET id = 'ABCDEFGH'"),
    ):
        folder = kit.power_cut(tmp_path / "data", tmp_path / "copy")
        tamper(folder)
        assert problems(folder)
        shutil.rmtree(folder)


def test_a_box_that_is_not_known_is_found(folder: Path) -> None:
    kit.change(folder, "UPDATE entry SET place = place + 3 WHERE place = (SELECT max(place) FROM entry)")
    assert any("box" in problem for problem in problems(folder))


def test_an_invented_queue_row_is_found(folder: Path) -> None:
    [(node, rank, msgid, size), *_] = kit.rows(
        folder,
        "SELECT number, rank, msgid, size FROM node, message"
        " WHERE NOT EXISTS (SELECT 1 FROM queue WHERE node = number AND queue.msgid = message.msgid)",
    )
    kit.change(folder, "INSERT INTO queue VALUES (?, ?, ?, ?)", node, rank, msgid, size)
    assert any("should not be there" in problem for problem in problems(folder))


def blob(folder: Path) -> Path:
    [path] = (folder / "blobs").glob("??/*")
    return path


def shorten(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip_first(path: Path) -> None:
    path.write_bytes(bytes([path.read_bytes()[0] ^ 0x80]) + path.read_bytes()[1:])


@pytest.mark.parametrize(
    "tamper",
    [flip_first, shorten, lambda path: path.write_bytes(path.read_bytes() + b"\0"), Path.unlink],
    ids=["flipped", "shorter", "longer", "gone"],
)
def test_a_changed_blob_is_found(folder: Path, tamper: Callable[[Path], Any]) -> None:
    tamper(blob(folder))
    assert [problem for problem in problems(folder) if problem.startswith("message ")]


def test_a_flipped_octet_anywhere_in_a_used_page_is_found_or_harmless(made: Path, tmp_path: Path) -> None:
    """verify never fails to answer; and what it calls clean holds the same things."""
    octets = (made / "pocket.db").read_bytes()
    folder = kit.power_cut(made, tmp_path / "copy")
    clean = verify(made)
    step = len(octets) // 61
    found = 0
    for at in range(step // 2, len(octets), step):
        (folder / "pocket.db").write_bytes(octets[:at] + bytes([octets[at] ^ 0x10]) + octets[at + 1 :])
        for name in ("pocket.db-wal", "pocket.db-shm"):
            (folder / name).unlink(missing_ok=True)
        result = verify(folder)
        found += not result["ok"]
        if result["ok"]:
            assert result | {"problems": []} == clean
    assert found


def test_pages_that_do_not_add_up_are_found(folder: Path) -> None:
    octets = bytearray((folder / "pocket.db").read_bytes())
    octets[39] ^= 1  # how many pages are free
    (folder / "pocket.db").write_bytes(octets)
    (folder / "pocket.db-wal").unlink(missing_ok=True)
    assert [problem for problem in problems(folder) if problem.startswith("database: ")]


def test_verify_runs_beside_a_store_at_work(tmp_path: Path) -> None:
    """Messages and their files come and go while it looks."""

    async def main() -> None:
        async with kit.running(tmp_path, spill_every_s=0.02, spill_weight=20) as store:
            ann, bob = await kit.members(store, 2)
            results: list[dict[str, Any]] = []
            working = 2

            async def work() -> None:
                nonlocal working
                for turn in range(100):
                    data = turn.to_bytes(4, "big") * (20_000 if turn % 3 == 0 else 10)
                    answer = await ann.post([bob.uid], data)
                    if turn % 5:
                        store.ack(bob.node, answer.msgid)
                working -= 1

            async with trio.open_nursery() as nursery:
                nursery.start_soon(work)
                nursery.start_soon(work)
                while working:
                    results.append(await trio.to_thread.run_sync(verify, tmp_path))
            assert [result["problems"] for result in results] == [[]] * len(results)
            assert results[-1]["entries"] > results[0]["entries"]

    kit.run(main)


def test_verify_says_if_there_is_nothing_to_verify(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no database"):
        verify(tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
def test_verify_of_what_is_mounted_read_only_says_to_copy_it(folder: Path) -> None:
    look = "import sys, pathlib; from appliance.store import verify; verify(pathlib.Path(sys.argv[1]))"
    mount = 'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && exec "$2" -c "$3" "$1"'
    command = ["unshare", "--mount", "sh", "-c", mount, "sh", str(folder), sys.executable, look]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "verify the copy" in done.stderr, done


def test_verify_of_what_is_no_database_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "pocket.db").write_bytes(b"this is no database" * 1000)
    assert any("database" in problem for problem in problems(tmp_path))


# opening


def test_data_of_a_newer_version_is_refused(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "pocket.db")) as connection:
        connection.execute("PRAGMA user_version = 999")
    with pytest.raises(SchemaError, match="newer version"):
        kit.opened(folder)


def test_a_damaged_database_is_refused(folder: Path) -> None:
    octets = bytearray((folder / "pocket.db").read_bytes())
    octets[4096 : len(octets)] = bytes(len(octets) - 4096)
    (folder / "ballast").write_bytes(b"room")
    for damaged in (octets, b"not a database at all" * 400):
        (folder / "pocket.db").write_bytes(damaged)
        with pytest.raises(StoreBroken, match=r"damaged .*: copy the data folder away"):
            kit.opened(folder)
    assert (folder / "ballast").exists(), "no lack of room was the reason"


def test_accounts_that_do_not_fit_together_are_refused(folder: Path) -> None:
    kit.change(folder, "DELETE FROM member")
    with pytest.raises(StoreBroken):
        kit.opened(folder)
