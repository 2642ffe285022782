"""Facts survive the journal, and neighbouring versions understand each other's."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, get_args, get_type_hints

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.site import facts
from appliance.site.facts import KNOWN_TAGS, LastingFact, TrafficFact, decode_facts, encode_facts

numbers = st.integers(0, (1 << 63) - 1)
texts = st.text(max_size=40)
octets = st.binary(max_size=40)
FIELDS: dict[Any, st.SearchStrategy[Any]] = {
    int: numbers,
    bool: st.booleans(),
    str: texts,
    bytes: octets,
    bytes | None: st.none() | octets,
    tuple[str, ...]: st.lists(texts, max_size=5).map(tuple),
    tuple[int, ...]: st.lists(numbers, max_size=5).map(tuple),
    facts.Role: st.sampled_from(get_args(facts.Role)),
    facts.NodeRole: st.sampled_from(get_args(facts.NodeRole)),
}
KINDS: tuple[type[facts.Fact], ...] = (*get_args(LastingFact), *get_args(TrafficFact))


def made(kind: type[facts.Fact]) -> st.SearchStrategy[facts.Fact]:
    hints = get_type_hints(kind)
    return st.builds(kind, *(FIELDS[hints[name]] for name in kind.__struct_fields__))


any_fact = st.one_of(*map(made, KINDS))


def test_every_kind_of_fact_is_lasting_or_traffic() -> None:
    def kinds(base: type[facts.Fact]) -> Iterator[type[facts.Fact]]:
        for kind in base.__subclasses__():
            yield kind
            yield from kinds(kind)

    assert set(kinds(facts.Fact)) == set(KINDS)
    assert {kind.__struct_config__.tag for kind in KINDS} == KNOWN_TAGS
    assert len(KNOWN_TAGS) == len(KINDS)


@given(st.lists(any_fact, max_size=8))
def test_facts_are_read_as_they_were_written(written: list[facts.Fact]) -> None:
    assert decode_facts(encode_facts(written)) == written


@given(
    st.lists(any_fact, min_size=1, max_size=4), st.integers(0, 3), st.sampled_from([0, "x", None, [1], b"y"])
)
def test_fields_of_a_later_version_are_passed_over(written: list[facts.Fact], at: int, more: Any) -> None:
    raw = msgspec.msgpack.decode(encode_facts(written))
    raw[at % len(raw)] += [more, more]
    assert decode_facts(msgspec.msgpack.encode(raw)) == written


@given(
    st.lists(any_fact, max_size=4),
    st.integers(0, 4),
    st.sampled_from([["vote", 1], ["x"], ["message", None, {}]]),
)
def test_facts_of_a_later_version_are_passed_over(written: list[facts.Fact], at: int, unknown: Any) -> None:
    raw = msgspec.msgpack.decode(encode_facts(written))
    raw.insert(at, unknown)
    assert decode_facts(msgspec.msgpack.encode(raw)) == written


def test_a_sent_message_without_a_file_was_written_by_an_earlier_version() -> None:
    old = ["m", 16, 1, 2, b"digest", 5, [3]]
    assert decode_facts(msgspec.msgpack.encode([old])) == [facts.Sent(16, 1, 2, b"digest", 5, (3,), None)]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x00",
        b"\xc1",
        msgspec.msgpack.encode({"a": 1}),
        msgspec.msgpack.encode("text"),
        msgspec.msgpack.encode([1]),
        msgspec.msgpack.encode([[]]),
        msgspec.msgpack.encode([["member"]]),
        msgspec.msgpack.encode([["member", "no number", "uid", 0]]),
        msgspec.msgpack.encode([["role", "gid", 1, "alias", "king"]]),
        msgspec.msgpack.encode([["m", 1, 1, 1, b"", 0, 5]]),
        encode_facts([facts.NodeDropped(1)])[:-1],
        encode_facts([facts.NodeDropped(1)]) + b"\x00",
        msgspec.msgpack.encode([["nodedrop", 1], None]),
    ],
)
def test_what_is_no_list_of_facts_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match="no list of facts"):
        decode_facts(body)


@given(st.binary(max_size=60))
def test_garbage_is_facts_or_refused(body: bytes) -> None:
    with contextlib.suppress(ValueError):
        assert isinstance(decode_facts(body), list)


@given(st.lists(any_fact, min_size=1, max_size=3), st.data())
def test_damaged_facts_are_facts_or_refused(written: list[facts.Fact], data: st.DataObject) -> None:
    body = bytearray(encode_facts(written))
    at = data.draw(st.integers(0, len(body) - 1))
    body[at] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(ValueError):
        assert isinstance(decode_facts(bytes(body)), list)
