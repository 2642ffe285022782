"""Boxes that go when their test is over; one key for all tests of a process: making one takes a moment."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.updating.house import Managed, NewBox
from tests.updating.signing import Signer


@pytest.fixture(scope="session")
def signer() -> Iterator[Signer]:
    made = Signer()
    yield made
    made.close()


@pytest.fixture(scope="session")
def stranger() -> Iterator[Signer]:
    made = Signer()
    yield made
    made.close()


@pytest.fixture
def new_box(signer: Signer, tmp_path: Path) -> Iterator[NewBox]:
    made: list[Managed] = []

    def make(**options: object) -> Managed:
        made.append(Managed(signer, tmp_path, **options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for box in made:
        box.close()
