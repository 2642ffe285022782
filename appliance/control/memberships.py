"""The words about memberships: accounts at other sites, which the box keeps.

``appliance.relay`` does the work, and is there only when there is something for it to do: ``Links`` is what
these words need of it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from itertools import count
from typing import Any, Protocol

import trio

from appliance.control.devices import Devices, age_s, alias_of
from appliance.control.errors import ControlError
from appliance.control.finding import Args, find_member, find_membership, text_of
from appliance.log import get_logger
from appliance.session import Service
from appliance.site import Decision, Member, Membership
from appliance.site.relaying import NAME_CHARS_MAX, drop_membership, name_problem, set_membership
from appliance.store import StoreError

log = get_logger(__name__)

METERED_MIN_MAX = 7 * 1440
SETTLE_S, SETTLE_LOOK_S = 8.0, 0.1
"""For how long a word waits to see what becomes of a link."""


class Seen(Protocol):
    """What a site says before anybody logs in (TMTP revision 1, section 4, TmtpRev), and the SHA-256 of its
    certificate as hex digits, empty where an authority vouches for that.
    """

    @property
    def site(self) -> str: ...
    @property
    def pin(self) -> str: ...
    @property
    def auth(self) -> int: ...
    @property
    def authby(self) -> list[dict[str, Any]]: ...


class Links(Protocol):
    """The links to other sites. What cannot be done is raised as ``RelayError``, in words for the person."""

    async def look(self, address: str, pin: str = "") -> Seen:
        """Connect, and say hello, no more."""

    async def add(
        self,
        member: int,
        name: str,
        address: str,
        alias: str | None = None,
        oidc: dict[str, Any] | None = None,
        pin: str = "",
    ) -> int:
        """Register there: the membership's number."""

    async def adopt(
        self, member: int, name: str, address: str, uid: str, node: str, alias: str = "", pin: str = ""
    ) -> int:
        """Log in there as a node that there is already: the membership's number."""

    def state(self, number: int) -> Mapping[str, Any]:
        """How the link of a membership is."""

    async def resume(self, number: int, pin: str | None = None) -> None:
        """Try now, whatever was in the way, and from now on with this certificate."""


class MembershipWords:
    """``links``: start what keeps links to other sites, if it does not run yet; ``running``: what runs."""

    def __init__(
        self,
        service: Service,
        links: Callable[[], Awaitable[Links]],
        running: Callable[[], Links | None],
    ) -> None:
        self._service = service
        self._store = service.store
        self._links = links
        self._running = running
        self._devices = Devices(service)

    @property
    def handlers(self) -> Mapping[str, Callable[[Args], Awaitable[Any]]]:
        return {
            "membership.look": self.membership_look,
            "membership.add": self.membership_add,
            "membership.adopt": self.membership_adopt,
            "membership.list": self.membership_list,
            "membership.show": self.membership_show,
            "membership.drop": self.membership_drop,
            "membership.resume": self.membership_resume,
            "membership.set": self.membership_set,
            "membership.repin": self.membership_repin,
        }

    async def membership_look(self, args: Args) -> Any:
        """What a site says: the one at ``address`` for ``member``, or that of a ``membership``."""
        site, member, pinned = self._store.site, None, ""
        if args.get("membership") is not None:
            membership = find_membership(site, args)
            address, pinned = membership.fields.get("address", ""), membership.fields.get("pin", "")
        else:
            member, address = find_member(site, args), text_of(args, "address")
        seen = await _asked(self._links, lambda links: links.look(address))
        return {
            "address": address,
            "site": seen.site,
            "name": self._proposed(member, seen.site, address) if member is not None else None,
            "fingerprint": shown_pin(seen.pin),
            "pinned": shown_pin(pinned),
            "auth": seen.auth or None,
            "authby": seen.authby,
        }

    async def membership_add(self, args: Args) -> Any:
        alias, oidc = args.get("alias"), args.get("oidc")
        if not (alias is None or isinstance(alias, str)) or not (oidc is None or isinstance(oidc, dict)):
            raise ControlError("alias is a text, oidc a token answer")
        return await self._begin(
            args,
            lambda links, member, name, address, pin: links.add(
                member, name, address, alias or None, oidc, pin
            ),
        )

    async def membership_adopt(self, args: Args) -> Any:
        uid, password, alias = text_of(args, "uid"), text_of(args, "node"), args.get("alias") or ""
        if not isinstance(alias, str):
            raise ControlError("alias is a text")
        return await self._begin(
            args,
            lambda links, member, name, address, pin: links.adopt(
                member, name, address, uid, password, alias, pin
            ),
        )

    async def _begin(self, args: Args, how: Callable[[Links, int, str, str, str], Awaitable[int]]) -> Any:
        """A membership from now on, at the site with this certificate and no other."""
        member, name = find_member(self._store.site, args), text_of(args, "name")
        address, pin = text_of(args, "address"), args.get("fingerprint")
        digits = "" if pin is None else parse_pin(text_of(args, "fingerprint"))
        self._must_fit(member, name)
        number = await _asked(self._links, lambda links: how(links, member.number, name, address, digits))
        log.info("membership added", member=member.uid, membership=number)
        await self._settle(number)
        membership = self._store.site.memberships.get(number)
        if membership is None:
            raise ControlError("the membership was dropped meanwhile")
        return self._describe(membership)

    async def _settle(self, number: int) -> None:
        """Wait until it is online, or is known not to be; not for long."""
        with trio.move_on_after(SETTLE_S):
            while True:
                links = self._running()
                state = links.state(number) if links is not None else {}
                if state.get("online") or state.get("last_error") or state.get("halted"):
                    return
                await trio.sleep(SETTLE_LOOK_S)

    async def membership_list(self, args: Args) -> Any:
        site = self._store.site
        members = [find_member(site, args)] if args.get("member") else site.members.values()
        numbers = [number for member in members for number in member.memberships]
        return [await self._dated(site.memberships[n]) for n in numbers if n in site.memberships]

    async def membership_show(self, args: Args) -> Any:
        membership = find_membership(self._store.site, args)
        devices = await self._devices.numbered(membership.devices)
        return {**await self._dated(membership), "device_list": devices}

    async def membership_drop(self, args: Args) -> Any:
        membership = find_membership(self._store.site, args)
        shown = await self._dated(membership)
        _check(await self._store.perform(lambda scene: drop_membership(scene, membership.number)))
        log.info("membership dropped", member=shown["member"], membership=membership.number)
        return shown

    async def membership_resume(self, args: Args) -> Any:
        membership = find_membership(self._store.site, args)
        return await self._resume(membership)

    async def membership_set(self, args: Args) -> Any:
        membership, minutes = find_membership(self._store.site, args), args.get("metered_min")
        if type(minutes) is not int or not 0 <= minutes <= METERED_MIN_MAX:
            raise ControlError(f"metered_min must be 0 (always connected) to {METERED_MIN_MAX}")
        value = str(minutes) if minutes else ""
        number = membership.number
        _check(await self._store.perform(lambda scene: set_membership(scene, number, metered_min=value)))
        log.info("membership set", membership=number, metered_min=minutes)
        return self._describe(membership)

    async def membership_repin(self, args: Args) -> Any:
        membership, pin = find_membership(self._store.site, args), parse_pin(text_of(args, "fingerprint"))
        if membership.fields.get("address", "").startswith("+"):
            raise ControlError("an authority vouches for this site's certificate: nothing is remembered")
        log.warning("certificate trusted", membership=membership.number, pin=pin)
        return await self._resume(membership, pin)

    async def _resume(self, membership: Membership, pin: str | None = None) -> Any:
        number = membership.number
        _check(await self._store.perform(lambda scene: set_membership(scene, number, trouble="")))
        await _asked(self._links, lambda links: links.resume(number, pin))
        await trio.sleep(SETTLE_LOOK_S)  # what was wrong before is forgotten when it calls
        await self._settle(number)
        return self._describe(membership)

    def _must_fit(self, member: Member, name: str) -> None:
        """Before an account is made there."""
        problem = name_problem(self._store.site, member.number, name)
        if problem is not None:
            raise ControlError(problem)

    def _proposed(self, member: Member, site: str, address: str) -> str:
        """What a membership may be called: as the site is, or where it is."""
        plain = "".join(char for char in site if char.isprintable()).strip()[: NAME_CHARS_MAX - 4].strip()
        plain = plain or address[1:].rpartition(":")[0][: NAME_CHARS_MAX - 4]
        taken = self._names(member)
        more = (f"{plain} {number}" for number in count(2))
        return plain if plain not in taken else next(name for name in more if name not in taken)

    def _names(self, member: Member) -> set[str]:
        return {self._store.site.memberships[number].name for number in member.memberships}

    async def _dated(self, membership: Membership) -> dict[str, Any]:
        out = self._store.queues.nodes.get(membership.out)
        oldest = await self._store.oldest(membership.out) if out and out.count else 0
        return {**self._describe(membership), "outbox_oldest_s": age_s(oldest)}

    def _describe(self, membership: Membership) -> dict[str, Any]:
        site, fields, links = self._store.site, membership.fields, self._running()
        member, nodes = site.members[membership.member], self._store.queues.nodes
        out, archive = nodes.get(membership.out), nodes.get(membership.archive)
        state = links.state(membership.number) if links is not None else {}
        halted = fields.get("halted") or state.get("halted") or None
        since_s = state.get("online_s") if state.get("online") else state.get("failing_s")
        return {
            "membership": membership.number,
            "name": membership.name,
            "member": member.uid,
            "member_alias": alias_of(member) or None,
            "site": fields.get("site") or None,
            "address": fields.get("address", ""),
            "uid": membership.uid or None,
            "alias": fields.get("alias") or None,
            "fingerprint": shown_pin(fields.get("pin", "")),
            "offered": shown_pin(state.get("offered_pin") or ""),
            "state": state_of(membership, state, halted is not None),
            "since_s": _rounded(since_s),
            "next_try_s": _rounded(state.get("next_try_s")),
            "halted": halted,
            "trouble": halted or state.get("last_error") or fields.get("trouble") or None,
            "metered_s": metered_min(membership) * 60 or None,
            "devices": len(membership.devices),
            "outbox": out.count if out else 0,
            "outbox_octets": out.octets if out else 0,
            "archived": archive.count if archive else 0,
            "archived_octets": archive.octets if archive else 0,
            "boxes": len(membership.credentials),
        }


def state_of(membership: Membership, state: Mapping[str, Any], halted: bool) -> str:
    """How a membership is, in one word."""
    if halted:
        return "halted"
    if state.get("online"):
        return "online"
    if "last_error" not in state:
        return "starting"
    return "resting" if metered_min(membership) and not state["last_error"] else "offline"


def metered_min(membership: Membership) -> int:
    """After how many minutes the box looks in at the site; 0: it stays there."""
    text = membership.fields.get("metered_min", "")
    return int(text) if text.isdecimal() else 0


def parse_pin(text: str) -> str:
    """The 64 hex digits of a fingerprint. Raises ``ControlError``."""
    pin = text.strip().lower().removeprefix("sha256:").replace(":", "")
    if len(pin) != 64 or any(digit not in "0123456789abcdef" for digit in pin):
        raise ControlError(f"{text[:80]!r} is no fingerprint: it is SHA256: and 64 hex digits")
    return pin


def shown_pin(pin: str) -> str | None:
    """A fingerprint as people see it; None for none."""
    return f"SHA256:{pin}" if pin else None


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)


async def _asked(links: Callable[[], Awaitable[Links]], ask: Callable[[Links], Awaitable[Any]]) -> Any:
    """What the links answer. Raises ``ControlError`` with their words."""
    from appliance.relay import RelayError

    try:
        return await ask(await links())
    except RelayError as error:
        raise ControlError(str(error)) from None
    except KeyError:
        raise ControlError("the membership was dropped meanwhile") from None
    except StoreError as error:
        raise ControlError(f"it could not be stored: {error}") from None


def _check(decision: Decision) -> None:
    if decision.error is not None:
        raise ControlError(decision.error)
