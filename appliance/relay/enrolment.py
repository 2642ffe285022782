"""How a member gets an account at another site, or has the box keep one that is there.

Both make one short link. The texts of errors say what is wrong and what to do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import trio

from appliance import wire
from appliance.relay.dialing import connected
from appliance.relay.errors import (
    CertificateChanged,
    EnrolmentFailed,
    LoginRefused,
    RelayError,
    UpstreamBusy,
)
from appliance.relay.places import SiteAddress
from appliance.relay.settings import RelaySettings
from appliance.relay.upstream import Upstream, said
from appliance.wire import reasons

AUTHBY_MAX = 26
"""Providers that a site may name (TMTP revision 1, section 4)."""

UID_CHARS, NODE_CHARS = 32, 40
GOODBYE_S = 2.0


@dataclass(frozen=True, slots=True)
class Greeting:
    """What a site says of itself before a login. ``auth``: 1 if who registers, 2 if also who logs in has to
    show an answer of a provider of ``authby`` (section 5). ``pin`` as in ``places.check_pin``.
    """

    site: str
    pin: str
    auth: int
    authby: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Enrolled:
    """An account. ``node`` is the password of this box's node; ``trouble`` why it has not the alias that was
    asked for.
    """

    greeting: Greeting
    uid: str
    node: str
    trouble: str = ""


class Enrolment:
    """Calls sites that the member is not at yet."""

    def __init__(self, settings: RelaySettings, lookups: trio.CapacityLimiter) -> None:
        self._settings = settings
        self._lookups = lookups

    async def look(self, address: str, pin: str = "") -> Greeting:
        """What the site says of itself. Raises ``EnrolmentFailed``."""

        async def nothing(upstream: Upstream, greeting: Greeting) -> Enrolled:
            return Enrolled(greeting, "", "")

        return (await self._with(address, pin, nothing)).greeting

    async def register(
        self,
        address: str,
        label: str,
        alias: str | None = None,
        oidc: dict[str, Any] | None = None,
        pin: str = "",
    ) -> Enrolled:
        """Make an account, whose first node is this box, called ``label``. ``oidc``: what a provider has
        answered. Raises ``EnrolmentFailed``.
        """

        async def do(upstream: Upstream, greeting: Greeting) -> Enrolled:
            if greeting.auth and oidc is None and greeting.authby:
                labels = ", ".join(str(entry.get("label", "?")) for entry in greeting.authby)
                raise EnrolmentFailed(
                    f"the site {greeting.site} wants a login at one of: {said(labels)}; get its answer first"
                )
            made = await upstream.register(label, alias, oidc)
            if len(made.uid) > UID_CHARS or len(made.nodeid) > NODE_CHARS:
                raise EnrolmentFailed("the site gave an account that this box cannot use: it breaks TMTP")
            return Enrolled(greeting, made.uid, made.nodeid, said(made.error or ""))

        return await self._with(address, pin, do)

    async def adopt(self, address: str, uid: str, node: str, pin: str = "") -> Enrolled:
        """Try to log in with what another device of the member got for a new node. Raises
        ``EnrolmentFailed``.
        """
        uid, node = uid.strip(), node.strip()
        try:
            lengths = len(wire.b32decode(uid)), len(wire.b32decode(node))
        except ValueError as error:
            raise EnrolmentFailed(f"the uid or the password was copied wrongly: {error}") from error
        if lengths != (UID_CHARS * 5 // 8, NODE_CHARS * 5 // 8):
            raise EnrolmentFailed(
                f"a uid has {UID_CHARS} characters and a node's password {NODE_CHARS}: something is missing"
            )

        async def do(upstream: Upstream, greeting: Greeting) -> Enrolled:
            await upstream.log_in(uid, node)
            return Enrolled(greeting, uid, node)

        return await self._with(address, pin, do)

    async def _with(self, address: str, pin: str, do: Any) -> Enrolled:
        try:
            place = SiteAddress.parse(address.strip())
        except ValueError as error:
            raise EnrolmentFailed(str(error)) from error
        limit_s = self._settings.login_timeout_s
        try:
            async with connected(place, pin, self._settings, self._lookups) as upstream:
                with trio.move_on_after(limit_s):
                    hello = await upstream.greet()
                    greeting = Greeting(
                        said(hello.name), upstream.pin, hello.auth or 0, (hello.authby or [])[:AUTHBY_MAX]
                    )
                    enrolled: Enrolled = await do(upstream, greeting)
                    if upstream.logged_in:
                        with trio.move_on_after(GOODBYE_S):
                            await upstream.leave()
                    return enrolled
            raise EnrolmentFailed(f"{place} did not answer within {limit_s:g} s: try again later")
        except EnrolmentFailed:
            raise
        except LoginRefused as error:
            raise EnrolmentFailed(f"{error}; {_advice(str(error))}") from error
        except UpstreamBusy as error:
            raise EnrolmentFailed(
                "this node is logged in there now: give the box a node of its own, which a device of the"
                " member adds at that site"
            ) from error
        except CertificateChanged as error:
            raise EnrolmentFailed(f"{error}; it shows SHA256:{error.offered}") from error
        except RelayError as error:
            raise EnrolmentFailed(f"{error}") from error


def _advice(words: str) -> str:
    if reasons.AUTHENTICATION_REQUIRED in words:
        return "it wants the answer of a login provider"
    if reasons.REGISTER_FAILURE in words:
        return "registration may be closed there: ask who runs the site"
    return "look whether the uid and the password are right, and of a node that is still there"
