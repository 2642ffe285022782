"""The words about what a person can see and touch."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from appliance.control.errors import ControlError
from appliance.control.finding import Args, text_of
from appliance.health import Health

Show = Callable[[str, float], object]


class EdgeWords:
    """``show`` shows one of the panel's signs for so many seconds, or raises ``ValueError``; ``reset`` ends
    the box and wipes it.
    """

    def __init__(self, health: Health, show: Show, reset: Callable[[], Awaitable[None]]) -> None:
        self._health = health
        self._show = show
        self._reset = reset

    @property
    def handlers(self) -> Mapping[str, Callable[[Args], Awaitable[Any]]]:
        return {
            "identify": self.identify,
            "panel.show": self.panel_show,
            "factory.reset": self.factory_reset,
        }

    async def identify(self, args: Args) -> Any:
        self._health.identify()
        return {}

    async def panel_show(self, args: Args) -> Any:
        seconds = args.get("seconds", 3)
        if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 <= seconds <= 60:
            raise ControlError("seconds must be 0 to 60")
        try:
            return self._show(text_of(args, "pattern"), seconds)
        except ValueError as error:
            raise ControlError(str(error)) from None

    async def factory_reset(self, args: Args) -> Any:
        try:
            await self._reset()
        except OSError as error:
            raise ControlError(f"the box cannot be reset, nothing was changed: {error}") from None
        return {}
