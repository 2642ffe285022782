"""The judge judged: who may get one post twice, and when."""

from __future__ import annotations

import pytest

from .ledger import Account, Ledger, Said

PARTED_AT = 100.0


@pytest.mark.parametrize(
    ("sent", "made_at", "fine"),
    [
        (["b", "c"], 99.9, True),
        (["c", "b"], 99.9, True),
        (["a", "c"], 99.9, False),
        (["b"], 99.9, False),
        (["b", "c"], 100.1, False),
    ],
    ids=["to both sides", "the other way", "to one side", "once", "later"],
)
def test_only_what_was_under_way_when_boxes_were_parted_may_come_under_two_ids(
    sent: list[str], made_at: float, fine: bool
) -> None:
    ledger, reader = Ledger(), Account("ann/phone", "ann")
    ledger.accounts.append(reader)
    said = Said("a post", "bob/phone", "bob", 1, frozenset(["ann"]), b"", 5, 7, False, sent, made_at)
    ledger.said[said.token] = said
    ledger.island, ledger.parted_at = frozenset("b"), PARTED_AT
    ledger.acked(said, 17, sent[-1], PARTED_AT + 3)
    ledger.came(reader, said.token, 16, said.size, said.checksum, "b")
    ledger.came(reader, said.token, 17, said.size, said.checksum, "b")
    if fine:
        ledger.judge()
    else:
        with pytest.raises(AssertionError, match="as 0000000000000010"):
            ledger.judge()
