"""The benchmark of the search runs, and finds what it looks for. It sets no times: they are for people."""

from __future__ import annotations

import pytest

from tests.bench import searching


def test_every_question_has_its_times(capsys: pytest.CaptureFixture[str]) -> None:
    assert searching.main(["--messages", "400"]) > 0
    shown = capsys.readouterr().out
    texts = searching.Texts()
    for name in searching.questions(texts.words):
        [line] = [line for line in shown.splitlines() if line.startswith(name + " ")]
        assert len(line.removeprefix(name).split()) == 4
    assert "400 messages: " in shown and "KB written each" in shown
