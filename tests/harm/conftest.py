"""Each test gets a home of its own, since each wants to see it end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

pytest.register_assert_rewrite("tests.kit", "tests.harm.home", "tests.discovery.lab")

from tests.harm.home import BentBox, Home, Neighbours  # noqa: E402
from tests.kit import Box  # noqa: E402


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.alone)


@pytest.fixture
def home() -> Iterator[Callable[..., Home]]:
    """Makes a home with a box of this configuration, bent or straight."""
    with ExitStack() as stack:

        def make(
            config: str = "", *, bent: bool = False, inside: Sequence[str] = (), **arguments: Any
        ) -> Home:
            neighbours = Neighbours(inside)
            stack.callback(neighbours.close)
            if bent:
                box: Box = stack.enter_context(BentBox(config=config, inside=inside, **arguments))
            else:
                box = stack.enter_context(Box(config=config, **arguments))
            return Home(box, neighbours)

        yield make
