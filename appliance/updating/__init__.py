"""Updates of the firmware: looked for, fetched, verified, handed to the system, proven or given up.

The system's side, as root, writes the other slot and starts it (`image/overlay`); it trusts nothing that
comes from here, and verifies anew. What it says and is asked: ``system`` and ``notes.Request``.

    gathering --offers--> plan.choose --> fetching --files--> turning (whose turn) --> handing --> the system
      peers, folders, web                   incoming             turns                   |  ^
                                                                                         v  |
      next start: trial (proof) --/run/pocket/proven--> the system          settling: what became of it

| file | has |
|---|---|
| `versions` `sums` `plan` `settling` `turns` | what is decided, without input, output or a clock |
| `signature` `system` `notes` | gpgv, the system's status, the folder DATA/update |
| `web` `folders` `peers` `gathering` | where updates are |
| `incoming` `fetching` | how they come, over breaks and restarts |
| `turning` | two boxes are never updated at once |
| `proof` `trial` | what a version has to prove, and who waits until then |
| `handing` `updater` | what is under way, and what is due |
"""

from appliance.updating.errors import (
    NoRoom,
    NoSource,
    NotYourTurn,
    Unmanaged,
    Untrusted,
    UpdateError,
)

__all__ = ["NoRoom", "NoSource", "NotYourTurn", "Unmanaged", "Untrusted", "UpdateError"]
