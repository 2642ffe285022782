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
