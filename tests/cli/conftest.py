"""The command, as a person or a program calls it."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from click.testing import CliRunner

from appliance.cli import main
from tests.control.boxes import box


class Pocket:
    """The command, on a data folder of its own: call it with words for what it prints."""

    def __init__(self, data, stack):
        self._data = data
        self._stack = stack
        self.asked = []
        self.stderr = ""

    def answers(self, **results):
        """Start a box that answers with these; a function is called, an error is raised."""
        handlers = {name.replace("_", "."): self._handler(name, result) for name, result in results.items()}
        self._stack.enter_context(box(self._data, handlers))

    def _handler(self, name, result):
        async def answer(args):
            self.asked.append((name.replace("_", "."), args))
            found = result(args) if callable(result) else result
            if isinstance(found, Exception):
                raise found
            return found

        return answer

    def __call__(self, *words, code=0, stdin=""):
        result = CliRunner().invoke(main, words, input=stdin)
        assert result.exit_code == code, (result.output, result.exception)
        self.stderr = result.stderr
        return result.stdout

    def complete(self, words, at):
        """What bash would be offered for the word number `at`."""
        variables = {"COMP_WORDS": words, "COMP_CWORD": str(at), "_POCKET_COMPLETE": "bash_complete"}
        runner = CliRunner(env=variables)
        result = runner.invoke(main, prog_name="pocket", complete_var="_POCKET_COMPLETE")
        assert result.exception is None
        return result.output.split("\n")[:-1] if result.output.strip() else []


@pytest.fixture
def pocket(tmp_path, monkeypatch):
    monkeypatch.setenv("POCKET_DATA", str(tmp_path))
    with ExitStack() as stack:
        yield Pocket(tmp_path, stack)
