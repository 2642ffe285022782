"""The index: what is found, by whom, in which order; and that it is made anew when it is not what it was."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from appliance.mail.content import read
from appliance.mail.file import INDEX_NAME, Damaged
from appliance.mail.index import BEST_OF, Entry, Hit, Index, Order
from appliance.mail.query import parse
from appliance.mail.schema import VERSION

from .kit import POSTED_MS, content, frame

BOX = "boxid"
NS = POSTED_MS * 1_000_000


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    index = Index(tmp_path, BOX)
    index.open()
    yield index
    index.close()


def entry(number: int, body: str = "", subject: str = "", node: int = 1, at_ms: int | None = None) -> Entry:
    posted_ms = POSTED_MS + number * 1000 if at_ms is None else at_ms
    head, data = frame(number, body, subject, at_ms=posted_ms)
    return Entry(node, NS + number, read(head, data))


def found(index: Index, text: str, nodes: tuple[int, ...] = (1,), order: Order = "newest") -> list[int]:
    return [hit.upid for hit in index.search(parse(text), nodes, order, "", 100)]


def test_a_word_is_found_wherever_it_is(index: Index) -> None:
    said = content("in the body", "a subject", [("plan.pdf", b"x")], cc=[{"who": "Eve"}], alias="Ann")
    index.add([Entry(1, 5, said)])
    for text in (
        "body",
        "SUBJECT",
        "plan.pdf",
        "plan",
        "eve",
        "ann",
        '"in the body"',
        "from:ann",
        "subject:subject",
    ):
        assert found(index, text) == [1], text
    for text in ("from:eve", "subject:body", "subject:ann", '"body the"', "elsewhere", "body elsewhere"):
        assert found(index, text) == [], text


def test_a_hit_says_all_that_is_shown_of_it(index: Index) -> None:
    index.add([Entry(3, 77, content("some *text*", "about", [("a", b"12")], threadid="7"))])
    [hit] = index.search(parse("text"), [3], "newest", "", 10)
    assert hit == Hit(
        hit.place, 3, 77, 1, POSTED_MS, "delivery", content().sender, "Ann of Work", "about", "7",
        content("some *text*", "about", [("a", b"12")], threadid="7").size, 1, "some text",
    )  # fmt: skip


def test_nobody_finds_what_is_in_an_archive_of_somebody_else(index: Index) -> None:
    index.add([entry(1, "secret plan", node=1), entry(2, "other plan", node=11), entry(3, "n1 plan", node=2)])
    assert found(index, "plan", (1,)) == [1]
    assert found(index, "plan", (11,)) == [2]
    assert found(index, "plan", (1, 2)) == [3, 1]
    assert found(index, "plan", ()) == found(index, "", ()) == []
    assert found(index, "n11", (1, 2)) == found(index, "n1", (11,)) == []
    assert found(index, "n1 plan", (2,)) == [3] and found(index, "n1", (1,)) == []


def test_the_newest_come_first_by_when_they_were_posted(index: Index) -> None:
    index.add([entry(2, "x1y"), entry(5, "x1y"), entry(1, "x1y"), entry(9, "x1y"), entry(4, "x1y")])
    assert found(index, "x1y") == found(index, "") == [9, 5, 4, 2, 1]


def test_the_best_have_it_in_the_subject_then_in_names(index: Index) -> None:
    index.add(
        [
            entry(1, "", "camp one"),
            entry(2, "camp"),
            Entry(1, NS + 3, read(*frame(3, "", "", at_ms=POSTED_MS + 3000, cc=[{"who": "camp committee"}]))),
            entry(4, "", "the camp two"),
            entry(5, "to camp"),
            entry(6, "no such word"),
        ]
    )
    assert found(index, "camp", order="best") == [4, 1, 3, 5, 2]
    assert found(index, "camp") == [5, 4, 3, 2, 1]
    assert found(index, "subject:camp", order="best") == [4, 1]


@pytest.mark.parametrize("order", ["newest", "best"])
def test_pages_follow_each_other_without_gap_or_repetition(index: Index, order: Order) -> None:
    index.add([entry(n, "word", "word" if n % 3 == 0 else "") for n in range(1, 40)])
    whole = [hit.upid for hit in index.search(parse("word"), [1], order, "", 100)]
    assert sorted(whole) == list(range(1, 40))
    paged: list[int] = []
    after = ""
    while hits := index.search(parse("word"), [1], order, after, 4):
        paged += [hit.upid for hit in hits]
        after = hits[-1].place
    assert paged == whole
    for junk in ("x", "1", ".", "9.x", "-1.5", "1" * 30 + ".1", "0." + "1" * 5000, "\u0661.1"):
        index.search(parse("word"), [1], order, junk, 4)


def test_of_very_many_the_best_of_the_newest_are_looked_at(index: Index) -> None:
    index.add([entry(1, "", "word"), *(entry(n, "word") for n in range(2, BEST_OF + 2))])
    hits = index.search(parse("word"), [1], "best", "", 2 * BEST_OF)
    assert len(hits) == BEST_OF and 1 not in {hit.upid for hit in hits}


def test_dates_bound_what_is_found(index: Index) -> None:
    day = 86_400_000
    start = (POSTED_MS // day) * day  # 2025-10-09
    for n in range(1, 7):
        at_ms = start + n * day // 2 - 1
        index.add([Entry(1, at_ms * 1_000_000, read(*frame(n, "word", at_ms=at_ms)))])
    assert found(index, "word since:2025-10-10") == [6, 5, 4, 3]
    assert found(index, "word until:2025-10-09") == [2, 1]
    assert found(index, "since:2025-10-10 until:2025-10-10") == [4, 3]
    assert found(index, "word since:2026") == []


def test_has_attachment_finds_those_with_attachments(index: Index) -> None:
    said = content("files of words", "s", [("a", b"")])
    index.add([entry(2, "files of words"), Entry(1, NS, said)])
    assert found(index, "has:attachment") == found(index, "words has:attachments") == [1]
    assert found(index, "files") == [2, 1]


def test_what_devices_tell_each_other_is_not_found(index: Index) -> None:
    index.add([Entry(1, NS, content("state", "s", nodesync=True)), entry(2, "state")])
    assert found(index, "") == [2] and index.count(1) == 2
    index.remove(1, [NS])
    index.connection.execute("INSERT INTO words (words) VALUES ('integrity-check')")


def test_a_time_that_cannot_be_counts_as_when_it_came(index: Index) -> None:
    late, early = entry(1, "word", at_ms=253_402_300_799_000), entry(2, "word", at_ms=0)
    index.add([late, early, entry(3, "word", at_ms=POSTED_MS + 5000)])
    assert found(index, "word") == [3, 2, 1]
    assert found(index, "word since:2027") == []


def test_very_many_of_one_second_have_their_places_before_those_of_later(index: Index) -> None:
    index.add([entry(700, "word", at_ms=POSTED_MS + 3_600_000)])
    index.add([entry(n, "word", at_ms=POSTED_MS) for n in range(1, 600)])
    hits = index.search(parse("word"), [1], "newest", "", 1000)
    assert [hit.upid for hit in hits] == [700, *reversed(range(1, 600))]


def test_what_is_removed_is_not_found_and_leaves_no_word(index: Index) -> None:
    index.add([entry(n, f"word w{n}", "subject") for n in range(1, 5)])
    index.remove(1, [NS + 2, NS + 3, NS + 99])
    assert found(index, "word") == [4, 1] and found(index, "w2") == []
    assert (index.count(1), index.ids(1, 0, 10)) == (2, [NS + 1, NS + 4])
    index.remove(1, [NS + 1, NS + 4])
    vocabulary = index.connection.execute("CREATE VIRTUAL TABLE temp.v USING fts5vocab(main, words, 'row')")
    assert vocabulary.execute("SELECT count(*) FROM temp.v").fetchone() == (0,)
    index.connection.execute("INSERT INTO words (words) VALUES ('integrity-check')")


def test_what_is_there_is_not_added_again(index: Index) -> None:
    assert index.add([entry(1, "word"), entry(1, "word"), entry(2, "word")]) == 2
    assert index.add([entry(2, "other")]) == 0
    assert found(index, "word") == [2, 1]


def test_a_batch_is_all_or_nothing(index: Index) -> None:
    def broken() -> Iterator[Entry]:
        yield entry(1, "word")
        raise ValueError

    with pytest.raises(ValueError):
        index.add(broken(), {(1, 0): 5})
    assert found(index, "word") == [] and index.marks(1) == {}
    index.add([entry(1, "word")], {(1, 0): 5})
    index.add([], {(1, 0): 3, (1, 2): 4})
    assert index.marks(1) == {0: 5, 2: 4}


def test_the_oldest_that_have_something_to_spare_are_known(index: Index) -> None:
    index.add(
        [
            Entry(
                node,
                NS + n,
                read(*frame(n, "text", "s", [("a", b"x" * n)][: n % 2], at_ms=POSTED_MS + n * 1000)),
            )
            for n in range(1, 9)
            for node in (1 + n % 3,)
        ]
    )
    nodes = [1, 2, 3]
    files = index.oldest(nodes, "files", 0, 3)
    assert [(w.msgid - NS, w.files_octets, w.body_octets) for w in files] == [(1, 1, 4), (3, 3, 4), (5, 5, 4)]
    assert [w.msgid - NS for w in index.oldest(nodes, "files", files[-1].number, 3)] == [7]
    assert [w.msgid - NS for w in index.oldest(nodes, "body", 0, 9)] == list(range(1, 9))
    assert [w.msgid - NS for w in index.oldest([2], "all", 0, 9)] == [1, 4, 7]
    assert index.oldest_ms([1, 3]) == POSTED_MS + 2000 and index.oldest_ms([9]) == 0


def test_of_two_copies_the_lesser_one_is_known(index: Index) -> None:
    head, data = frame(1, "text", "s", [("a", b"12345")])
    less = read(head, data[:-5])
    index.add([Entry(1, NS, read(head, data)), Entry(1, NS + 16, less), entry(2), Entry(2, NS, less)])
    assert index.twice(1) == [NS + 16] and index.twice(2) == []


def test_a_message_is_known_by_both_its_ids(index: Index) -> None:
    index.add([entry(5), entry(5, node=2)])
    assert index.of([2], 5) == (2, NS + 5) and index.of([1, 2], NS + 5) == (1, NS + 5)
    assert index.of([3], 5) is None


# thrown away and made anew


def reopened(folder: Path, box: str = BOX) -> tuple[Index, bool]:
    index = Index(folder, box)
    return index, index.open()


def test_it_is_there_after_a_restart(tmp_path: Path) -> None:
    index, kept = reopened(tmp_path)
    assert not kept
    index.add([entry(1, "word")])
    index.close()
    index, kept = reopened(tmp_path)
    assert kept and found(index, "word") == [1]
    index.close()


def test_one_of_another_version_or_box_is_made_anew(tmp_path: Path) -> None:
    index, _ = reopened(tmp_path)
    index.add([entry(1, "word")])
    index.close()
    with closing(sqlite3.connect(tmp_path / INDEX_NAME)) as connection:
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    index, kept = reopened(tmp_path)
    assert not kept and found(index, "word") == []
    index.add([entry(1, "word")])
    index.close()
    index, kept = reopened(tmp_path, "another")
    assert not kept and found(index, "word") == []
    index.close()


@pytest.mark.parametrize("octets", [b"", b"no database at all " * 500, b"SQLite format 3\0" + bytes(5000)])
def test_a_file_that_is_none_is_made_anew(tmp_path: Path, octets: bytes) -> None:
    (tmp_path / INDEX_NAME).write_bytes(octets)
    (tmp_path / (INDEX_NAME + "-wal")).write_bytes(b"junk")
    index, kept = reopened(tmp_path)
    assert not kept
    index.add([entry(1, "word")])
    assert found(index, "word") == [1]
    index.close()


def test_damage_is_told_as_such(tmp_path: Path) -> None:
    index, _ = reopened(tmp_path)
    index.add([entry(n, f"word{n} " * 50) for n in range(200)])
    index.close()
    path = tmp_path / INDEX_NAME
    octets = bytearray(path.read_bytes())
    octets[4096 * 2 :] = b"\xa5" * (len(octets) - 4096 * 2)
    path.write_bytes(octets)
    with pytest.raises(Damaged):
        index, kept = reopened(tmp_path)
        if kept:
            found(index, "word7")
            index.add([entry(500, "more")])
        else:
            raise Damaged("noticed when it was opened")
    index.close()


def test_a_text_that_cannot_be_unpacked_is_damage(index: Index) -> None:
    index.add([entry(1, "word")])
    index.connection.execute("UPDATE message SET body = x'00'")
    with pytest.raises(Damaged):
        found(index, "word")
    with pytest.raises(Damaged):
        index.remove(1, [NS + 1])
