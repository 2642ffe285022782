"""The words about the boxes of the site."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from appliance.control.errors import ControlError
from appliance.control.finding import Args, text_of
from appliance.log import get_logger
from appliance.peering import Peering, PeeringError
from appliance.session import NotNow, Service
from appliance.site import Box, heirs

log = get_logger(__name__)

ADDRESSES_MAX = 16
SECONDS_MAX = 120.0


class PeerWords:
    """``peering`` is who knows."""

    def __init__(self, service: Service, peering: Peering) -> None:
        self._service = service
        self._peering = peering

    @property
    def handlers(self) -> Mapping[str, Callable[[Args], Awaitable[Any]]]:
        return {
            "peer.invite": self.peer_invite,
            "peer.join": self.peer_join,
            "peer.list": self.peer_list,
            "peer.show": self.peer_show,
            "peer.revoke": self.peer_revoke,
            "peer.failover": self.peer_failover,
        }

    async def peer_invite(self, args: Args) -> Any:
        if problem := self._peering.standing.trouble():
            raise ControlError(problem)
        pairing, place = self._service.pairing, self._service.place
        try:
            offer = pairing.offer_box()
        except NotNow as error:
            raise ControlError(str(error)) from None
        log.info("pairing code made", kind="box", number=offer.code.number)
        return {
            "code": offer.code.text,
            "number": offer.code.number,
            "open_s": round(pairing.left_s(offer), 1),
            "addresses": self._peering.own_addresses,
            "fingerprint": place.fingerprint,
        }

    async def peer_join(self, args: Args) -> Any:
        addresses = args.get("addresses")
        if (
            not isinstance(addresses, list)
            or not 0 < len(addresses) <= ADDRESSES_MAX
            or not all(isinstance(address, str) and len(address) < 300 for address in addresses)
        ):
            raise ControlError(f"addresses are 1 to {ADDRESSES_MAX} texts")
        try:
            return await self._peering.join(addresses, text_of(args, "code"))
        except PeeringError as error:
            raise ControlError(str(error)) from None

    async def peer_list(self, args: Args) -> Any:
        return self._peering.listed()

    async def peer_show(self, args: Args) -> Any:
        return self._peering.standing.describe(self._find(args))

    async def peer_revoke(self, args: Args) -> Any:
        try:
            return await self._peering.revoke(self._find(args))
        except PeeringError as error:
            raise ControlError(str(error)) from None

    async def peer_failover(self, args: Args) -> Any:
        seconds = args.get("seconds", 10)
        if (
            isinstance(seconds, bool)
            or not isinstance(seconds, int | float)
            or not 1 <= seconds <= SECONDS_MAX
        ):
            raise ControlError(f"seconds must be 1 to {SECONDS_MAX:.0f}")
        try:
            return await self._peering.failover(float(seconds))
        except PeeringError as error:
            raise ControlError(str(error)) from None

    def _find(self, args: Args) -> Box:
        name = text_of(args, "box")
        boxes = self._peering.standing.all
        found = [box for box in boxes if box.box == name] or [box for box in boxes if box.name == name]
        became = heirs(self._peering.standing.known)
        in_force = [box for box in found if box.cut is None and (box.box not in became or box.box == name)]
        found = in_force if len(in_force) == 1 else found
        if not found:
            raise ControlError(
                f"there is no box {name!r}: give its name or id, as   pocket peer list   shows"
            )
        if len(found) > 1:
            ids = ", ".join(box.box for box in found)
            raise ControlError(f"{len(found)} boxes are called {name!r}: give one of the ids {ids}")
        return found[0]
