"""LEDs and button: how the box is, seen from across the room, and a hand on the button.

`run_panel` drives everything from the box's health and calls back for what the button asks. It sees only
`health`, and nothing that goes wrong in it reaches the box.
"""

from appliance.panel.doctor import Finding, check_panel
from appliance.panel.panel import Actions, Panel, mark_end, panel_test, run_panel
from appliance.panel.settings import BadPanel, Button, Led, Night, PanelError, PanelSettings
from appliance.panel.signs import WALK, Sign

__all__ = [
    "WALK",
    "Actions",
    "BadPanel",
    "Button",
    "Finding",
    "Led",
    "Night",
    "Panel",
    "PanelError",
    "PanelSettings",
    "Sign",
    "check_panel",
    "mark_end",
    "panel_test",
    "run_panel",
]
