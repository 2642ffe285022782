"""The words about memberships: accounts at other sites, which the box keeps.

``appliance.relay`` does the work, and is there only when there is something for it to do: ``Links`` is what
these words need of it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from itertools import count
from typing import Any, Protocol

from appliance.control.devices import Devices, age_s, alias_of
from appliance.control.errors import ControlError
from appliance.control.finding import Args, find_member, find_membership, text_of
from appliance.log import get_logger
from appliance.session import Service
from appliance.site import Decision, Member, Membership
from appliance.site.relaying import NAME_CHARS_MAX, drop_membership, set_membership

log = get_logger(__name__)

METERED_MIN_MAX = 7 * 1440
ADDRESS_CHARS_MAX = 300


class Seen(Protocol):
    """What a site says before anybody logs in (TMTP revision 1, section 4, TmtpRev), and the SHA-256 of its
    certificate as hex digits.
    """

    name: str
    pin: str
    auth: int | None
    authby: list[dict[str, Any]] | None


class Links(Protocol):
    """The links to other sites. What cannot be done is raised as ``RelayError``, in words for the person."""

    async def look(self, address: str) -> Seen:
        """Connect, and say hello, no more."""

    async def add(
        self, member: int, name: str, address: str, alias: str, pin: str, oidc: dict[str, Any] | None
    ) -> tuple[int, str]:
        """Register there: the membership's number, and why the alias was refused (empty: it was not)."""

    async def adopt(self, member: int, name: str, address: str, uid: str, password: str, pin: str) -> int:
        """Log in there as a node that there is already: the membership's number."""

    def state(self, number: int) -> Mapping[str, Any]:
        """How the link of a membership is."""

    async def resume(self, number: int) -> None:
        """Try now, whatever was in the way."""


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
        pinned, name = None, None
        if args.get("membership") is not None:
            membership = find_membership(self._store.site, args)
            address, pinned = membership.fields.get("address", ""), membership.fields.get("pin", "")
        else:
            member = find_member(self._store.site, args)
            address = parse_address(text_of(args, "address"))
        seen = await _asked(self._links, lambda links: links.look(address))
        if pinned is None:
            name = self._proposed(member, seen.name, address)
        return {
            "address": address,
            "site": seen.name,
            "name": name,
            "fingerprint": shown_pin(seen.pin),
            "trusted": address.startswith("+"),
            "pinned": shown_pin(pinned) if pinned else None,
            "auth": seen.auth,
            "authby": seen.authby,
        }

    async def membership_add(self, args: Args) -> Any:
        member = find_member(self._store.site, args)
        address, pin = parse_address(text_of(args, "address")), parse_pin(text_of(args, "fingerprint"))
        name, alias, oidc = text_of(args, "name"), args.get("alias") or "", args.get("oidc")
        if not isinstance(alias, str) or not (oidc is None or isinstance(oidc, dict)):
            raise ControlError("alias is a text, oidc a token answer")
        self._must_fit(member, name)
        number, refused = await _asked(
            self._links, lambda links: links.add(member.number, name, address, alias, pin, oidc)
        )
        log.info("membership added", member=member.uid, membership=number)
        return {**self._describe(self._store.site.memberships[number]), "refused": refused or None}

    async def membership_adopt(self, args: Args) -> Any:
        member = find_member(self._store.site, args)
        address, pin = parse_address(text_of(args, "address")), parse_pin(text_of(args, "fingerprint"))
        name, uid, password = text_of(args, "name"), text_of(args, "uid"), text_of(args, "node")
        self._must_fit(member, name)
        number = await _asked(
            self._links, lambda links: links.adopt(member.number, name, address, uid, password, pin)
        )
        log.info("membership adopted", member=member.uid, membership=number)
        return self._describe(self._store.site.memberships[number])

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
            raise ControlError(
                "an authority vouches for this site's certificate: there is nothing to remember"
            )
        number = membership.number
        _check(await self._store.perform(lambda scene: set_membership(scene, number, pin=pin)))
        log.warning("membership repinned", membership=number, pin=pin)
        return await self._resume(membership)

    async def _resume(self, membership: Membership) -> Any:
        number = membership.number
        _check(await self._store.perform(lambda scene: set_membership(scene, number, halted="", trouble="")))
        await _asked(self._links, lambda links: links.resume(number))
        return self._describe(membership)

    def _must_fit(self, member: Member, name: str) -> None:
        """Before an account is made there."""
        if len(name) > NAME_CHARS_MAX or not name.isprintable() or not name.strip():
            raise ControlError(
                f"a membership needs a name of at most {NAME_CHARS_MAX} characters: see --name"
            )
        if name in self._names(member):
            raise ControlError(f"the member has a membership {name!r} already: give another --name")

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
        return {
            "membership": membership.number,
            "name": membership.name,
            "member": member.uid,
            "member_alias": alias_of(member) or None,
            "site": fields.get("site") or None,
            "address": fields.get("address", ""),
            "uid": membership.uid or None,
            "alias": fields.get("alias") or None,
            "fingerprint": shown_pin(pin) if (pin := fields.get("pin")) else None,
            "state": state_of(membership, state),
            "since_s": state.get("since_s"),
            "next_try_s": state.get("next_try_s"),
            "halted": fields.get("halted") or None,
            "trouble": fields.get("halted") or fields.get("trouble") or state.get("last_error") or None,
            "metered_s": metered_min(membership) * 60 or None,
            "devices": len(membership.devices),
            "outbox": out.count if out else 0,
            "outbox_octets": out.octets if out else 0,
            "archived": archive.count if archive else 0,
            "archived_octets": archive.octets if archive else 0,
            "boxes": len(membership.credentials),
        }


def state_of(membership: Membership, state: Mapping[str, Any]) -> str:
    """How a membership is, in one word."""
    if membership.fields.get("halted"):
        return "halted"
    if state.get("online"):
        return "online"
    if not state:
        return "starting"
    return "resting" if metered_min(membership) and not state.get("last_error") else "offline"


def metered_min(membership: Membership) -> int:
    """After how many minutes the box looks in at the site; 0: it stays there."""
    text = membership.fields.get("metered_min", "")
    return int(text) if text.isdecimal() else 0


def parse_address(text: str) -> str:
    """An address as people type it, =HOST:PORT or +HOST:PORT. Raises ``ControlError``."""
    host, colon, port = text[1:].rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if (
        text[:1] not in ("=", "+")
        or not colon
        or not bare
        or len(text) > ADDRESS_CHARS_MAX
        or not text.isprintable()
        or any(char in bare for char in " @/[]")
        or (":" in bare) != (bare != host)
        or not (port.isascii() and port.isdecimal() and 0 < int(port) < 65536)
    ):
        raise ControlError(
            f"{text[:60]!r} is no address of a site: type =HOST:PORT for one with a certificate of its own,"
            " +HOST:PORT for one that an authority vouches for"
        )
    return text


def parse_pin(text: str) -> str:
    """The 64 hex digits of a fingerprint. Raises ``ControlError``."""
    pin = text.strip().lower().removeprefix("sha256:").replace(":", "")
    if len(pin) != 64 or any(digit not in "0123456789abcdef" for digit in pin):
        raise ControlError(f"{text[:80]!r} is no fingerprint: it is SHA256: and 64 hex digits")
    return pin


def shown_pin(pin: str) -> str:
    """A fingerprint as people see it."""
    return f"SHA256:{pin}"


async def _asked(links: Callable[[], Awaitable[Links]], ask: Callable[[Links], Awaitable[Any]]) -> Any:
    """What the links answer. Raises ``ControlError`` with their words."""
    from appliance.relay import RelayError

    try:
        return await ask(await links())
    except RelayError as error:
        raise ControlError(str(error)) from None


def _check(decision: Decision) -> None:
    if decision.error is not None:
        raise ControlError(decision.error)
