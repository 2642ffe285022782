"""The store: the only SQLite, the only blob files. Journal and rows, one commit, then everybody is told."""

from appliance.store.blobs import Blobs, Upload
from appliance.store.database import create
from appliance.store.errors import DiskFull, StoreBroken, StoreError
from appliance.store.jobs import Counts, Job, StoreSettings
from appliance.store.journal import write_synced
from appliance.store.queues import Done, Pending, Queues
from appliance.store.schema import SchemaError
from appliance.store.store import Store
from appliance.store.verify import verify

__all__ = [
    "Blobs",
    "Counts",
    "DiskFull",
    "Done",
    "Job",
    "Pending",
    "Queues",
    "SchemaError",
    "Store",
    "StoreBroken",
    "StoreError",
    "StoreSettings",
    "Upload",
    "create",
    "verify",
    "write_synced",
]
