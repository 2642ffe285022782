"""The words about updates."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from appliance.control.errors import ControlError
from appliance.control.finding import Args, text_of
from appliance.updating import UpdateError
from appliance.updating.plan import Wish
from appliance.updating.updater import Updater
from appliance.updating.versions import is_version


class UpdateWords:
    """``updater`` is who does it. A word begins what takes long, ``update.state`` says how far it is."""

    def __init__(self, updater: Updater) -> None:
        self._updater = updater

    @property
    def handlers(self) -> Mapping[str, Callable[[Args], Awaitable[Any]]]:
        words = {
            "update.check": self.check,
            "update.install": self.install,
            "update.rollback": self.rollback,
            "update.state": self.state,
        }
        return {word: _told(handler) for word, handler in words.items()}

    async def check(self, args: Args) -> Any:
        return await self._updater.check(_folder(args))

    async def install(self, args: Args) -> Any:
        version = text_of(args, "version") if args.get("version") is not None else None
        if version is not None and not is_version(version):
            raise ControlError(f"{version[:40]} is no version: write numbers with dots, as in 1.2.3")
        wish = Wish(version, _flag(args, "downgrade"), _flag(args, "again"))
        self._updater.install(wish, _folder(args), _flag(args, "alone"), not _flag(args, "no_restart"))
        return {}

    async def rollback(self, args: Args) -> Any:
        self._updater.rollback(_flag(args, "alone"), not _flag(args, "no_restart"))
        return {}

    async def state(self, args: Args) -> Any:
        """With ``seen`` the person knows what the last one came to, and is warned of it no more."""
        if _flag(args, "seen"):
            await self._updater.seen()
        return self._updater.state()


def _told(handler: Callable[[Args], Awaitable[Any]]) -> Callable[[Args], Awaitable[Any]]:
    async def telling(args: Args) -> Any:
        try:
            return await handler(args)
        except UpdateError as error:
            raise ControlError(str(error)) from None

    return telling


def _flag(args: Args, name: str) -> bool:
    value = args.get(name, False)
    if not isinstance(value, bool):
        raise ControlError(f"{name} must be true or false")
    return value


def _folder(args: Args) -> Path | None:
    return Path(text_of(args, "folder")) if args.get("folder") is not None else None
