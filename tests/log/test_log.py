"""Logging: what is written, what never is, and how much at most."""

import io
import json
import logging
import os
import socket
import struct
import sys
import time
import warnings
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.log import RING_RECORDS, get_logger, recent, setup
from appliance.log.fields import clean
from appliance.log.limit import ALL_BURST, EVENT_BURST, EVENTS_MAX, Limit
from appliance.log.outputs import Journal, Text, choose_output, datagram, journal_name, reaches_journal

log = get_logger("appliance.test")


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def logged(request):
    """Start logging in a format; call it for what was written."""
    undone = []

    def start(level="info", format="text", stream=None, limit=None):
        stream = stream or io.StringIO()
        undone.append(setup(level, format, stream, limit))
        return stream.getvalue

    yield start
    for undo in undone:
        undo()


def entry(**fields):
    head = {
        "n": 1,
        "time": "2026-01-02T15:04:05.678Z",
        "level": "info",
        "logger": "appliance.x",
        "event": "e",
    }
    return head | fields


def test_a_record_is_one_line_of_time_level_event_and_fields(logged):
    text = logged()
    log.warning("link closed", member="ABC", reason="idle for too long", after_s=120.5)
    time, rest = text().split(" ", 1)
    assert datetime.fromisoformat(time).tzinfo is not None
    assert rest == 'warning link closed  member=ABC reason="idle for too long" after_s=120.5\n'


def test_a_terminal_gets_short_times_and_colours_unless_told_not_to(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    terminal = Terminal()
    Text(terminal).write(entry(level="error"))
    assert terminal.getvalue() == "\x1b[1;31m15:04:05 error   e\x1b[0m\n"
    monkeypatch.setenv("NO_COLOR", "1")
    terminal = Terminal()
    Text(terminal).write(entry(level="error"))
    assert terminal.getvalue() == "15:04:05 error   e\n"


@given(st.text(), st.text())
def test_nothing_in_a_record_can_add_a_line_or_move_the_cursor(event, value):
    stream = io.StringIO()
    Text(stream).write(entry(event=event, alias=value))
    written = stream.getvalue()
    assert written.endswith("\n")
    assert written[:-1].isprintable()


def test_levels_below_the_setting_are_left_out(logged):
    text = logged("warning")
    log.info("news")
    log.warning("trouble")
    assert "news" not in text()
    assert "trouble" in text()
    assert [record["event"] for record in recent()] == ["trouble"]


def test_other_libraries_are_heard_from_warning_on_even_when_we_debug(logged):
    text = logged("debug")
    logging.getLogger("other").info("chatter")
    logging.getLogger("other").warning("number %d", 7)
    log.debug("detail")
    assert [record["event"] for record in recent()] == ["number 7", "detail"]
    assert "chatter" not in text()


def test_warnings_are_logged(logged):
    text = logged()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old way", stacklevel=1)
    assert "old way" in text()


def test_json_is_one_object_per_line(logged):
    text = logged(format="json")
    log.info("one", count=1, name="Ö\n", lone="\ud800")
    log.info("two", ok=True, none=None)
    one, two = (json.loads(line) for line in text().splitlines())
    assert (one["event"], one["count"], one["name"], one["lone"]) == ("one", 1, "Ö\n", "?")
    assert (two["level"], two["logger"], two["ok"], two["none"]) == ("info", "appliance.test", True, None)


@pytest.mark.parametrize(
    "name",
    ["password", "node", "nodeid", "key", "token", "oidc", "id_token", "access_token", "NodeId", "tls_key"],
)
@pytest.mark.parametrize("format", ["text", "json"])
def test_secrets_are_never_written(logged, name, format):
    text = logged(format=format)
    log.info("e", **{name: "s3cret"})
    log.info("e", header={name: "s3cret", "uid": "u"})
    assert "s3cret" not in text()
    assert "s3cret" not in json.dumps(recent())
    assert "u" in text()


def test_octets_are_counted_not_shown(logged):
    text = logged()
    log.info("e", body=b"private", parts=[b"private", bytearray(3)])
    assert "body=<7 octets>" in text().replace('"', "")
    assert "private" not in text()


def test_objects_are_named_not_shown():
    class Request:
        def __repr__(self):
            return "private"

    assert clean({"request": Request()}) == {"request": "<Request>"}


def test_fields_are_bounded_in_number_and_length():
    cleaned = clean({f"f{number}": "x" * 10_000 for number in range(100)})
    assert len(cleaned) == 24
    assert {len(str(value)) for value in cleaned.values()} == {512}


def test_a_field_cannot_pose_as_the_head_of_a_record(logged):
    logged()
    log.info("real", event="false", level="error", time="never", n=-1)
    (record,) = recent()
    assert (record["event"], record["level"], record["event_"]) == ("real", "info", "false")
    assert record["n"] == 1


def test_an_exception_is_told_with_its_traceback(logged):
    text = logged()
    try:
        raise ExceptionGroup("several", [ValueError("no good"), KeyError("k")])
    except* ValueError:
        log.exception("it broke", member="m")
    except* KeyError:
        pass
    (record,) = recent()
    assert record["error"].startswith("ExceptionGroup: several")
    assert "ValueError: no good" in record["error"]
    assert "test_log.py" in record["traceback"]
    assert text().count("\n    ") > 3


def test_the_ring_keeps_the_latest_records_only(logged):
    logged("debug")
    for number in range(RING_RECORDS + 5):
        log.debug("e", number=number)
    kept = recent(lines=10_000)
    assert [record["number"] for record in kept] == list(range(5, RING_RECORDS + 5))


def test_recent_gives_the_newest_oldest_first(logged):
    logged("debug")
    for level in (log.debug, log.info, log.warning, log.error):
        level("e")
    numbers = lambda **asked: [record["n"] for record in recent(**asked)]  # noqa: E731
    assert numbers(lines=2) == [3, 4]
    assert numbers(level="warning") == [3, 4]
    assert numbers(level="info", lines=2) == [3, 4]
    assert numbers(after=1, level="info") == [2, 3, 4]
    assert numbers(after=4) == numbers(lines=0) == numbers(lines=-1) == []


def test_a_flood_of_one_event_is_cut_and_counted():
    now = [0.0]
    limit = Limit(lambda: now[0])
    admitted = [limit.admit("e", False) for _ in range(1000)]
    assert admitted.count(None) == 1000 - EVENT_BURST
    assert limit.admit("other", False) == 0
    now[0] = 4.0
    assert limit.admit("e", False) == 1000 - EVENT_BURST
    assert limit.admit("e", False) is None


def test_a_long_silence_saves_up_no_more_than_one_burst():
    now = [0.0]
    limit = Limit(lambda: now[0])
    assert limit.admit("e", False) == 0
    now[0] = 1e6
    assert [limit.admit("e", False) for _ in range(1000)].count(0) == EVENT_BURST


def test_many_events_together_are_cut_but_errors_get_through():
    now = [0.0]
    limit = Limit(lambda: now[0])
    admitted = [limit.admit(f"e{number}", False) for number in range(1000)]
    assert admitted.count(0) == ALL_BURST
    assert limit.admit("error", True) == 0
    now[0] = 10.0
    assert [limit.admit(f"f{number}", False) for number in range(1000)].count(0) == 20


def test_an_hour_of_flood_is_bounded():
    now = [0.0]
    limit = Limit(lambda: now[0])
    written = 0
    for second in range(3600):
        now[0] = float(second)
        written += sum(limit.admit(f"e{number}", False) is not None for number in range(50))
    assert written <= ALL_BURST + 2 * 3600


def test_the_limit_itself_does_not_grow():
    limit = Limit()
    for number in range(10 * EVENTS_MAX):
        limit.admit(number, False)
    assert len(limit._events) == EVENTS_MAX


def test_what_was_left_out_is_told_with_the_next_record(logged):
    now = [0.0]
    text = logged(limit=Limit(lambda: now[0]))
    for number in range(100):
        log.info("login failed", number=number)
    assert len(text().splitlines()) == len(recent()) == EVENT_BURST
    now[0] = 5.0
    log.info("login failed", number=100)
    assert text().endswith("login failed  number=100 suppressed=70\n")


def test_a_broken_output_stops_nobody(logged):
    class Full(io.StringIO):
        def write(self, text):
            raise OSError(28, "No space left on device")

    logged(stream=Full())
    log.info("e")
    assert len(recent()) == 1


@pytest.fixture
def journal(tmp_path):
    """A socket like journald's, and an output that writes to it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "socket"))
        receiver.settimeout(5)
        output = Journal(io.StringIO(), str(tmp_path / "socket"))
        yield receiver, output
        output.close()


def journal_fields(octets):
    """What journald makes of a datagram."""
    fields = {}
    while octets:
        line, _, rest = octets.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            (size,) = struct.unpack_from("<Q", rest)
            value, rest = rest[8 : 8 + size], rest[9 + size :]
            assert octets[len(line) + 9 + size : len(line) + 10 + size] == b"\n"
        assert name.decode() not in fields
        fields[name.decode()] = value.decode()
        octets = rest
    return fields


def test_journald_gets_fields(journal):
    receiver, output = journal
    output.write(entry(level="warning", member="M", note="a\nb=c", traceback="x\ny\n"))
    fields = journal_fields(receiver.recv(1 << 20))
    assert fields == {
        "MESSAGE": 'e  member=M note="a\\nb=c"',
        "PRIORITY": "4",
        "SYSLOG_IDENTIFIER": "pocket",
        "EVENT": "e",
        "LOGGER": "appliance.x",
        "MEMBER": "M",
        "NOTE": "a\nb=c",
        "TRACEBACK": "x\ny\n",
    }


@given(st.dictionaries(st.text(), st.text()))
def test_journald_gets_every_value_whole_under_a_name_it_takes(fields):
    for name, value in journal_fields(datagram(entry(**clean(fields)))).items():
        assert name[0].isalpha() and name.isascii() and name == name.upper() and len(name) <= 64
        assert value is not None


def test_the_largest_record_fits_a_datagram(journal):
    receiver, output = journal
    fields = clean({f"f{number}": "\U0001f600" * 512 for number in range(24)})
    output.write(entry(event="\U0001f600" * 256, **fields, traceback="\U0001f600" * 8192))
    received = journal_fields(receiver.recv(1 << 20))
    assert received["F23"] == fields["f23"] == "\U0001f600" * 512
    assert received["TRACEBACK"] == "\U0001f600" * 8192


def test_a_busy_journald_does_not_hold_the_box_up(journal):
    _, output = journal
    began = time.monotonic()
    for _ in range(1000):
        output.write(entry())
        assert time.monotonic() - began < 5


def test_without_a_journald_the_record_goes_to_the_stream(tmp_path):
    stream = io.StringIO()
    output = Journal(stream, str(tmp_path / "none"))
    output.write(entry(level="error", x=1))
    assert stream.getvalue() == "<3>e  x=1\n"


@pytest.mark.parametrize("name", ["message", "_hidden", "1st", "", "ä", "x" * 100, "priority", "logger"])
def test_field_names_that_journald_would_refuse_are_changed(name):
    changed = journal_name(name)
    assert changed not in {"MESSAGE", "PRIORITY", "LOGGER"}
    assert changed[0].isalpha() and changed.isascii() and len(changed) <= 64


def test_auto_takes_journald_only_when_it_reads_the_stream(monkeypatch, tmp_path):
    with open(tmp_path / "err", "w") as stream:
        status = os.fstat(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
        assert reaches_journal(stream)
        chosen = choose_output("auto", stream)
        assert isinstance(chosen, Journal)
        chosen.close()
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino + 1}")
        assert isinstance(choose_output("auto", stream), Text)
    assert not reaches_journal(io.StringIO())


def test_a_second_setup_replaces_the_first(logged):
    first, second = logged(), logged()
    log.info("e")
    assert first() == ""
    assert second().count("\n") == 1
    assert sys.exc_info() == (None, None, None)
