"""The store: the only SQLite, the only blob files. Journal and rows, one commit, then everybody is told."""

from typing import TYPE_CHECKING, Any

from appliance.store.arrivals import Arrival, BadEntries, Gap, Octets, Position, Positions
from appliance.store.blobs import Blobs, Upload
from appliance.store.copies import Copies
from appliance.store.database import create
from appliance.store.errors import DiskFull, FileDamaged, StoreBroken, StoreError
from appliance.store.jobs import Counts, Job, StoreSettings
from appliance.store.journal import BoxKey, write_synced
from appliance.store.queues import Done, Pending, Queues
from appliance.store.relay import Item, Relay
from appliance.store.replica import Replica
from appliance.store.schema import SchemaError
from appliance.store.scrubber import Scrubber
from appliance.store.store import Store

if TYPE_CHECKING:
    from appliance.store.verifying import verify

__all__ = [
    "Arrival",
    "BadEntries",
    "Blobs",
    "BoxKey",
    "Copies",
    "Counts",
    "DiskFull",
    "Done",
    "FileDamaged",
    "Gap",
    "Item",
    "Job",
    "Octets",
    "Pending",
    "Position",
    "Positions",
    "Queues",
    "Relay",
    "Replica",
    "SchemaError",
    "Scrubber",
    "Store",
    "StoreBroken",
    "StoreError",
    "StoreSettings",
    "Upload",
    "create",
    "verify",
    "write_synced",
]


def __getattr__(name: str) -> Any:
    """What a box rarely does is loaded when it does it."""
    if name != "verify":
        raise AttributeError(name)
    from appliance.store.verifying import verify

    globals()[name] = verify
    return verify
