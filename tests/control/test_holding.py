"""A data folder belongs to one box."""

from pathlib import Path

import pytest

from appliance.control import ControlError
from appliance.holding import only_one


def test_a_second_box_is_told_of_the_first(tmp_path: Path) -> None:
    told = pytest.raises(ControlError, match=f"a box is running on {tmp_path} already")
    with only_one(tmp_path), told, only_one(tmp_path):
        pass
    with only_one(tmp_path):
        pass


def test_a_folder_that_cannot_be_is_told_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    told = pytest.raises(ControlError, match=r"cannot be used \(Not a directory\): .*--data")
    with told, only_one(tmp_path / "file" / "data"):
        pass
