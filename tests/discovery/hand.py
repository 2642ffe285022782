"""A box with lights that are watched and a hand on its button: `python -m tests.discovery.hand arguments...`.

It takes lines on standard input: the seconds for which the button on mock pin 23 is held. It prints a JSON
line {"lit": 0 or 1, "at": seconds} each time that the LED on mock pin 17 changes. Numbers are compared in
shorter rounds than those of people.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from typing import Any

from appliance import health

health.BEAT_S, health.PAUSE_S = 0.3, 1.0
health.ROUND_S = health.BEATS * health.BEAT_S + health.PAUSE_S

from appliance.cli import main  # noqa: E402
from appliance.panel import pins  # noqa: E402

LED, BUTTON = 17, 23
LOOK_S = 0.005


def press(factory: Any) -> None:
    for line in sys.stdin:
        factory.pin(BUTTON).drive_low()
        time.sleep(float(line))
        factory.pin(BUTTON).drive_high()


def watch(factory: Any) -> None:
    seen = False
    while True:
        state = bool(factory.pin(LED).state)
        if state != seen:
            seen = state
            print(json.dumps({"lit": int(state), "at": time.monotonic()}), flush=True)
        time.sleep(LOOK_S)


if __name__ == "__main__":
    make = pins._mock_factory

    def made() -> Any:
        factory = make()
        for work in (press, watch):
            threading.Thread(target=work, args=(factory,), daemon=True).start()
        return factory

    pins._mock_factory = made
    main(sys.argv[1:], prog_name="pocket")
