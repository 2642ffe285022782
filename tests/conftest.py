"""What holds for all tests."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

# Here, because whoever is collected first may import them.
pytest.register_assert_rewrite("tests.kit", "tests.e2e.relay.house")

# How long an example takes says more about the machine than about the code.
settings.register_profile("pocket", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("pocket")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests go first, so that none is left for the end when several run at once."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
