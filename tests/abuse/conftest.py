"""Stages for attacks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

pytest.register_assert_rewrite("tests.kit", "tests.load", "tests.abuse.stage")

from tests.abuse.stage import Bystander, Stage  # noqa: E402
from tests.kit import Box  # noqa: E402


@pytest.fixture
def stage() -> Iterator[Callable[..., Stage]]:
    """Makes a fresh box (with this configuration), with an honest household at it."""
    with ExitStack() as stack:

        def make(config: str = "", **arguments: Any) -> Stage:
            box = stack.enter_context(Box(config=config, **arguments))
            bystander = Bystander(box)
            stack.callback(bystander.close)
            return Stage(box, bystander)

        yield make
