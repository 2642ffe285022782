"""The words that ask a running box: what they ask, what people see, what programs get."""

import json
import re

import pytest

from appliance.control import ControlError

STATUS = {
    "site": "Home", "version": "0.1.0", "box": "3F2A", "state": "warning",
    "reasons": ["the disk is nearly full"], "uptime_s": 11_530,
    "started": "2026-01-02T15:04:05.000Z", "address": "=192.168.1.5:4433",
    "fingerprint": "SHA256:AB:CD", "registration": "pairing", "pairing_open_s": 0, "members": 12, "nodes": 31,
    "groups": 4, "links": {"open": 24, "unauthenticated": 1, "refused": 0},
    "queues": {"messages": 1133, "octets": 4_400_000, "oldest_s": 7325},
    "store": {"commits": 1204, "commits_per_s": 3.25, "syncs": 1250, "syncs_per_s": 3.0, "entries": 2000,
              "octets_written": 12 << 20},
    "messages": {"accepted": 1204, "delivered": 4100, "refused": 3, "resent": 2},
    "disk": {"free": 12 << 30, "total": 29 << 30, "reserve": 512 << 20, "data": 1100 << 20},
}  # fmt: skip
PHONE = {"device": 7, "member": "UID1", "alias": "Ann Smith", "label": "phone", "online": True, "queued": 0,
         "queued_octets": 0, "oldest_s": 0}  # fmt: skip
LAPTOP = PHONE | {"device": 12, "label": "old\x1b[2Jlaptop\n", "online": False, "queued": 1500,
                  "queued_octets": 1536, "oldest_s": 90061}  # fmt: skip
ANN = {"uid": "UID1", "aliases": ["Ann Smith", "アンさん"], "devices": 2, "online": 1, "queued": 1500}
BOB = {"uid": "UID2", "aliases": [], "devices": 1, "online": 0, "queued": 0}
GROUP = {"gid": "Family group", "invited": ["Bob Smith"], "barred": [],
         "members": [{"uid": "UID1", "alias": "Ann Smith"}, {"uid": "UID2", "alias": None}]}  # fmt: skip


def test_status_tells_people_what_matters(pocket):
    pocket.answers(status=STATUS)
    assert pocket("status").splitlines() == [
        "Home: warning for 3 h 12 min",
        "  ! the disk is nearly full",
        "address       =192.168.1.5:4433",
        "fingerprint   SHA256:AB:CD",
        "registration  pairing, closed now (pocket pair open)",
        "members       12 with 31 devices, 4 groups",
        "links         24 open, 1 not logged in, 0 refused",
        "queues        1,133 messages, 4.20 MiB, the oldest waiting for 2 h 2 min",
        "messages      1,204 accepted, 4,100 delivered, 3 refused, 2 sent again",
        "store         1,204 commits (3.2/s), 1,250 syncs (3.0/s), 2,000 journal entries, 12.0 MiB written",
        "disk          12.0 GiB free of 29.0 GiB, 512 MiB kept in reserve, 1.07 GiB used by the box",
        "box           3F2A, version 0.1.0",
    ]
    assert pocket.asked == [("status", {})]


def test_status_tells_whether_the_box_may_be_unplugged(pocket):
    alone = {"copies": 1, "safe_to_unplug": False, "why": "kitchen is away", "one_copy_acks": 1234}
    pocket.answers(status=STATUS | alone)
    assert (
        "copies        1, not safe to unplug: kitchen is away; 1,234 acknowledged with one copy\n"
        in pocket("status")
    )


def test_status_tells_of_other_sites_and_archives_where_there_are_any(pocket):
    memberships = {"kept": 3, "online": 2, "halted": 1, "outbox": 1200, "outbox_oldest_s": 75}
    some = STATUS | {"memberships": memberships, "archives": {"messages": 0, "octets": 0}}
    turns = iter([some, STATUS | {"archives": {"messages": 1500, "octets": 3 << 20}}])
    pocket.answers(status=lambda args: next(turns))
    said = pocket("status")
    assert (
        "memberships   3 at other sites, 2 online, 1 halted; 1,200 requests wait to be sent for 1 min 15 s\n"
        in said
    )
    assert "\nkept" not in said
    assert "kept          1,500 messages, 3.00 MiB\n" in pocket("status")


def test_status_of_a_box_that_is_joining_has_no_figures(pocket):
    pocket.answers(status={"site": "Home", "state": "starting", "reasons": ["joining: 12 %"], "uptime_s": 3})
    assert pocket("status").splitlines()[:2] == ["Home: starting for 3 s", "  ! joining: 12 %"]


def test_status_tells_how_long_pairing_is_still_open(pocket):
    pocket.answers(status=STATUS | {"pairing_open_s": 75.2})
    assert "registration  pairing, open for another 1 min 15 s\n" in pocket("status")


def test_status_of_a_box_of_another_version_leaves_out_what_it_does_not_tell(pocket):
    pocket.answers(status={"site": "Home", "state": "serving"})
    assert "links         - open, - not logged in" in pocket("status")


@pytest.mark.parametrize(
    ("words", "word", "result"),
    [
        (["status"], "status", STATUS),
        (["member", "list"], "member_list", [ANN, BOB]),
        (["member", "show", "x"], "member_show", ANN),
        (["device", "list"], "device_list", [PHONE, LAPTOP]),
        (["device", "drop", "7"], "device_drop", {}),
        (["group", "list"], "group_list", [GROUP]),
        (["pair", "open"], "pair_open", {"open_s": 120}),
        (["pair", "close"], "pair_close", None),
        (["journal", "verify"], "journal_verify", {"ok": True, "entries": 3, "problems": []}),
        (["journal", "scrub"], "journal_scrub", {"running": True, "found": 0, "open": 0, "problems": []}),
    ],
)
def test_json_is_what_the_box_said(pocket, words, word, result):
    pocket.answers(**{word: result})
    assert json.loads(pocket(*words, "--json")) == result


def test_member_list_is_a_table(pocket):
    pocket.answers(member_list=[ANN, BOB])
    assert pocket("member", "list").splitlines() == [
        "ALIASES              UID   DEVICES       QUEUED",
        "Ann Smith, アンさん  UID1  2 (1 online)   1,500",
        "-                    UID2  1 (0 online)       0",
    ]


def test_member_show_has_the_devices(pocket):
    extra = {"groups": ["Family group"], "device_list": [PHONE, LAPTOP], "stored_octets": 2048}
    pocket.answers(member_show=ANN | extra)
    shown = pocket("member", "show", "Ann Smith")
    assert pocket.asked == [("member.show", {"member": "Ann Smith"})]
    assert "groups   Family group\n" in shown
    assert "stored   2.00 KiB of messages sent" in shown
    assert "DEVICE  LABEL " in shown


def test_device_list_is_a_table_and_no_label_can_move_the_cursor(pocket):
    pocket.answers(device_list=[PHONE, LAPTOP])
    assert pocket("device", "list").splitlines() == [
        "DEVICE  MEMBER     LABEL                 ONLINE  QUEUED      SIZE   OLDEST",
        "     7  Ann Smith  phone                 yes          0       0 B        -",
        "    12  Ann Smith  old\\u001b[2Jlaptop\\n  no       1,500  1.50 KiB  1 d 1 h",
    ]
    pocket("device", "list", "Ann Smith")
    assert pocket.asked == [("device.list", {}), ("device.list", {"member": "Ann Smith"})]


def test_device_drop_says_what_it_dropped(pocket):
    pocket.answers(device_drop={})
    assert pocket("device", "drop", "Ann Smith/phone") == "dropped Ann Smith/phone\n"
    assert pocket.asked == [("device.drop", {"device": "Ann Smith/phone"})]


def test_device_drop_asks_a_person_first(pocket, monkeypatch):
    pocket.answers(device_drop={})
    monkeypatch.setattr("appliance.cli.people.at_terminal", lambda: True)
    pocket("device", "drop", "7", stdin="n\n", code=1)
    assert pocket.asked == []
    pocket("device", "drop", "7", "--yes")
    pocket("device", "drop", "7", stdin="y\n")
    assert len(pocket.asked) == 2


def test_group_list_is_a_table(pocket):
    pocket.answers(group_list=[GROUP])
    assert pocket("group", "list").splitlines() == [
        "GROUP         MEMBERS          INVITED    BARRED",
        "Family group  Ann Smith, UID2  Bob Smith  -",
    ]


@pytest.mark.parametrize(
    ("words", "word", "said"),
    [
        (["member", "list"], "member_list", "no members yet: make one with   pocket member add "),
        (["device", "list"], "device_list", "no devices yet: make one with   pocket device add "),
        (["group", "list"], "group_list", "no groups yet: a member's client makes one"),
    ],
)
def test_an_empty_list_says_what_to_do_next(pocket, words, word, said):
    pocket.answers(**{word: []})
    assert pocket(*words).startswith(said)


def test_pair_open_says_where_to_register(pocket):
    pocket.answers(pair_open={"address": "=192.168.1.5:4433", "fingerprint": "SHA256:AB:CD"})
    said = pocket("pair", "open", "--minutes", "2.5")
    assert pocket.asked[0] == ("pair.open", {"minutes": 2.5})
    assert said.startswith(
        "pairing is open for 2 min 30 s: in the client, add an account with this address\n"
    )
    assert "address      =192.168.1.5:4433\nfingerprint  SHA256:AB:CD\n" in said
    pocket("pair", "open")
    assert ("pair.open", {"minutes": 2.0}) in pocket.asked


@pytest.mark.parametrize("minutes", ["0", "-1", "61", "soon"])
def test_pairing_cannot_be_open_for_long(pocket, minutes):
    pocket("pair", "open", "--minutes", minutes, code=2)


def test_pair_close(pocket):
    pocket.answers(pair_close={})
    assert pocket("pair", "close") == "pairing is closed\n"


RECORDS = [
    {
        "n": 1,
        "time": "2026-01-02T15:04:05.678Z",
        "level": "info",
        "logger": "a",
        "event": "started",
        "port": 1,
    },
    {
        "n": 2,
        "time": "2026-01-02T15:04:06.678Z",
        "level": "error",
        "logger": "a",
        "event": "b\x1bad",
        "why": "x y",
    },
]


def test_log_shows_records_newest_last(pocket):
    pocket.answers(log=RECORDS)
    assert pocket("log", "--lines", "7", "--level", "info") == (
        "2026-01-02T15:04:05.678Z info    started  port=1\n"
        '2026-01-02T15:04:06.678Z error   b\\u001bad  why="x y"\n'
    )
    assert pocket.asked == [("log", {"lines": 7, "level": "info"})]


def test_log_as_json_is_one_record_per_line(pocket):
    pocket.answers(log=RECORDS)
    assert [json.loads(line) for line in pocket("log", "--json").splitlines()] == RECORDS


def test_log_follow_shows_each_record_once_also_over_a_restart(pocket):
    again = {
        "n": 1,
        "time": "2026-01-02T15:05:00.000Z",
        "level": "info",
        "logger": "a",
        "event": "started again",
    }
    turns = iter([RECORDS[:1], RECORDS[:1], RECORDS, ControlError("stopping"), [again], [again]])
    pocket.answers(log=lambda args: next(turns))
    shown = pocket("log", "--follow", "--every", "0.05", "--turns", "6").splitlines()
    assert [line.split()[2] for line in shown] == ["started", "b\\u001bad", "started"]
    assert pocket.stderr == "stopping\n"


def test_log_follow_does_not_show_what_was_before_the_lines_asked_for(pocket):
    turns = iter([RECORDS[1:], RECORDS])
    pocket.answers(log=lambda args: next(turns))
    shown = pocket("log", "--lines", "1", "--follow", "--every", "0.05", "--turns", "2").splitlines()
    assert len(shown) == 1


def test_watch_shows_status_again_and_waits_for_a_box_that_restarts(pocket):
    turns = iter([STATUS, ControlError("stopping"), STATUS | {"state": "serving"}])
    pocket.answers(status=lambda args: next(turns))
    shown = pocket("status", "--watch", "--count", "3", "--every", "0.1")
    assert [line for line in shown.splitlines() if line.startswith("Home")] == [
        "Home: warning for 3 h 12 min",
        "Home: serving for 3 h 12 min",
    ]
    assert pocket.stderr == "stopping\n"


def test_watch_as_json_is_one_line_each(pocket):
    pocket.answers(status=STATUS)
    lines = pocket("status", "--watch", "--json", "--count", "2", "--every", "0.1").splitlines()
    assert [json.loads(line) for line in lines] == [STATUS, STATUS]


def test_watch_does_not_wait_for_a_box_that_never_was(pocket):
    pocket("status", "--watch", "--every", "0.1", "--count", "2", code=1)


def test_journal_verify_says_so_when_all_is_right(pocket):
    pocket.answers(journal_verify={"ok": True, "entries": 1204, "problems": []})
    assert (
        pocket("journal", "verify")
        == "the journal holds: 1,204 entries; chain, signatures and tables agree\n"
    )


def test_journal_verify_fails_with_each_problem(pocket):
    pocket.answers(
        journal_verify={"ok": False, "entries": 7, "problems": ["entry 3: wrong\x07 hash", "row 5"]}
    )
    assert pocket("journal", "verify", code=1) == (
        "the journal does not hold: 7 entries, 2 problems\n  entry 3: wrong\\u0007 hash\n  row 5\n"
    )
    pocket("journal", "verify", "--json", code=1)


def test_journal_verify_reads_the_store_itself_when_no_box_runs(pocket, tmp_path, monkeypatch):
    checked = []

    def verify(data):
        checked.append(data)
        return {"ok": True, "entries": 5, "problems": []}

    monkeypatch.setattr("appliance.store.verify", verify)
    assert "5 entries" in pocket("journal", "verify")
    assert checked == [tmp_path]


SCRUBBED = {
    "running": False,
    "octets": 3 << 20,
    "total": 3 << 20,
    "entries": 1204,
    "messages": 7,
    "attachments": 2,
    "found": 0,
    "repaired": 0,
    "open": 0,
    "problems": [],
}


def test_journal_scrub_waits_for_the_end_and_says_what_it_found(pocket):
    asked = []

    def scrub(args):
        asked.append(args)
        return SCRUBBED | {"running": len(asked) < 3, "found": 2, "repaired": 2}

    pocket.answers(journal_scrub=scrub)
    said = pocket("journal", "scrub", "--now")
    assert said == "read 1,204 entries, 7 messages, 2 attachments: 2 damaged, 2 repaired\n"
    assert [args.get("now", False) for args in asked] == [True, False, False]


def test_journal_scrub_without_now_tells_how_far_it_is(pocket):
    pocket.answers(journal_scrub=SCRUBBED | {"running": True})
    said = "so far read 1,204 entries, 7 messages, 2 attachments: nothing is damaged\n"
    assert pocket("journal", "scrub") == said


def test_journal_scrub_fails_with_what_could_not_be_mended(pocket):
    pocket.answers(journal_scrub=SCRUBBED | {"found": 1, "open": 1, "problems": ["1 attachment;\x07 lost"]})
    assert pocket("journal", "scrub", "--now", code=1) == (
        "read 1,204 entries, 7 messages, 2 attachments: 1 damaged, 0 repaired\n  1 attachment;\\u0007 lost\n"
    )
    pocket("journal", "scrub", "--now", "--json", code=1)


def test_journal_verify_of_a_folder_without_a_store_says_so(pocket, tmp_path):
    pocket("journal", "verify", code=1)
    assert re.search(r"Error: the store in .* cannot be read", pocket.stderr)
    pocket("journal", "verify", "--data", str(tmp_path / "none"), code=1)
    assert "there is no data folder" in pocket.stderr


def test_a_refusal_is_told_in_the_boxs_words(pocket):
    pocket.answers(member_show=ControlError("there is no member Eve: see   pocket member list"))
    pocket("member", "show", "Eve", code=1)
    assert pocket.stderr == "Error: there is no member Eve: see   pocket member list\n"


@pytest.mark.parametrize(
    "words",
    [
        ["status"], ["member", "list"], ["member", "show", "x"], ["device", "list"], ["device", "drop", "1"],
        ["group", "list"], ["pair", "open"], ["pair", "close"], ["log"],
    ],
)  # fmt: skip
def test_without_a_box_every_word_says_how_to_start_one(pocket, tmp_path, words):
    pocket(*words, code=1)
    assert (
        pocket.stderr
        == f"Error: no box is running on {tmp_path}: start it with   pocket serve --data {tmp_path}\n"
    )


def test_names_are_completed_by_asking_the_box(pocket):
    pocket.answers(member_list=[ANN, BOB], device_list=[PHONE])

    assert pocket.complete("pocket member show ", 3) == [
        "plain,Ann Smith",
        "plain,アンさん",
        "plain,UID1",
        "plain,UID2",
    ]
    assert pocket.complete("pocket member show UID", 3) == ["plain,UID1", "plain,UID2"]
    assert pocket.complete("pocket device drop A", 3) == ["plain,Ann Smith/phone"]
    assert "plain,status" in pocket.complete("pocket st", 1)


def test_completion_is_quiet_when_no_box_runs(pocket):
    assert pocket.complete("pocket member show ", 3) == []
