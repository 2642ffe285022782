"""Boxes and people for the tests. Most tests share one box, since each makes members of its own."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

pytest.register_assert_rewrite("tests.kit")

from tests.kit import Box, People, Raw  # noqa: E402

_running: list[Box] = []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.e2e)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failure shows what the boxes said."""
    report = yield
    if report.failed:
        for box in _running:
            state = "running" if box.running else "stopped"
            report.sections.append((f"box at {box.address}, {state}", box.words()))
    return report


@pytest.fixture(scope="session")
def _shared() -> Iterator[list[Box]]:
    """The shared box, in a list so that a new one can take its place when it has died."""
    shared: list[Box] = []
    yield shared
    for box in shared:
        _running.remove(box)
        box.close()


@pytest.fixture
def box(_shared: list[Box]) -> Iterator[Box]:
    """The shared box: open registration, default settings. Tests leave it running."""
    if not _shared:
        _shared.append(Box())
        _running.extend(_shared)
    box = _shared[0]
    yield box
    if not box.running:
        _running.remove(_shared.pop())
        words = box.words()
        box.close()
        pytest.fail(f"the box stopped during the test\n{words}")


@pytest.fixture
def new_box() -> Iterator[Callable[..., Box]]:
    """Makes boxes for one test, which may kill them."""
    with ExitStack() as stack:

        def make(**arguments: Any) -> Box:
            box = stack.enter_context(Box(**arguments))
            _running.append(box)
            stack.callback(_running.remove, box)
            return box

        yield make


@pytest.fixture
def people(box: Box) -> Iterator[People]:
    """Members at the shared box."""
    people = People(box)
    yield people
    people.close()


@pytest.fixture
def raw(box: Box) -> Iterator[Raw]:
    """A line to the shared box on which nothing has been said."""
    with Raw(box) as line:
        yield line


@pytest.fixture
def greeted(raw: Raw) -> Raw:
    """A line to the shared box that has had its tmtprev answer."""
    return raw.greet()


@pytest.fixture
def member(raw: Raw) -> Raw:
    """A line to the shared box on which a member has registered."""
    raw.greet().say('{"op":1,"newnode":"raw"}')
    raw.frame()
    raw.expect("info", info="login ok")
    return raw
