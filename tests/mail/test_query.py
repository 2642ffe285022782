"""What people type to find something: whatever it is, it is a question or told why it is none."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.mail.errors import SearchError
from appliance.mail.index import Entry, Index, Order
from appliance.mail.query import PREFIX_MIN, QUERY_MAX, TERMS_MAX, Query, Term, parse

from .kit import content


def second(year: int, month: int, day: int) -> int:
    return int(datetime(year, month, day, tzinfo=UTC).timestamp())


def test_words_phrases_and_fields() -> None:
    assert parse('invoice "summer camp" From:ann subject:"two words" las') == Query(
        (
            Term("", "invoice"),
            Term("", "summer camp"),
            Term("from", "ann"),
            Term("subject", "two words"),
            Term("", "las", begun=True),
        )
    )


def test_only_the_last_word_may_go_on_and_not_a_short_or_a_quoted_one() -> None:
    assert [term.begun for term in parse("camping trips").terms] == [False, True]
    assert not parse("to").terms[0].begun and PREFIX_MIN == 3
    assert not parse('"trips"').terms[0].begun
    assert parse("from:tri has:attachment").terms[0].begun


@pytest.mark.parametrize(
    ("text", "since", "until"),
    [
        ("since:2026", second(2026, 1, 1), None),
        ("since:2026-02", second(2026, 2, 1), None),
        ("since:2026-02-03 until:2026-02-03", second(2026, 2, 3), second(2026, 2, 4)),
        ("until:2026", None, second(2027, 1, 1)),
        ("until:2025-12", None, second(2026, 1, 1)),
        ("UNTIL:2024-02-29", None, second(2024, 3, 1)),
        ("since:1960", second(1960, 1, 1), None),
    ],
)
def test_a_date_is_a_day_a_month_or_a_year(text: str, since: int | None, until: int | None) -> None:
    query = parse(text)
    assert (query.since_s, query.until_s, query.terms) == (since, until, ())


@pytest.mark.parametrize(
    "text",
    ["since:soon", "since:2026-13", "until:2026-02-30", "until:9999", "since:0000", "since:", 'until:""'],
)
def test_a_date_that_is_none_is_told_how_to_write_it(text: str) -> None:
    if text == "since:":
        assert parse(text).terms == (Term("", "since:", begun=True),)
        return
    with pytest.raises(SearchError, match=r"write it as (since|until):2026-05-31"):
        parse(text)


def test_nothing_at_all_asks_for_everything_and_no_word_for_nothing() -> None:
    assert parse("") == parse("  ") == Query()
    assert parse("has:attachment").files
    for text in ('"', "?!", "* ( )", "from:-", "\0"):
        with pytest.raises(SearchError, match="no word"):
            parse(text)


def test_what_looks_like_a_field_and_is_none_is_words() -> None:
    assert parse("re:plan has:teeth http://x").terms == (
        Term("", "re:plan"),
        Term("", "has:teeth"),
        Term("", "http://x", begun=True),
    )


def test_too_much_is_refused() -> None:
    parse("x " * TERMS_MAX)
    with pytest.raises(SearchError, match="too many words"):
        parse("x " * (TERMS_MAX + 1))
    with pytest.raises(SearchError, match="too long"):
        parse("x" * (QUERY_MAX + 1))


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    index = Index(tmp_path_factory.mktemp("index"), "box")
    index.open()
    index.add([Entry(1, 1, content('AND "or" NEAR(a b) caf\u00e9 100%', "NOT * ^ subject:x"))])
    return index


ORDERS: tuple[Order, ...] = ("newest", "best")
WORDS = ["AND", "OR", "NOT", "NEAR(", "subject:", "from:", "place:n1", "body", "since:2026", "--"]
PIECES = st.sampled_from([*"()*^{}:;%\\'\"+-\0 a\u00e9\u0301\ud800\u4f60", *WORDS])


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.lists(PIECES, max_size=12).map("".join), st.text(max_size=40)))
def test_whatever_is_typed_the_index_can_be_asked(index: Index, text: str) -> None:
    try:
        query = parse(text)
    except SearchError:
        return
    for order in ORDERS:
        index.search(query, [1, 2], order, "", 5)


@pytest.mark.parametrize(
    "text", ["and", "or near", '"near(a b)"', "CAFE", "100%", "NOT", "subject:x", "cafe\u0301"]
)
def test_words_of_the_index_s_own_language_are_words(index: Index, text: str) -> None:
    assert len(index.search(parse(text), [1], "newest", "", 5)) == 1
