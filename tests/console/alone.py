"""`python -m tests.console.alone FOLDER PORTS`: a console in a process of its own, as it is in the box."""

import sys
from pathlib import Path

import trio

from appliance.console import Actions, ConsoleSettings, run_console
from appliance.health import Health
from tests.console.cable import STATUS


async def main():
    async def status(args):
        return STATUS

    settings = ConsoleSettings(data=Path(sys.argv[1]), ports=(sys.argv[2],))
    await run_console(settings, {"status": status}, Health(), Actions())


if __name__ == "__main__":
    trio.run(main)
