"""What a person calls things, as it comes from the command line."""

import pytest

from appliance.control import ControlError
from appliance.control.finding import text_of


def test_a_text_that_was_no_utf_8_is_refused_and_not_judged():
    with pytest.raises(ControlError, match="alias has octets that are not UTF-8"):
        text_of({"alias": b"caf\xe9 owner".decode("utf-8", "surrogateescape")}, "alias")


@pytest.mark.parametrize("given", [{}, {"alias": ""}, {"alias": 5}, {"alias": None}])
def test_a_text_that_has_to_be_given_is_asked_for(given):
    with pytest.raises(ControlError, match="alias is missing"):
        text_of(given, "alias")
