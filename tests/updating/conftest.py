"""One key for all tests of a process: making one takes a moment."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

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
