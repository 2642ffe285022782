"""A household with a membership at a club, of our own make or scripted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.kit import Box
from tests.kit.upstream import Upstream

from .house import CONFIG, House, Membership, remote

_houses: list[House] = []


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """A failure shows what the boxes said."""
    report = yield
    if report.failed:
        for house in _houses:
            for box in house.boxes:
                report.sections.append((f"box at {box.address}", box.words(20000)))
    return report


def _make(stack: ExitStack) -> Callable[..., House]:
    def make(count: int = 1, config: str = CONFIG) -> House:
        house = House(count, config)
        stack.callback(house.close)
        _houses.append(house)
        stack.callback(_houses.remove, house)
        return house

    return make


@pytest.fixture
def new_house() -> Iterator[Callable[..., House]]:
    """Makes households that a test may break."""
    with ExitStack() as stack:
        yield _make(stack)


@pytest.fixture(scope="module")
def shared_house() -> Iterator[Callable[..., House]]:
    """Makes households that the tests of a file share and leave running."""
    with ExitStack() as stack:
        yield _make(stack)


@pytest.fixture(scope="module")
def house(shared_house: Callable[..., House]) -> House:
    """One box, which the tests of a file share and leave running."""
    return shared_house()


@pytest.fixture
def club() -> Iterator[Upstream]:
    """A scripted site."""
    with Upstream("The club") as site:
        yield site


@pytest.fixture
def far() -> Iterator[Box]:
    """A site of our own make, in a process of its own."""
    with remote() as box:
        yield box


@pytest.fixture
def ann(house: House, club: Upstream) -> Iterator[Membership]:
    """Ann's membership at the scripted site; the house has forgotten it afterwards."""
    membership = house.add(house.member(club.words), club, club.words, "Ann at the club")
    yield membership
    membership.drop()
