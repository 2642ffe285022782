"""What is asked of a box's log."""

import io

import pytest
import trio

from appliance import log
from appliance.control import ControlError
from appliance.control.log import recent_log


def asked(**args):
    return trio.run(recent_log, args)


def test_the_latest_lines_of_a_level_are_told_and_only_later_ones_on_request():
    stop = log.setup(stream=io.StringIO())
    try:
        logger = log.get_logger("appliance.tests")
        for number in range(3):
            logger.warning("it happened", number=number)
        logger.info("by the way")
    finally:
        stop()
    *_, second, third = asked(level="warning")
    assert (second["number"], third["number"]) == (1, 2)
    assert asked(lines=1, level="warning") == [third]
    assert asked(level="warning", after=second["n"]) == [third]


@pytest.mark.parametrize("args", [{"lines": "5"}, {"after": 1.5}, {"lines": True}, {"after": None}])
def test_what_is_no_whole_number_is_told(args):
    with pytest.raises(ControlError, match="lines and after must be whole numbers"):
        asked(**args)
