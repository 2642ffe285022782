import os

import pytest

from tests.console.nmcli import Nmcli


@pytest.fixture
def nmcli(tmp_path, monkeypatch):
    """The stand-in, found before any real one."""
    found = Nmcli(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{found.folder}{os.pathsep}{os.environ['PATH']}")
    return found
