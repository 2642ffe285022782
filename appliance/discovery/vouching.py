"""The box's word that it serves: who does not is not to hold the site's name."""

from __future__ import annotations

import time
from collections.abc import Sequence

import trio

from appliance.discovery.desk import Desk
from appliance.discovery.keeper import Willing
from appliance.discovery.shared import SiteName
from appliance.health import Health

TOPIC = "site name"
VOUCH_EVERY_S = 0.1
"""How soon the name is given up when the box stops to serve: the goodbye goes out within this."""

WILLING: dict[str, Willing] = {
    "serving": Willing.YES,
    "warning": Willing.YES,
    "error": Willing.LAST,
}
"""Whether a box in this state would hold the name; in any other it would not."""


async def vouch(name: SiteName, desk: Desk | None, health: Health, warn_after_s: float) -> None:
    """Say for as long as the box's loop runs whether the box serves, and tell in health of a stranger that
    has had the site's name for ``warn_after_s``. Runs until cancelled; then the name is nobody's, as far as
    this box knows.
    """
    try:
        since: float | None = None
        while True:
            name.vouch(WILLING.get(health.state, Willing.NO))
            strangers = desk.stranger if desk is not None else []
            now = time.monotonic()
            since = (since or now) if strangers else None
            told = since is not None and now - since >= warn_after_s
            health.warn(TOPIC, _advice(name.name, strangers) if told else None)
            await trio.sleep(VOUCH_EVERY_S)
    finally:
        name.told(None, False)
        health.warn(TOPIC, None)


def _advice(name: str, strangers: Sequence[str]) -> str:
    return (
        f"another device in this network ({', '.join(strangers)}) is called {name}, so that name does not "
        "lead here: rename that device, or give all boxes of the site another name (host under [discovery]); "
        "typing an address always works"
    )
