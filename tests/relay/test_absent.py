"""An item of the outbox whose file alone the box had that took it, and then died."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance import wire
from appliance.relay import barrier
from tests.kit.upstream import Upstream
from tests.relay.house import Device, until
from tests.relay.household import household
from tests.store.kit import run, spill


@pytest.fixture
def club(monkeypatch: pytest.MonkeyPatch) -> Iterator[Upstream]:
    monkeypatch.setattr(barrier, "QUIET_S", 0.3)
    with Upstream("The club") as site:
        yield site


def test_it_goes_out_on_the_same_link_when_its_file_has_come(club: Upstream, tmp_path: Path):
    async def body():
        async with household(tmp_path) as (one, two, nursery):
            number = await one.membership("club", club)
            phone = await one.device(number)
            await one.online(number)
            await two.online(number, 20)
            bob = club.member("Bob at the club")
            two.box.hub.fetcher._source = lambda sha: None  # type: ignore[method-assign]
            one.scope.cancel()
            two.scope.cancel()
            item = await phone.ask(wire.Post("1", [wire.Target(bob.uid, 1)], 100_000), bytes(100_000))
            await until(two.store.replica.lacking)
            one.die()
            await spill(two.store)
            await nursery.start(two.live)
            await two.online(number, 20)
            keeping = two.relay._keepings[number]
            await until(lambda: item in keeping._outbound.flow._absent, 20)
            upstream = keeping._outbound._upstream
            later = await Device(two, two.store.site.nodes[phone.node.number]).post(b"later", bob.uid)
            ((sha, _),) = two.store.replica.absent_blobs().items()
            place = two.store.blobs.path(sha)
            place.parent.mkdir(exist_ok=True)
            place.write_bytes(one.store.blobs.path(sha).read_bytes())
            await two.store.replica.blob_here(sha)
            outcomes = [await two.outcome(msgid) for msgid in (item, later)]
            assert keeping._outbound._upstream is upstream
            assert [m.id for m in club.waiting(bob)] == [outcome.upid for outcome in outcomes]

    run(body)
