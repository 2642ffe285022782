"""Boxes whose store has much to do: small spills, often."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

pytest.register_assert_rewrite("tests.kit", "tests.load")

from tests.crash.household import Household  # noqa: E402
from tests.kit import Box  # noqa: E402

BUSY_STORE = """
[store]
spill_every_s = 0.1
spill_messages = 100

[limits]
aliases_per_member = 10000
pings_per_member_per_day = 1000000

[log]
level = "warning"
"""
"""Several spills in a life of half a second, and more by count."""


@pytest.fixture
def household() -> Iterator[Callable[..., Household]]:
    """Makes households, each with a box of its own."""
    with ExitStack() as stack:

        def make(seed: int, **arguments: Any) -> Household:
            box = stack.enter_context(Box(config=BUSY_STORE, **arguments))
            household = Household(box, seed)
            stack.callback(household.close)
            return household

        yield make
