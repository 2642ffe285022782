"""A box whose lights are watched: `python -m tests.e2e.watched FILE pocket-arguments...`.

FILE gets a line "GPIO STATE" each time that a mock pin changes.
"""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path
from typing import Any

from appliance.cli import main
from appliance.panel import pins

LOOK_S = 0.005


def watch(factory: Any, file: Path) -> None:
    seen: dict[int, bool] = {}
    with file.open("w", buffering=1) as lines:
        while True:
            for number in range(28):
                state = bool(factory.pin(number).state)
                if seen.get(number, False) != state:
                    seen[number] = state
                    lines.write(f"{number} {state:d}\n")
            time.sleep(LOOK_S)


if __name__ == "__main__":
    make = pins._mock_factory
    file = Path(sys.argv[1])

    def made() -> Any:
        factory = make()
        threading.Thread(target=watch, args=(factory, file), daemon=True).start()
        return factory

    pins._mock_factory = made
    main(sys.argv[2:], prog_name="pocket")
