"""The cache: the newest messages, in a fixed amount of memory."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from appliance.site import Message
from appliance.store.cache import OVERHEAD_OCTETS, Cache


def message(msgid: int, size: int, blob: bool = False) -> Message:
    data = None if blob else bytes(size)
    return Message(msgid, 1, b"head", size, data, bytes(32) if blob else None, 1, (2,))


@given(st.lists(st.tuples(st.integers(0, 3000), st.booleans()), max_size=40), st.sets(st.integers(0, 39)))
def test_it_holds_the_newest_that_fit(sizes: list[tuple[int, bool]], dropped: set[int]) -> None:
    cache, limit = Cache(10_000), 10_000
    held: dict[int, int] = {}
    for msgid, (size, blob) in enumerate(sizes):
        cache.put(message(msgid, size, blob))
        held[msgid] = OVERHEAD_OCTETS + 4 + (0 if blob else size)
        while sum(held.values()) > limit:
            del held[min(held)]
        if msgid in dropped:
            cache.drop(msgid)
            cache.drop(msgid)
            held.pop(msgid, None)
        assert {n for n in range(msgid + 1) if cache.get(n) is not None} == set(held)


def test_a_message_larger_than_the_cache_is_not_kept() -> None:
    cache = Cache(1000)
    cache.put(message(1, 100))
    cache.put(message(2, 5000))
    assert cache.get(2) is None
    cache.put(message(3, 100))
    assert cache.get(3) is not None
