"""The console on a cable: what a person sees who types words, and what cannot be done to the box with it."""

import fcntl
import os
import time

import pytest

from appliance.console import outbox, port, session
from tests.console.cable import WAIT_S, console


def test_enter_greets_with_what_a_person_needs_to_connect(tmp_path):
    with console(tmp_path, status={"reasons": ["the disk is nearly full"]}) as (_, person, _):
        person.types("\r")
        seen = person.sees("^pocket> ")
        assert "Müller & Söhne: serving\r\n" in seen
        assert "  ! the disk is nearly full\r\n" in seen
        assert "address      =192.168.1.5:4433\r\n" in seen
        assert "fingerprint  SHA256:AB:CD\r\n" in seen
        person.types("\r")
        assert "serving" not in person.sees("^pocket> ")


def test_it_says_nothing_to_who_says_nothing(tmp_path):
    with console(tmp_path) as (_, person, _):
        person.reads(1.5)
        assert person.seen == b""


def test_a_status_that_cannot_be_had_does_not_end_the_console(tmp_path):
    with console(tmp_path, status={"site": OSError("broken")}) as (running, person, _):
        person.types("\r")
        person.sees("the box does not say how it is")
        running.status["site"] = "Home"
        person.types("status\r")
        person.sees("said")


def test_a_word_is_run_as_it_is_without_a_shell(tmp_path):
    with console(tmp_path) as (_, person, _):
        person.types("\rstatus 'a b' $(id); x* > y\r")
        seen = person.sees("^confirmed None\r\n(?=pocket> )")
        assert f"said ['status', 'a b', '$(id);', 'x*', '>', 'y'] in {tmp_path} ''\r\n" in seen
        assert not (tmp_path / "y").exists()


@pytest.mark.parametrize("line", ["serve", "python3", "/bin/sh", "completion bash", "-h", "pocket serve"])
def test_only_words_on_the_list_are_run(tmp_path, line):
    with console(tmp_path) as (_, person, _):
        person.types(f"\r{line}\r")
        person.sees("there is no word")
        person.sees("^pocket> ")


def test_pocket_may_be_typed_before_a_word(tmp_path):
    with console(tmp_path) as (_, person, _):
        person.types("\rpocket status\r")
        person.sees(r"said \['status'\]")


def test_an_open_quote_is_told(tmp_path):
    with console(tmp_path) as (_, person, _):
        person.types("\rstatus 'x\r")
        person.sees("a quote is not closed")


def test_help_lists_the_words_there_are(tmp_path):
    with console(tmp_path) as (_, person, _):
        person.types("\rhelp\r")
        seen = person.sees("^Tab completes")
        assert "status  How the box is doing.\r\n" in seen
        assert "wifi    " in seen
        assert "serve" not in seen.partition("help lists the words")[2]
        person.types("help status\r")
        person.sees(r"said \['status', '--help'\]")


def test_ctrl_c_ends_a_word_and_the_console_goes_on(tmp_path):
    with console(tmp_path) as (_, person, _):
        person.types("\rstatus --watch\r")
        person.sees("^turn 3")
        person.types("\x03")
        person.sees("\\^C\r\npocket> ")
        person.types("status\r")
        person.sees("said")


def test_a_word_that_ignores_ctrl_c_is_killed(tmp_path):
    with console(tmp_path) as (_, person, _):
        person.types("\rlog 1 hang\r")
        person.sees("^x{99}")
        start = time.monotonic()
        person.types("\x03")
        person.sees("\\^C\r\npocket> ")
        assert time.monotonic() - start < 5


def test_a_word_ends_after_its_time(tmp_path):
    with console(tmp_path, word_limit_s=1.0) as (_, person, _):
        person.types("\rlog 1 hang\r")
        person.sees("^ended after 1 s\r\npocket> ")


def test_what_is_typed_ahead_is_run_after_the_word(tmp_path):
    with console(tmp_path) as (_, person, _):
        person.types("\rstatus 1\rstatus 2\rpair open\r")
        person.sees(r"'status', '1'")
        person.sees(r"'status', '2'")
        person.sees(r"'pair', 'open'")


def test_a_flood_pasted_while_a_word_runs_does_not_run_half_a_line(tmp_path):
    with console(tmp_path) as (_, person, _):
        person.types("\rstatus --watch\r")
        person.sees("^turn 1")
        person.types("device drop 12345 " * 2000 + "\rpair close\r")
        person.types("\x03status ok\r")
        seen = person.sees("'status', 'ok'")
        assert "drop" not in seen.partition("said")[0].rpartition("pocket> ")[2]
        assert "'device'" not in seen


def test_tab_completes_words_and_names(tmp_path):
    with console(tmp_path) as (_, person, _):
        person.types("\rsta\t")
        person.sees("^pocket> status ")
        person.types("\x15device drop An\t\r")
        person.sees("'device', 'drop', 'Ann Smith/phone'")


def test_a_word_that_does_harm_wants_the_sites_name(tmp_path):
    with console(tmp_path) as (_, person, _):
        person.types("\rfactory-reset\r")
        person.sees("type the site's name, Müller & Söhne")
        person.types("Home\r")
        person.sees("it was not done")
        person.types("factory-reset\rMüller & Söhne\r")
        person.sees(r"said \['factory-reset'\]")
        person.sees("confirmed 1")
        person.types("factory-reset --yes\r\x03")
        person.sees("it was not done")
        person.types("factory-reset --help\r")
        person.sees("confirmed None")


def test_or_a_hand_on_the_button(tmp_path):
    with console(tmp_path, button=True, confirm=("device drop",)) as (running, person, _):
        person.types("\rdevice list\r")
        person.sees("confirmed None")
        person.types("device --json drop 7\r")
        person.sees("or press the button on the box")
        person.sees("site's name> ")
        running.press()
        person.sees("'device', '--json', 'drop', '7'")
        person.sees("confirmed 1")


def test_no_answer_is_no(tmp_path, monkeypatch):
    monkeypatch.setattr(session, "CONFIRM_S", 0.5)
    with console(tmp_path, button=True) as (_, person, _):
        person.types("\rrestore\r")
        person.sees("site's name> \r\nit was not done")


def test_without_a_status_nothing_is_confirmed(tmp_path):
    with console(tmp_path, status={"site": OSError("broken")}) as (_, person, _):
        person.types("\rrestore\r")
        person.sees("it was not done")


def test_exit_forgets_what_was_typed(tmp_path):
    with console(tmp_path) as (_, person, _):
        person.types("\rstatus\r")
        person.sees("said")
        person.types("\x04")
        person.sees("bye")
        person.types("\r")
        person.sees("serving")
        person.sees("pocket> ")
        person.types("\x1b[A")
        person.sees("\a")
        person.types("exit\r")
        person.sees("bye; Enter to come back\r\n")
        person.reads(0.3)
        assert person.seen == b""


def test_a_cable_may_be_pulled_and_plugged_in_again(tmp_path, caplog):
    with console(tmp_path, plugged=False) as (_, person, cable):
        for _ in range(3):
            person.types("lost\r")
            cable.plug()
            cable.wait_until_open()
            person.types("\x15\rstatus --watch\r")
            person.sees("^turn 2")
            cable.unplug()
            person.reads(0.2)
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_a_pulled_cable_ends_the_word_that_ran(tmp_path):
    with console(tmp_path) as (_, person, cable):
        person.types("\rlog 1 hang\r")
        person.sees("^x{99}")
        assert children()
        cable.unplug()
        deadline = time.monotonic() + WAIT_S
        while children():
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_a_stop_ends_words_and_closes_ports_at_once(tmp_path):
    with console(tmp_path) as (running, person, _):
        person.types("\rlog 1 hang\r")
        person.sees("^x{99}")
        assert running.stop() < 1.0
        assert not children()


def test_a_port_that_nobody_reads_holds_up_nothing_and_says_so_later(tmp_path, monkeypatch):
    monkeypatch.setattr(outbox, "STALL_S", 0.5)
    with console(tmp_path) as (running, person, cable):
        person.types("\r")
        person.sees("^pocket> ")
        cable.paused = True
        person.types("log 3000\rstatus\r")
        before = running.ticks
        time.sleep(3)
        assert running.ticks - before > 100
        cable.paused = False
        seen = person.sees(r"\[\d+ octets are missing here: nobody read them\]")
        assert len(seen) < 40_000
        person.types("\rstatus after\r")
        person.sees("'status', 'after'")


def test_much_output_arrives_whole_at_the_speed_of_the_reader(tmp_path):
    with console(tmp_path) as (_, person, _):
        person.types("\rlog 3000\r")
        person.sees("^pocket> log 3000\r\n")
        assert person.sees("^pocket> ") == ("x" * 99 + "\r\n") * 3000 + "pocket> "


def test_a_flood_of_junk_does_not_hold_up_the_box(tmp_path):
    with console(tmp_path) as (running, person, _):
        person.types("\r")
        person.sees("^pocket> ")
        before, start = running.ticks, time.monotonic()
        sent = 0
        while time.monotonic() - start < 3:
            person.serial.write(os.urandom(4096) + b"IMPROV\x01\x03\xff" + b"x" * 2000)
            person.serial.read(65536)
            sent += 6000
        assert running.ticks - before > 150
        assert running.worst_s < 2
        person.reads(session.DEAF_S + 1.5)
        person.seen = b""
        person.types("\x15\x03\rstatus after\r")
        person.sees("'status', 'after'")


def test_a_device_that_sends_lines_which_are_no_words_is_not_answered_for_long(tmp_path, monkeypatch):
    monkeypatch.setattr(session, "DEAF_S", 1.0)
    with console(tmp_path) as (_, person, _):
        for _ in range(session.WRONG_MAX + 20):
            person.types("$GPGGA,123519\r\n")
        person.sees("does not listen for 1 s\r\n")
        person.reads(0.5)
        assert person.seen == b""
        person.reads(1.0)
        person.types("\rstatus\r")
        person.sees("said")


def test_two_consoles_on_one_cable_fall_silent(tmp_path, monkeypatch):
    monkeypatch.setattr(session, "DEAF_S", 0.5)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with console(tmp_path / "a") as (first, person, cable):
        person.types("hello\r")
        person.sees("^pocket> ")
        person.close()
        with console(tmp_path / "b", plugged=False, ports=(cable.person,)) as (second, _, _):
            time.sleep(1.5)
            os.write(cable.box_master, b"hello\r")
            before = first.ticks + second.ticks
            cable.wait_until_quiet(seconds=2, at_most_s=30)
            assert first.ticks + second.ticks - before > 200


def test_a_port_that_is_taken_is_told_and_opened_when_it_is_free(tmp_path, monkeypatch):
    monkeypatch.setattr(port, "BACKOFF_MAX_S", 1.0)
    with console(tmp_path, plugged=False) as (running, person, cable):
        cable.plug()
        with open(cable.box, "rb", buffering=0) as other:
            fcntl.flock(other, fcntl.LOCK_EX)
            wait_for(lambda: running.health.reasons)
            assert "another program has it" in running.health.reasons[0]
        wait_for(lambda: not running.health.reasons)
        cable.wait_until_open()
        person.types("\r")
        person.sees("^pocket> ")


def test_what_is_no_port_is_told(tmp_path):
    (tmp_path / "ttyBOX9").write_text("")
    with console(tmp_path) as (running, person, _):
        wait_for(lambda: running.health.reasons)
        assert "is no serial port" in running.health.reasons[0]
        assert running.health.state == "warning"
        person.types("\r")
        person.sees("^pocket> ")


def wait_for(true):
    deadline = time.monotonic() + WAIT_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def children():
    """The processes that this one has started and that run."""
    found = []
    for task in os.listdir("/proc/self/task"):
        with open(f"/proc/self/task/{task}/children") as file:
            found += file.read().split()
    return [pid for pid in found if "stub.py" in command_line(pid)]


def command_line(pid):
    try:
        with open(f"/proc/{pid}/cmdline") as file:
            return file.read()
    except OSError:
        return ""
