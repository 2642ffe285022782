"""The room's page is a contract: it tells each sign as the lights show it."""

from pathlib import Path

import pytest

from appliance import panel
from appliance.panel.settings import ROLES
from appliance.panel.signs import WALK

PAGE = (Path(panel.__file__).parent / "README.md").read_text("utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line[:1] == "|"
]


@pytest.mark.parametrize("sign", [s for s in WALK if not s.key.startswith("held")], ids=lambda s: s.key)
def test_the_page_has_a_row_for_each_sign(sign):
    rows = [row for row in ROWS if row[0].startswith(sign.pattern.name)]
    assert len(rows) == 1
    assert rows[0][1].startswith(sign.words)


@pytest.mark.parametrize("sign", [s for s in WALK if s.key.startswith("held")], ids=lambda s: s.key)
def test_the_page_tells_what_the_button_shows(sign):
    assert sum(row[1] == sign.pattern.name for row in ROWS) == 1


@pytest.mark.parametrize("role", ROLES[1:])
def test_the_page_has_every_role(role):
    assert sum(row[0] == role for row in ROWS) == 1


FRONT = (Path(panel.__file__).parents[2] / "README.md").read_text("utf-8")


def test_the_front_page_tells_of_the_status_led_and_the_button_as_the_rooms_page_does():
    tables = PAGE.partition("## More LEDs")[0]
    rows = [
        line.strip("| ").split("|") for line in tables.splitlines() if line[:1] == "|" and "---" not in line
    ]
    assert len(rows) == 15
    for row in rows:
        first = row[0].strip().removeprefix("you see").removeprefix("longer")
        if first and not first.startswith("hold it"):
            assert f"| {first} |" in FRONT
    for pattern, words in [(row[0].strip(), row[1].strip()) for row in rows[1:10]]:
        assert f"| {pattern} | {words} |" in FRONT
    for wire in ("GPIO17 (11) --[ 330 Ohm ]--|>|-- GND (9)", "GPIO23 (16) ---o  o--- GND (14)"):
        assert wire in PAGE
        assert wire in FRONT
