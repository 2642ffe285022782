"""The word that shows what a box has said lately; whether it serves or is still joining."""

from __future__ import annotations

from typing import Any

from appliance.control.errors import ControlError
from appliance.log import recent


async def recent_log(args: dict[str, Any]) -> Any:
    """The latest ``lines`` (100) records of ``level`` (debug) and above with a number over ``after`` (0).
    Raises ``ControlError``.
    """
    lines, after = args.get("lines", 100), args.get("after", 0)
    if type(lines) is not int or type(after) is not int:
        raise ControlError("lines and after must be whole numbers")
    return recent(lines, str(args.get("level", "debug")), after)
