"""A search here waits until the index is up to date, however busy the machine is."""

from __future__ import annotations

import pytest

PATIENCE_S = 20.0


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.mail.mail.FRESH_S", PATIENCE_S)
