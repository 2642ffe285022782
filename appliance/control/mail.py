"""The words about archives: what is kept of messages.

``appliance.mail`` does the work, and is there only when there is something for it to do: ``Archives`` is what
these words need of it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from appliance.control.errors import ControlError
from appliance.control.finding import Args, find_member, find_membership, text_of
from appliance.log import get_logger
from appliance.session import Service
from appliance.store import StoreError

log = get_logger(__name__)


class Archives(Protocol):
    """Members and memberships go by their numbers; results are JSON. What cannot be done is raised as
    ``MailError``, in words for the person.
    """

    async def search(
        self,
        member: int,
        text: str,
        *,
        order: Any,
        after: str,
        limit: int,
        membership: int | None,
    ) -> dict[str, Any]:
        """What is found."""

    async def show(self, member: int, message: str) -> dict[str, Any]:
        """One message."""

    async def page(
        self, member: int, after: Mapping[str, str], membership: int | None, limit: int
    ) -> dict[str, Any]:
        """The next messages of an export."""

    async def piece(self, member: int, node: int, message: str, offset: int, octets: int) -> dict[str, Any]:
        """Some of a message's octets."""

    async def keep(self, member: int, on: bool) -> dict[str, Any]:
        """Keep what goes through the member's devices of this site, or do so no more."""

    async def state(self, member: int) -> dict[str, Any]:
        """What is kept."""


class MailWords:
    """``archives``: start what looks after archives, if it does not run yet."""

    def __init__(self, service: Service, archives: Callable[[], Awaitable[Archives]]) -> None:
        self._site = service.store.site
        self._archives = archives

    @property
    def handlers(self) -> Mapping[str, Callable[[Args], Awaitable[Any]]]:
        return {
            "mail.search": self.mail_search,
            "mail.message": self.mail_message,
            "mail.page": self.mail_page,
            "mail.piece": self.mail_piece,
            "mail.archive": self.mail_archive,
            "mail.show": self.mail_show,
        }

    async def mail_search(self, args: Args) -> Any:
        member, words, of = find_member(self._site, args), text_of(args, "words"), self._membership(args)
        order, after, limit = args.get("order", "newest"), args.get("after", ""), _count(args, "limit", 20)
        if not isinstance(order, str) or not isinstance(after, str):
            raise ControlError("order and after are texts")
        return await self._asked(
            lambda archives: archives.search(
                member.number, words, order=order, after=after, limit=limit, membership=of
            )
        )

    async def mail_message(self, args: Args) -> Any:
        """One message, as an export has it."""
        member, message = find_member(self._site, args), text_of(args, "message")
        return await self._asked(lambda archives: archives.show(member.number, message))

    async def mail_page(self, args: Args) -> Any:
        """The next messages of an export: it is written by who asks, where the box could not."""
        member, of = find_member(self._site, args), self._membership(args)
        after, limit = args.get("after") or {}, _count(args, "limit", 100)
        if not isinstance(after, dict) or not all(isinstance(value, str) for value in after.values()):
            raise ControlError("after is what the last page said")
        return await self._asked(lambda archives: archives.page(member.number, after, of, limit))

    async def mail_piece(self, args: Args) -> Any:
        member, message = find_member(self._site, args), text_of(args, "message")
        node, offset, octets = (_count(args, key, 0) for key in ("node", "offset", "octets"))
        return await self._asked(
            lambda archives: archives.piece(member.number, node, message, offset, octets)
        )

    async def mail_archive(self, args: Args) -> Any:
        member, on = find_member(self._site, args), args.get("on")
        if not isinstance(on, bool):
            raise ControlError("on must be true or false")
        result = await self._asked(lambda archives: archives.keep(member.number, on))
        log.info("messages of this site", member=member.uid, kept=on)
        return result

    async def mail_show(self, args: Args) -> Any:
        member = find_member(self._site, args)
        return await self._asked(lambda archives: archives.state(member.number))

    def _membership(self, args: Args) -> int | None:
        if args.get("membership") is None:
            return None
        return find_membership(self._site, args, find_member(self._site, args)).number

    async def _asked(self, ask: Callable[[Archives], Awaitable[Any]]) -> Any:
        from appliance.mail import MailError

        archives = await self._archives()
        try:
            return await ask(archives)
        except MailError as error:
            raise ControlError(str(error)) from None
        except StoreError:
            raise ControlError("the box is stopping: try again in a moment") from None


def _count(args: Args, key: str, default: int) -> int:
    value = args.get(key, default)
    if type(value) is not int or value < 0:
        raise ControlError(f"{key} must be a whole number, 0 or more")
    return value
