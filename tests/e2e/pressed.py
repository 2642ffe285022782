"""A box with a hand on its button: `python -m tests.e2e.pressed PRESSES pocket-arguments...`.

PRESSES are seconds, "0.2,1.5": the button on mock pin 23 is held for each, with a pause before each.
"""

from __future__ import annotations

import sys
import threading
import time
from typing import Any

from appliance.cli import main
from appliance.panel import pins

PIN = 23
PAUSE_S = 0.5


def press(factory: Any, presses: list[float]) -> None:
    time.sleep(2 * PAUSE_S)
    for seconds in presses:
        factory.pin(PIN).drive_low()
        time.sleep(seconds)
        factory.pin(PIN).drive_high()
        time.sleep(PAUSE_S)


if __name__ == "__main__":
    make = pins._mock_factory
    presses = [float(text) for text in sys.argv[1].split(",")]

    def made() -> Any:
        factory = make()
        threading.Thread(target=press, args=(factory, presses), daemon=True).start()
        return factory

    pins._mock_factory = made
    main(sys.argv[2:], prog_name="pocket")
