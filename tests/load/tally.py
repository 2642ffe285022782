"""What was sent, what was acknowledged, what arrived; and whether the one fits the other."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import google_crc32c

if TYPE_CHECKING:
    from .user import User

STAMP = struct.Struct("<QQII")
"""Run, time in ns, sender, seq: how a message's data begins. Then the checksum of that and of the rest."""
SUM = struct.Struct("<I")
STAMP_OCTETS = STAMP.size + SUM.size
REFUSED = -1
SAMPLES_MAX = 5


def checksum(data: bytes | memoryview) -> int:
    """Of stamped data: all octets but those of the sum itself."""
    start = google_crc32c.value(bytes(data[: STAMP.size]))
    return int(google_crc32c.extend(start, bytes(data[STAMP_OCTETS:])))


@dataclass(slots=True)
class Tally:
    """Counts of one run; a run that starts anew has another `run` number."""

    run: int = field(default_factory=time.time_ns)
    acked: int = 0
    refused: int = 0
    delivered: int = 0
    expected: int = 0
    octets: int = 0
    duplicates: int = 0
    corrupt: int = 0
    id_order_bad: int = 0
    fifo_bad: int = 0
    broken: int = 0
    samples: list[str] = field(default_factory=list)
    last_ack_ns: int = 0
    last_delivery_ns: int = 0

    def note(self, error: str) -> None:
        """Something that must not happen in a run."""
        self.broken += 1
        if len(self.samples) < SAMPLES_MAX:
            self.samples.append(error)

    def verdict(self, users: Iterable[User]) -> dict[str, object]:
        """`ok`: every post was acknowledged and reached each of its recipients exactly once, under the id of
        the acknowledgement, octet for octet, in order; and nothing else arrived."""
        users = list(users)
        wanted: dict[int, dict[tuple[int, int], int]] = {user.index: {} for user in users}
        for user in users:
            for recipient in user.recipients:
                wanted[recipient.index].update(
                    ((user.index, seq), msgid) for seq, msgid in enumerate(user.msgids)
                )
        missing = mismatch = unexpected = 0
        for user in users:
            want = wanted[user.index]
            for key, msgid in want.items():
                got = user.got.get(key)
                missing += msgid > 0 and got is None
                mismatch += msgid > 0 and got is not None and got != msgid
            unexpected += sum(want.get(key, REFUSED) == REFUSED for key in user.got)
        faults = {
            "errors": self.broken,
            "refused": self.refused,
            "not_acked": sum(user.msgids.count(0) for user in users),
            "missing": missing,
            "duplicates": self.duplicates,
            "corrupt": self.corrupt,
            "msgid_mismatch": mismatch,
            "unexpected": unexpected,
            "id_order_bad": self.id_order_bad,
            "fifo_bad": self.fifo_bad,
        }
        result: dict[str, object] = {"ok": not any(faults.values()), **faults}
        if self.samples:
            result["error_samples"] = self.samples
        return result


def percentiles(nanoseconds: Iterable[int], name: str) -> dict[str, float]:
    """`name_p50_ms` and so on; nothing if there was nothing to measure."""
    ordered = sorted(nanoseconds)
    return (
        {f"{name}_p{p}_ms": significant(ordered[(len(ordered) - 1) * p // 100] / 1e6) for p in (50, 90, 99)}
        if ordered
        else {}
    )


def significant(figure: float) -> float:
    """With four digits, which is more than a measurement is worth."""
    return float(f"{figure:.4g}")
