"""A real box takes updates, on a machine whose system is a stand-in: by hand, at night, from anywhere."""

from __future__ import annotations

import json
import random
import subprocess
import time
from datetime import datetime
from pathlib import Path

from tests.kit import Client
from tests.kit.box import COMMAND
from tests.updating.house import NewBox, until
from tests.updating.server import Server
from tests.updating.signing import Signer, publish


def test_an_update_from_a_stick_is_taken_tried_and_stays(new_box: NewBox) -> None:
    box = new_box(other="1.0")
    ann = Client.register(box, alias="ann smith")
    stick = box.publish("1.2")
    until(lambda: box.machine.proven == "1.1")
    assert "version 1.2 is there" in box.say("check", "--from", str(stick))
    told = json.loads(box.say("install", "--from", str(stick), "--json"))
    assert told == {"version": "1.2", "installed": True, "restarts": True}
    assert box.machine.asked == ["start --no-block pocket-slots-work.service"]
    assert box.machine.status["other"] == {"version": "1.2", "state": "trying"}
    box.restart_machine()
    status = box.control("status")
    assert status["update"]["trial"] and status["update"]["under_way"]
    assert any("1.2 is being tried" in reason for reason in status["reasons"])
    assert until(lambda: box.machine.proven) == "1.2"
    box.machine.bless()
    state = box.settled()
    assert (state["version"], state["outcome"], state["outcome_version"]) == ("1.2", "installed", "1.2")
    assert box.has("staged") == box.has("incoming") == set()
    assert state["kept"] == "1.2" and len(box.has("kept")) == 4
    assert until(lambda: not box.control("status")["reasons"]) is True
    ann.login()
    assert "1.2 on virt-test" in box.say("status")


def test_a_version_that_does_not_prove_itself_is_told_and_not_taken_again_at_night(new_box: NewBox) -> None:
    box = new_box()
    stick = box.publish("1.2")
    box.say("install", "--from", str(stick))
    box.restart_machine(good=False)
    state = box.settled()
    assert (state["version"], state["outcome"]) == ("1.1", "given up")
    assert box.has("staged") == set() and state["kept"] is None
    until(lambda: any("did not prove itself" in reason for reason in box.control("status")["reasons"]))
    assert box.control("status")["state"] == "warning"
    doctor = subprocess.run(
        [*COMMAND, "doctor", "--data", str(box.data)], capture_output=True, text=True, check=False
    )
    assert "1.2 did not prove itself, and 1.1 came back" in doctor.stdout + doctor.stderr
    told = box.say("status")
    assert "not again" in told and "1.2" in told
    assert until(lambda: box.control("status")["state"] == "serving")
    assert "--again" in box.say("install", "--from", str(stick), code=1)
    box.say("install", "--from", str(stick), "--again")
    box.restart_machine()
    until(lambda: box.machine.proven)
    box.machine.bless()
    assert box.settled()["outcome"] == "installed"


def test_nothing_that_is_not_signed_with_the_key_of_the_image_is_handed_over(
    new_box: NewBox, stranger: Signer, tmp_path: Path
) -> None:
    box = new_box()
    other = publish(tmp_path / "other", stranger, ["1.2"])
    assert "signature" in box.say("install", "--from", str(other), code=1)
    stick = box.publish("1.2")
    sums = (stick / "SHA256SUMS").read_bytes()
    (stick / "SHA256SUMS").write_bytes(sums.replace(b"1.2", b"1.3"))
    assert "signature" in box.say("install", "--from", str(stick), code=1)
    (stick / "SHA256SUMS").write_bytes(sums)
    (root,) = stick.glob("*.root.zst")
    root.write_bytes(root.read_bytes()[:-1] + b"x")
    assert "not what was signed" in box.say("install", "--from", str(stick), code=1)
    assert box.machine.asked == [] and box.has("staged") == set()
    assert box.control("status")["state"] == "serving"


def test_what_the_system_refuses_is_told_and_cleared_away(new_box: NewBox) -> None:
    box = new_box()
    stick = box.publish("1.2")
    box.machine.write(given_up=["1.2"])
    assert "--again" in box.say("install", "--from", str(stick), code=1)
    box.machine.write(given_up=[])
    (box.machine.root / "usr/lib/systemd/import-pubring.gpg").rename(box.machine.root / "key")
    assert "no key" in box.say("install", "--from", str(stick), code=1)
    (box.machine.root / "key").rename(box.machine.root / "usr/lib/systemd/import-pubring.gpg")
    (box.machine.root / "bin/systemctl").write_text("#!/bin/sh\necho not allowed >&2\nexit 1\n")
    said = box.say("install", "--from", str(stick), code=1)
    assert "not allowed" in said
    assert box.settled()["outcome"] == "failed" and box.has("staged") == set()


def test_an_older_version_only_on_demand_and_back_by_a_word(new_box: NewBox) -> None:
    box = new_box(running="1.2", other="1.1")
    stick = box.publish("1.0", "1.2")
    assert "nobody has a newer version" in box.say("install", "--from", str(stick))
    assert "--downgrade" in box.say("install", "--from", str(stick), "--version", "1.0", code=1)
    told = json.loads(box.say("rollback", "--json"))
    assert told["version"] == "1.1" and told["entries"] == 0
    box.restart_machine()
    assert until(lambda: box.machine.proven) == "1.1"
    box.machine.bless()
    state = box.settled()
    assert (state["outcome"], state["shunned"]) == ("went back", ["1.2"])
    assert "--again" in box.say("install", "--from", str(stick), code=1)
    box.say("install", "--from", str(stick), "--version", "1.0", "--downgrade")
    assert box.machine.status["other"]["version"] == "1.0"


def test_at_night_the_newest_is_taken_from_the_web_over_breaks(new_box: NewBox, tmp_path: Path) -> None:
    folder = tmp_path / "web"
    soon = datetime.now().strftime("%H:%M")
    with Server(folder) as server:
        settings = f'\n[updates]\nautomatic = true\nurl = "{server.url}"\nat = "{soon}"\njitter_s = 0\n'
        box = new_box(config=settings)
        until(lambda: "404" in box.update["last_problem"])
        assert box.control("status")["state"] == "serving"
        publish(folder, box._signer, ["1.2", "1.3"])
        box.terminate()
        notes = box.data / "update/notes.json"
        notes.write_text(json.dumps({**json.loads(notes.read_text()), "tried": 0}))
        server.cut_after = 200_000
        box.start()
        until(lambda: box.machine.status["other"] == {"version": "1.3", "state": "trying"})
        assert ("/updates/pocket-virt-test-1.3.root.zst", "bytes=200000-") in server.asked
        box.restart_machine(good=False)
        assert box.settled()["outcome"] == "given up"
        box.terminate()
        notes.write_text(json.dumps({**json.loads(notes.read_text()), "tried": 0}))
        before = len(server.asked)
        box.start()
        until(lambda: len(server.asked) > before)
        until(lambda: box.machine.status["other"] == {"version": "1.2", "state": "trying"})


def test_killed_at_any_moment_it_goes_on_or_is_as_before(new_box: NewBox, tmp_path: Path) -> None:
    dice = random.Random(5)
    folder = tmp_path / "web"
    with Server(folder) as server:
        box = new_box(config=f'\n[updates]\nurl = "{server.url}"\n')
        publish(folder, box._signer, ["1.2"], octets=2_000_000)
        server.rate = 3_000_000
        kills = 0
        for _ in range(40):
            if box.machine.status["other"]["version"] == "1.2":
                break
            until(lambda: box.update["version"])
            state = box.update
            if state["phase"] is None:
                box.control("update.install")
            time.sleep(dice.uniform(0, 0.5))
            box.kill9()
            kills += 1
            staged = box.data / "update/staged"
            if (staged / "request.json").exists():
                assert len(list(staged.glob("*.zst"))) == 2, "the request is written last"
            box.start()
            server.rate += 400_000
        assert kills >= 2
        until(lambda: box.machine.status["other"] == {"version": "1.2", "state": "trying"})
    box.restart_machine(kill=True)
    until(lambda: box.machine.proven == "1.2")
    box.machine.bless()
    assert box.settled()["outcome"] == "installed"
    assert box.has("incoming") == box.has("staged") == set()


def test_on_a_trial_with_a_broken_store_there_is_no_proof(new_box: NewBox) -> None:
    box = new_box()
    Client.register(box, alias="ann smith")
    box.say("install", "--from", str(box.publish("1.2")))
    box.terminate()
    box.machine.boot()
    before = json.loads((box.data / "update/before.json").read_text())
    assert before["version"] == "1.1" and before["linked"] == []
    import sqlite3

    with sqlite3.connect(box.data / "pocket.db") as connection:
        connection.execute("UPDATE entry SET signature = zeroblob(64) WHERE kind = 1")
    connection.close()
    box.start()
    until(lambda: "damaged" in str(box.update["unproven"]))
    assert box.machine.proven is None
    box.terminate()
    box.machine.give_up()
    box.start()
    assert box.settled()["outcome"] == "given up"


def test_on_a_laptop_it_says_how(tmp_path: Path) -> None:
    for words in (["check"], ["install"], ["status"], ["rollback"]):
        done = subprocess.run(
            [*COMMAND, "update", *words, "--json", "--data", str(tmp_path)],
            capture_output=True,
            text=True,
            check=False,
        )
        told = json.loads(done.stdout)
        assert done.returncode == 3 and told["managed"] is False and len(told["do"]) == 2
    done = subprocess.run([*COMMAND, "update", "check"], capture_output=True, text=True, check=False)
    assert done.returncode == 3 and done.stdout == "" and "was not started from an image" in done.stderr
