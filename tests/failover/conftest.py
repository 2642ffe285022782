"""One household for those tests that leave it whole, others of their own for those that do not."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

pytest.register_assert_rewrite("tests.kit", "tests.discovery.lab", "tests.failover.ledger")

from tests.abuse.lab import Cable  # noqa: E402
from tests.discovery.lab import Lab  # noqa: E402
from tests.failover.cable import long_cable  # noqa: E402
from tests.failover.home import Home  # noqa: E402


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/failover" in str(item.path):
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.alone)
            item.add_marker(pytest.mark.root)


def _needs() -> None:
    if os.geteuid() != 0:
        pytest.skip("makes network namespaces: run as root")
    assert shutil.which("ip"), "apt-get install iproute2"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """A failure shows what the boxes said, and costs the household."""
    report = yield
    if report.failed:
        for home in _homes:
            home.spoiled = True
            for box in home.boxes.values():
                report.sections.append((f"box {box.label} {box.id}", box.words(20000)))
    return report


_homes: list[Home] = []


@pytest.fixture(scope="session")
def _shared() -> Iterator[list[tuple[ExitStack, Home]]]:
    shared: list[tuple[ExitStack, Home]] = []
    yield shared
    for stack, _ in shared:
        stack.close()


@pytest.fixture
def new_home() -> Iterator[Callable[..., Home]]:
    """Makes households that a test may break."""
    _needs()
    with ExitStack() as stack:

        def make(names: str = "abc", **arguments: Any) -> Home:
            home = Home(stack.enter_context(Lab()), names, **arguments)
            stack.callback(home.close)
            _homes.append(home)
            stack.callback(_homes.remove, home)
            return home

        yield make


@pytest.fixture
def far(new_home: Callable[..., Home]) -> Iterator[tuple[Home, Cable]]:
    """Two boxes; b is at the end of a long cable."""
    cables: list[Cable] = []

    def lay(lab: Lab) -> None:
        cables.append(long_cable(lab, "b"))

    yield new_home("ab", lay=lay), cables[0]
    cables[0].close()


@pytest.fixture
def home(_shared: list[tuple[ExitStack, Home]]) -> Iterator[Home]:
    """Three boxes in sync, and nobody there yet. Tests leave them running."""
    _needs()
    if not _shared:
        with ExitStack() as stack:
            home = Home(stack.enter_context(Lab()))
            stack.callback(home.close)
            _homes.append(home)
            stack.callback(_homes.remove, home)
            _shared.append((stack.pop_all(), home))
    home = _shared[0][1]
    yield home
    home.let_go()
    if home.spoiled or not all(box.running for box in home.boxes.values()):
        _shared.pop()[0].close()
