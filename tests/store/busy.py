"""A process that works on a store, for test_crash.py: everything happens to it, and it remarks in the record
what it was told is durable."""

from __future__ import annotations

import sys
from pathlib import Path
from random import Random

import trio

from appliance.site import Message
from appliance.store import Store, database, disk
from tests.store import kit
from tests.store.shim import mark

STEPS = 60
WORKERS = 3


async def main(folder: Path, seed: int) -> None:
    rng = Random(seed)
    async with kit.running(folder, spill_weight=60) as store:

        def publish(messages: list[Message]) -> None:
            for message in messages:
                mark({"sent": message.msgid, "nodes": message.nodes, "size": message.size})

        store.publish = publish  # type: ignore[assignment]
        people = await kit.members(store, 3)
        devices = {person.node: person for person in people}

        async def work(person: kit.Device) -> None:
            for _ in range(STEPS):
                await step(store, rng, devices, person)

        async with trio.open_nursery() as nursery:
            for person in people[:WORKERS]:
                nursery.start_soon(work, person)


async def step(store: Store, rng: Random, devices: dict[int, kit.Device], person: kit.Device) -> None:
    match rng.choices(["post", "large", "ack", "newnode", "drop", "spill"], [10, 3, 8, 1, 1, 1])[0]:
        case "post":
            await person.post([rng.choice(list(devices.values())).uid], rng.randbytes(rng.randint(0, 3000)))
        case "large":
            await person.post(
                [rng.choice(list(devices.values())).uid], bytes([rng.randint(0, 2)]) * kit.LARGE
            )
        case "ack":
            device = rng.choice(list(devices.values()))
            messages, _ = await store.pending(device.node, set(), 8)
            msgids = [message.msgid for message in messages]
            mark({"acking": msgids, "node": device.node})
            await device.acks(*msgids)
            mark({"acked": msgids, "node": device.node})
        case "newnode":
            made = await person.newnode()
            mark({"made": made.node})
            devices[made.node] = made
        case "drop" if len(devices) > 3:
            device = devices.pop(list(devices)[-1])
            mark({"dropping": device.node})
            await device.drop()
            mark({"dropped": device.node})
        case "spill":
            await kit.spill(store)


if __name__ == "__main__":
    database.CHECKPOINT_OCTETS = 100_000
    disk.BALLAST_OCTETS = 4096
    trio.run(main, Path(sys.argv[1]), int(sys.argv[2]))
