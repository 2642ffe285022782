"""The words about backups and the recovery key."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from appliance.backup import BackupError
from appliance.backup.keeper import Keeper
from appliance.control.errors import ControlError
from appliance.control.finding import Args, text_of
from appliance.log import get_logger
from appliance.store import StoreError

log = get_logger(__name__)


class BackupWords:
    """``keeper`` is who does it. A word begins what takes long, ``backup.state`` says how far it is."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper

    @property
    def handlers(self) -> Mapping[str, Callable[[Args], Awaitable[Any]]]:
        words = {
            "backup.make": self.make,
            "backup.verify": self.verify,
            "backup.state": self.state,
            "backup.list": self.list,
            "backup.auto": self.auto,
            "recovery.show": self.show,
            "recovery.new": self.new,
            "restore": self.restore,
        }
        return {word: _told(handler) for word, handler in words.items()}

    async def make(self, args: Args) -> Any:
        self._keeper.make(_folder(args))
        return {}

    async def verify(self, args: Args) -> Any:
        self._keeper.verify(_folder(args), _secret(args) if args.get("key") is not None else None)
        return {}

    async def state(self, args: Args) -> Any:
        return self._keeper.state()

    async def list(self, args: Args) -> Any:
        state = self._keeper.state()
        known = ("automatic", "at", "made", "folder", "size", "last_problem", "running")
        return {**{key: state[key] for key in known}, "backups": await self._keeper.listed(_folder(args))}

    async def auto(self, args: Args) -> Any:
        on = args.get("on")
        if not isinstance(on, bool):
            raise ControlError("on must be true or false")
        await self._keeper.set_automatic(on)
        log.info("automatic backups", on=on)
        return {"automatic": on, "at": self._keeper.state()["at"]}

    async def show(self, args: Args) -> Any:
        return await self._shown(renew=False)

    async def new(self, args: Args) -> Any:
        log.warning("the site gets another recovery key")
        return await self._shown(renew=True)

    async def _shown(self, renew: bool) -> Any:
        from appliance.backup import keys

        secret = await self._keeper.secret(renew)
        await self._keeper.shown(keys.key_id(secret))
        return {"key": keys.shown(secret), "id": keys.key_id(secret)}

    async def restore(self, args: Args) -> Any:
        """With ``look`` only what would be restored."""
        place, secret = _folder(args), _secret(args)
        if place is None:
            raise ControlError("the folder of the stick is missing")
        backup = await self._keeper.look(place, secret)
        state = backup.state
        told = {
            "folder": str(backup.folder.path),
            "site": state.site,
            "was": state.box,
            "made": state.made,
            "octets": state.octets,
            "members": state.members,
            "messages": state.messages,
            "other_boxes": len(state.heads) - 1,
        }
        if args.get("look") is True:
            return told
        return {**told, "box": await self._keeper.restore(backup.folder.path, secret)}


def _told(handler: Callable[[Args], Awaitable[Any]]) -> Callable[[Args], Awaitable[Any]]:
    async def telling(args: Args) -> Any:
        try:
            return await handler(args)
        except BackupError as error:
            raise ControlError(str(error)) from None
        except StoreError:
            raise ControlError("the box is stopping: try again in a moment") from None

    return telling


def _folder(args: Args) -> Path | None:
    if args.get("folder") is None:
        return None
    place = Path(text_of(args, "folder"))
    if not place.is_absolute():
        raise ControlError(f"{place}: name the folder from the root, as in /media/stick")
    return place


def _secret(args: Args) -> bytes:
    """Raises ``WrongKey``."""
    from appliance.backup import keys

    return keys.typed(text_of(args, "key"))
