"""All tests are run in two passes, and one result says how both ended."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

RUNNER = Path(__file__).parents[1] / "__main__.py"
PROJECT = '[tool.pytest.ini_options]\nmarkers = ["alone"]\n'
TESTS = """
import os
import pytest

def test_in_company():
    assert "PYTEST_XDIST_WORKER" in os.environ
    assert {company}

@pytest.mark.alone
def test_alone():
    assert "PYTEST_XDIST_WORKER" not in os.environ
    assert {alone}
"""


def run(folder, *arguments, company=True, alone=True):
    (folder / "pyproject.toml").write_text(PROJECT)
    (folder / "test_them.py").write_text(TESTS.format(company=company, alone=alone))
    environment = {name: text for name, text in os.environ.items() if not name.startswith("PYTEST_")}
    return subprocess.run(
        [sys.executable, RUNNER, *arguments],
        cwd=folder,
        env={**environment, "POCKET_WORKERS": "1", "PYTEST_ADDOPTS": "-p no:hypothesispytest"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(("company", "alone"), [(True, True), (True, False), (False, True)])
def test_it_passed_if_both_passes_did(tmp_path, company, alone):
    done = run(tmp_path, company=company, alone=alone)
    assert (done.returncode == 0) is (company and alone)
    assert done.stdout.count("1 passed") == company + alone
    assert done.stdout.count("1 failed") == 2 - company - alone
    *_, first, second = done.stdout.splitlines()
    assert first.startswith("1 at a time: " + ("passed" if company else "FAILED"))
    assert second.startswith("one after another: " + ("passed" if alone else "FAILED"))


def test_what_is_named_is_run_as_it_is_named(tmp_path):
    done = run(tmp_path, "-v", "test_them.py", "-k", "alone", company=False)
    assert done.returncode == 0 and "1 passed, 1 deselected" in done.stdout
    assert "at a time" not in done.stdout
