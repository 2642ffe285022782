"""The measure of speed works; what it says is for people to judge, on a machine that is theirs alone."""

import pytest

from . import speed


def test_every_kind_of_frame_is_timed(capsys: pytest.CaptureFixture[str]) -> None:
    assert speed.main(frames=60) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 11
    assert all(0 < float(line.split()[0]) < 10_000 for line in lines)


def test_the_frames_that_are_timed_are_read_quickly_but_for_the_one_that_says_so() -> None:
    from appliance.wire import fast

    assert fast.read(speed.POST.encode()) == fast.read(speed.CAPITALS.encode()) is not None
    assert fast.read(b'{"x":1,' + speed.POST[1:].encode()) is None
