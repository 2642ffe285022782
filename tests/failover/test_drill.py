"""`pocket peer test-failover`, while everybody writes."""

from __future__ import annotations

import time

from .home import Home


def test_a_failover_is_tested_under_load_and_reports_what_the_others_did(home: Home) -> None:
    crowd = home.people(known=3, local=1)
    home.write(1.0)
    holder = crowd.nodes[-1].box
    box = home.boxes[holder]
    at = time.monotonic()
    for node in crowd.nodes:
        node.mark(at, anew=node.box == holder)
    here = sum(node.box == holder for node in crowd.nodes)
    report = box.pocket("peer", "test-failover", "--seconds", "4")
    print(f"\n{report}")
    assert report["devices"] >= here
    others = {one["name"]: one for one in report["boxes"]}
    assert set(others) == set(home.boxes) - {holder}
    for one in others.values():
        assert one["served"] and one["answered_ms"] < 2000 and one["entries"] > 0, one
        assert one["caught_up_s"] is not None and one["caught_up_s"] < 20, one
    assert report["host"] == "home.local" and 0 < (report["host_taken_s"] or 0) < 4, report
    assert all(node.took_s is not None and node.took_s < 6 for node in crowd.nodes), [
        (str(node), node.took_s) for node in crowd.nodes
    ]
    home.judge()
    print(home.ledger.summary())
