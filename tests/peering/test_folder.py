"""A box is blank, or about to join, or joined, whatever interrupts it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from appliance import reset
from appliance.pairing import BoxEntry, BoxGift
from appliance.peering import folder as joining
from appliance.store.database import Database
from appliance.store.journal import BoxKey

BOXES = [BoxEntry("3F2A+%BC", b"\x01" * 32, 0, "living room", ["=192.168.1.5:4433"])]
GIFT = BoxGift("Home", "SHA256:" + "0af7" * 16, "the site's cert", "the site's key", BOXES, "3F2A+%BC")


def content(folder):
    """All files with what is in them."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def blank(folder):
    """A box with a history of its own."""
    for name in ("pocket.db", "pocket.db-wal", "pocket.db-shm", "ballast", "oidc-keys.json", "pocket.toml"):
        (folder / name).write_text(f"old {name}")
    for name in ("tls/cert.pem", "tls/key.pem", "blobs/ab", "blobs/cd"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(f"old {name}")
    BoxKey.load_or_create(folder / "box.key")
    return folder


def copied(folder):
    """The same, when it has joined and its copy is complete. Returns the new key."""
    key = joining.new_key(folder)
    joining.keep(folder, GIFT)
    joining.accept(folder, 3)
    copy = joining.prepare_copy(folder)
    (copy / "pocket.db").write_text("new pocket.db")
    (copy / "blobs").mkdir(exist_ok=True)
    (copy / "blobs" / "ef").write_text("new blob")
    return key


JOINED = {
    "pocket.db": b"new pocket.db",
    "blobs/ef": b"new blob",
    "tls/cert.pem": b"the site's cert",
    "tls/key.pem": b"the site's key",
    "oidc-keys.json": b"old oidc-keys.json",
    "pocket.toml": b"old pocket.toml",
}


def is_joined(folder, key):
    found = content(folder)
    return found.pop("box.key") and found == JOINED and BoxKey.load(folder / "box.key").public == key.public


@pytest.fixture
def folder(tmp_path):
    return blank(tmp_path)


def test_a_blank_box_stays_one_until_it_was_accepted(folder):
    assert joining.find(folder) is None
    joining.new_key(folder)
    joining.keep(folder, GIFT)
    assert joining.find(folder) is None and not joining.finish(folder)
    joining.accept(folder, 3)
    assert joining.find(folder) == joining.Joining("Home", 3, "3F2A+%BC", BOXES)
    assert not joining.finish(folder)
    assert (folder / "pocket.db").read_text() == "old pocket.db"


def test_an_attempt_that_failed_leaves_its_key_and_no_more(folder):
    before = content(folder)
    key = joining.new_key(folder)
    assert joining.new_key(folder).public == key.public
    joining.keep(folder, GIFT)
    joining.forget(folder)
    assert content(folder) == before
    assert joining.new_key(folder).public != key.public


def test_what_is_secret_is_the_owners_alone(folder):
    copied(folder)
    joining.mark(folder)
    for name in ("joining/box.key", "joining/key.pem", "joining", "copy", "copy/box.key"):
        assert (folder / name).stat().st_mode & 0o077 == 0, name


def test_the_copy_takes_the_place_of_what_was_there(folder):
    key = copied(folder)
    joining.mark(folder)
    assert joining.finish(folder)
    assert is_joined(folder, key)
    assert not joining.finish(folder) and joining.find(folder) is None


def test_files_that_only_the_old_data_have_are_kept(folder):
    (folder / "blobs" / "12").mkdir()
    (folder / "blobs" / "12" / "1234").write_text("here alone")
    (folder / "blobs" / "incoming").mkdir()
    (folder / "blobs" / "incoming" / "half").write_text("never finished")
    copied(folder)
    joining.mark(folder)
    assert joining.finish(folder)
    assert {name for name in content(folder) if name.startswith("blobs")} == {"blobs/12/1234", "blobs/ef"}


def test_a_copy_that_is_not_complete_is_not_taken(folder):
    joining.new_key(folder)
    joining.keep(folder, GIFT)
    joining.accept(folder, 3)
    joining.prepare_copy(folder)
    with pytest.raises(ValueError, match="missing"):
        joining.mark(folder)
    assert not joining.finish(folder)


def test_a_copy_that_could_not_be_closed_for_want_of_room_is_closed_later(folder):
    joining.new_key(folder)
    joining.keep(folder, GIFT)
    joining.accept(folder, 3)
    copy = joining.prepare_copy(folder)
    database = Database(copy / "pocket.db")
    database.add_box(0, "ABCDEFGH", bytes(32))
    assert (copy / "pocket.db-wal").exists()
    database.connection.execute("PRAGMA journal_mode")
    snapshot = {path.name: path.read_bytes() for path in copy.iterdir() if path.is_file()}
    database.connection.close()
    for name, octets in snapshot.items():
        (copy / name).write_bytes(octets)
    joining.mark(folder)
    assert not (copy / "pocket.db-wal").exists()
    assert joining.finish(folder)


def test_a_copy_that_was_begun_goes_on(folder):
    key = copied(folder)
    assert joining.prepare_copy(folder) == folder / "copy"
    assert BoxKey.load(folder / "copy" / "box.key").public == key.public
    assert (folder / "copy" / "pocket.db").read_text() == "new pocket.db"


def test_a_box_that_was_away_for_long_is_copied_anew_and_stays_itself(folder):
    key = BoxKey.load(folder / "box.key")
    joining.again(folder, joining.Joining("Home", 1, "3F2A+%BC", BOXES, True), GIFT.cert, GIFT.key)
    found = joining.find(folder)
    assert found is not None and found.again
    copy = joining.prepare_copy(folder)
    (copy / "pocket.db").write_text("new pocket.db")
    (copy / "blobs").mkdir()
    (copy / "blobs" / "ef").write_text("new blob")
    joining.mark(folder)
    joining.finish(folder)
    assert is_joined(folder, key)


def test_a_reset_forgets_a_joining_too(folder):
    copied(folder)
    joining.mark(folder)
    reset.mark(folder)
    reset.finish(folder)
    assert set(content(folder)) == {"pocket.toml"}
    assert not joining.finish(folder)


KILLED = """
import os, sys
from pathlib import Path
from appliance.peering import folder
steps = 0
def watch(event, args):
    global steps
    made = event == "open" and args[2] & os.O_CREAT
    if made or event in ("os.remove", "os.rmdir", "os.rename", "os.mkdir"):
        steps += 1
        if steps > int(sys.argv[2]):
            os.kill(os.getpid(), 9)
sys.addaudithook(watch)
folder.{step}
os._exit(0)
"""


def run(step, folder, steps):
    sources = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONDONTWRITEBYTECODE": "1"}
    program = [sys.executable, "-c", KILLED.replace("{step}", step), str(folder), str(steps)]
    return subprocess.run(program, env=sources, check=False).returncode


@pytest.mark.parametrize("steps", range(0, 40, 3))
def test_killed_in_the_middle_of_taking_its_place_the_next_start_goes_on(folder, steps):
    key = copied(folder)
    joining.mark(folder)
    killed = run("finish(Path(sys.argv[1]))", folder, steps)
    assert killed in (-9, 0)
    assert joining.finish(folder) is (killed == -9)
    assert is_joined(folder, key)


@pytest.mark.parametrize("steps", range(0, 8))
def test_killed_when_it_is_accepted_it_is_blank_or_joins(folder, steps):
    joining.new_key(folder)
    joining.keep(folder, GIFT)
    before = content(folder)
    assert run("accept(Path(sys.argv[1]), 3)", folder, steps) in (-9, 0)
    found = joining.find(folder)
    if found is None:
        assert set(before) <= set(content(folder))
        joining.accept(folder, 3)
        found = joining.find(folder)
    assert found is not None and found.slot == 3
