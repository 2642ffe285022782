"""Where the boxes of the site are reached: this one tells the others, and tells clients of all."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address

from appliance.log import get_logger
from appliance.pairing.gifts import BOX_ADDRESSES_MAX
from appliance.site import add_box, place_box
from appliance.store import Store

log = get_logger(__name__)

ADDRESSES_MAX = 16
"""That fit a text to be scanned."""

Addresses = Callable[[], list[str]]


def all_addresses(store: Store, own: Addresses) -> list[str]:
    """Those of this box, then those of the others that are not revoked, by slot; each once."""
    boxes = sorted(store.site.boxes.values(), key=lambda box: box.slot)
    others = [a for box in boxes if box.box != store.replica.own and box.cut is None for a in box.addresses]
    return list(dict.fromkeys([*own(), *others]))[:ADDRESSES_MAX]


async def ensure_box(store: Store, name: str) -> None:
    """See to it that this box is one of the site's."""
    key = store.key
    await store.perform(lambda scene: add_box(scene, key.box, key.public, name, scene.mint.box))


async def tell_place(store: Store, name: str, addresses: tuple[str, ...]) -> None:
    """Tell the other boxes where this one is, and what it is called."""
    own = store.replica.own
    decision = await store.perform(lambda scene: place_box(scene, own, addresses[:BOX_ADDRESSES_MAX], name))
    if decision.error is None:
        log.info("box placed", addresses=list(addresses), name=name)
    else:
        log.warning("box not placed", addresses=list(addresses), name=name, reason=decision.error)


def place_of(store: Store, found: Addresses) -> tuple[str, ...]:
    """Where this box is; without a network, where it was."""
    known = store.site.boxes.get(store.replica.own)
    return tuple(found())[:BOX_ADDRESSES_MAX] or (known.addresses if known is not None else ())


def reachable(found: Addresses) -> Addresses:
    """Less the machine's own name, which is what there is without a network."""
    return lambda: [address for address in found() if _leads_somewhere(address)]


def _leads_somewhere(address: str) -> bool:
    host = address.lstrip("=+").rpartition(":")[0].strip("[]")
    try:
        ip_address(host)
    except ValueError:
        return "." in host
    return True
