"""The words that let somebody in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from appliance.control.errors import ControlError
from appliance.control.finding import Args, find_member, text_of
from appliance.log import get_logger
from appliance.session import NotNow, Offer, Service
from appliance.site import device_problem

log = get_logger(__name__)

MINUTES_MAX = 60.0
MINUTES = 2


class PairingWords:
    """The window and the codes. The button says the same words."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._pairing = service.pairing

    @property
    def handlers(self) -> Mapping[str, Callable[[Args], Awaitable[Any]]]:
        return {
            "pair.open": self.pair_open,
            "pair.close": self.pair_close,
            "pair.code": self.pair_code,
            "pair.show": self.pair_show,
            "pair.press": self.pair_press,
        }

    async def pair_open(self, args: Args) -> Any:
        minutes = args.get("minutes", MINUTES)
        if (
            isinstance(minutes, bool)
            or not isinstance(minutes, (int, float))
            or not 0 < minutes <= MINUTES_MAX
        ):
            raise ControlError(f"minutes must be above 0 and at most {MINUTES_MAX:.0f}")
        try:
            self._pairing.open_for(minutes * 60)
        except NotNow as error:
            raise ControlError(str(error)) from None
        log.info("pairing opened", minutes=minutes)
        return self._show()

    async def pair_press(self, args: Args) -> Any:
        """What a short press of the button means, once or twice in a row."""
        times = args.get("times", 1)
        if type(times) is not int or not 1 <= times <= 2:
            raise ControlError("times must be 1 or 2")
        buttons, answered = self._service.buttons, False
        for _ in range(times):
            try:
                answered = buttons.press()
            except NotNow as error:
                raise ControlError(str(error)) from None
            if not answered:
                await self.pair_open({})
                buttons.open_for(MINUTES * 60)
        return {**self._show(), "answered": answered}

    async def pair_close(self, args: Args) -> Any:
        self._pairing.close()
        self._service.buttons.close()
        log.info("pairing closed")
        return self._show()

    async def pair_code(self, args: Args) -> Any:
        store = self._service.store
        member, label = find_member(store.site, args), text_of(args, "label")
        if problem := device_problem(store.scene, member.number, label):
            raise ControlError(problem)
        try:
            offer = self._pairing.offer(member.number, label)
        except NotNow as error:
            raise ControlError(str(error)) from None
        log.info("pairing code made", member=member.uid, number=offer.code.number)
        place = self._service.place
        return {
            **self._offer(offer),
            "code": offer.code.text,
            "addresses": place.addresses(),
            "fingerprint": place.fingerprint,
        }

    async def pair_show(self, args: Args) -> Any:
        return {**self._show(), "codes": [self._offer(offer) for offer in self._pairing.offers]}

    def _show(self) -> dict[str, Any]:
        place = self._service.place
        return {
            "registration": self._pairing.mode,
            "pairing_open_s": round(self._pairing.open_s, 1),
            "address": place.addresses()[0],
            "fingerprint": place.fingerprint,
        }

    def _offer(self, offer: Offer) -> dict[str, Any]:
        left_s = self._pairing.left_s(offer)
        return {
            "number": offer.code.number,
            "state": "expired" if offer.state == "open" and not left_s else offer.state,
            "open_s": round(left_s, 1),
            "kind": offer.kind,
            "member": self._service.store.site.members[offer.member].uid if offer.kind == "node" else None,
            "label": offer.label,
        }
