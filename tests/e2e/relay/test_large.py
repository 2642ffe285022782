"""Attachments larger than the box's memory.

POCKET_LARGE_MIB=1024 pytest -s tests/e2e/relay/test_large.py
"""

from __future__ import annotations

import os
import time

from tests.kit.upstream import Body, Upstream
from tests.load import peak_mb, reset_peak, rss_mb

from .house import House, Membership
from .large import Heavy, sum_of, write

SIZE = int(os.environ.get("POCKET_LARGE_MIB", "64")) << 20
MEMORY_MB = 64.0


def test_an_attachment_goes_through_the_box_both_ways_at_64_mb_of_memory(
    house: House, club: Upstream, ann: Membership
) -> None:
    laptop, phone = ann.device("laptop"), ann.device("phone")
    carol = club.member("Carol at the club")
    reset_peak(house.box.pid)
    before = rss_mb(house.box.pid)
    began = time.monotonic()
    with Heavy(laptop) as there, Heavy(phone) as other:
        number = there.post(carol.uid, SIZE)
        sent_s = time.monotonic() - began
        (message,) = [m for m in club.waiting(carol) if m.op == "delivery"]
        assert (message.body.size, message.body.sha256()) == (SIZE, sum_of(SIZE))
        copy = other.message()
        assert (copy.number, copy.size, copy.digest) == (number, SIZE, sum_of(SIZE))
        body = Body(SIZE, b"", write(club.folder / "large", SIZE, 2))
        member = club.accounts.members[ann.uid]
        began = time.monotonic()
        club.do(club.accounts.send, "delivery", carol, member.nodes, body)
        for link in (there, other):
            came = link.message()
            assert (came.size, came.digest) == (SIZE, sum_of(SIZE, 2))
        came_s = time.monotonic() - began
    peak = peak_mb(house.box.pid)
    print(
        f"\n{SIZE >> 20} MiB: {sent_s:.1f} s there with its ack, {came_s:.1f} s back to two devices; memory"
        f" {before:.0f} MB, then at most {peak:.0f} MB"
    )
    assert peak < MEMORY_MB
