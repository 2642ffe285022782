"""Who floods the network harms discovery, and nothing else."""

import pytest

pytestmark = [pytest.mark.root]


def test_a_flood_of_packets_costs_the_box_little_time_and_memory(lab):
    a, b, c = lab.machine("a"), lab.machine("b"), lab.machine("c")
    box = a.box()
    box.event("announced")
    box.tell("busy")
    before = box.wait("rss")
    floods = [
        b.side("flood", {"seconds": 1.5, "octets": octets, "interface": b.address}) for octets in (1300, 8900)
    ]
    assert all(flood.end()[-1]["packets"] > 1000 for flood in floods)
    box.event("more mDNS packets than a home has")
    box.tell("busy")
    after = box.wait("rss")
    assert after["late_s"] < 0.5
    assert after["cpu_s"] - before["cpu_s"] < 0.4
    assert after["rss"] - before["rss"] < 32 << 20
    assert "Home" in c.find(1.2)
    box.tell("stop")
    stopping = box.wait("stopping")["at"]
    assert box.wait("stopped")["at"] - stopping < 0.6
