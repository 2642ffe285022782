"""A small holiday: everything that waited is there, and the figures are told."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from .holiday import measure

pytestmark = pytest.mark.e2e


def test_all_that_waited_at_several_memberships_is_at_the_box_and_at_a_device() -> None:
    result = measure(3, 120, 60.0)
    assert (result.memberships, result.messages) == (3, 120)
    assert all(figure >= 0 for figure in asdict(result).values())
    assert result.peak_mb >= result.memory_before_mb > 10
