"""The state of the site in 64 hex digits: boxes that have talked have the same.

Accounts, groups and boxes as the tables have them, and which node has yet to get which message. Not in it is
what each box keeps for itself: journals (old entries go at different times), octets, keys of requests.
"""

from __future__ import annotations

import hashlib
import sqlite3

from appliance.site.facts import encode_facts
from appliance.store import accounts
from appliance.store.queues import Queues


def state_digest(connection: sqlite3.Connection, queues: Queues) -> str:
    """``queues``: the part that is not in the tables. Blocks, some microseconds for each thing that waits."""
    whole = hashlib.sha256()
    for encoded in sorted(encode_facts([fact]) for fact in accounts.read(connection)):
        whole.update(encoded)
    waiting = set(connection.execute("SELECT node, msgid FROM queue"))
    waiting.update((node, msgid) for node, _, msgid, _ in queues.rows())
    for node, msgid in sorted(waiting):
        whole.update(b"%d %d\n" % (node, msgid))
    return whole.hexdigest()
