"""What a version has to prove: its port, its store, and the boxes that were there before."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import trio

from appliance.session.certificate import ensure_certificate, fingerprint, server_context
from appliance.store.verifying import verify_newest
from appliance.updating import proof
from appliance.updating.notes import Before
from appliance.updating.proof import OTHERS_S, Proof, answers, lacking, own_address, stores, write_proof
from tests.store import kit


class Others:
    """Boxes a, b and c."""

    def __init__(self, linked: str = "abc", synced: str = "abc", counting: str = "abc") -> None:
        self._linked, self._synced, self._counting = linked, synced, counting

    def linked(self) -> list[str]:
        return list(self._linked)

    def counting(self) -> list[str]:
        return list(self._counting)

    def in_sync(self, box: str) -> bool:
        return box in self._synced

    def name(self, box: str) -> str:
        return f"<{box}>"


def before(linked: str, network: bool = True) -> Before:
    return Before("1.1", list(linked), network, 0)


@pytest.mark.parametrize(
    ("was", "others", "waited_s", "network", "lacks"),
    [
        (None, Others(""), 0, False, None),
        (before(""), Others(""), 0, True, None),
        (before(""), Others(""), 0, False, "no network"),
        (before("", network=False), Others(""), 0, False, None),
        (before("ab"), Others("ab"), 0, True, None),
        (before("ab"), Others("abc", "c"), 0, True, "<a> and this one are not in sync"),
        (before("ab"), Others("a"), 0, True, "<b> was linked"),
        (before("ab"), Others("a"), OTHERS_S, True, None),
        (before("ab"), Others("c"), OTHERS_S * 9, True, "<a> was linked"),
        (before("ab"), Others("", counting="c"), 0, True, None),
    ],
)
def test_boxes_that_were_linked_have_to_be_so_again(
    was: Before | None, others: Others, waited_s: float, network: bool, lacks: str | None
) -> None:
    found = lacking(was, others, waited_s, lambda: network)
    assert found is None if lacks is None else lacks in str(found)


def test_the_port_has_to_answer_with_the_right_certificate(tmp_path: Path) -> None:
    cert, key = ensure_certificate(tmp_path / "tls", "Home")

    async def serve(stream: trio.SocketStream) -> None:
        await trio.SSLStream(stream, server_context(cert, key), server_side=True).do_handshake()
        await trio.sleep(1)

    async def story() -> None:
        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(trio.serve_tcp, serve, 0)
            address = own_address(("0.0.0.0", listeners[0].socket.getsockname()[1]))
            assert await answers(lambda: address, lambda: fingerprint(cert))() is None
            assert "another certificate" in str(await answers(lambda: address, lambda: "SHA256:00")())
            nursery.cancel_scope.cancel()
        assert "does not answer" in str(await answers(lambda: address, lambda: fingerprint(cert))())

    kit.run(story)


def test_a_port_that_is_silent_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proof, "ANSWER_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = silent.getsockname()
        kit.run(lambda: _is_silent(address))


async def _is_silent(address: tuple[str, int]) -> None:
    assert "does not answer" in str(await answers(lambda: address, lambda: "")())


def test_the_store_has_to_be_whole_writable_and_not_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        async with kit.running(tmp_path) as store:
            ann, bob = await kit.members(store, 2)
            await ann.post([bob.uid], b"words")
            assert await stores(store, tmp_path)() is None
            store.disk._octets, store.disk._percent = 1 << 60, 1e9
            monkeypatch.setattr(store.disk, "_looked", float("-inf"))
            assert await stores(store, tmp_path)() == "the disk is full"
        place = kit.rows(tmp_path, "SELECT max(place) FROM entry")[0][0]
        kit.change(tmp_path, "UPDATE entry SET body = x'90' WHERE place = ?", place)
        assert "bad signature" in verify_newest(tmp_path, 10)[0]
        assert "bad signature" in verify_newest(tmp_path, 1)[0]

    kit.run(story)


def test_only_the_newest_entries_are_looked_at(tmp_path: Path) -> None:
    async def story() -> None:
        async with kit.running(tmp_path) as store:
            ann, bob = await kit.members(store, 2)
            for _ in range(5):
                await ann.post([bob.uid], b"words")
        kit.change(tmp_path, "UPDATE entry SET body = x'90' WHERE place = (SELECT min(place) FROM entry)")
        assert verify_newest(tmp_path, 3) == [] and len(verify_newest(tmp_path, 1000)) >= 1

    kit.run(story)


def test_the_proof_is_one_when_all_is_well_and_not_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    problems = ["its port", "its store", None, None]

    async def check() -> str | None:
        return problems.pop(0) if problems else None

    async def story() -> None:
        others = Others("", "")
        work = Proof([check], others, before("a"), lambda: True)
        with trio.move_on_after(OTHERS_S * 2) as scope:
            await work.run()
        assert scope.cancelled_caught and "<a> was linked" in str(work.problem)
        others._linked = others._synced = "a"
        await work.run()
        assert work.problem is None

    trio.run(story, clock=autojump_clock)
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    write_proof("1.2")
    monkeypatch.setenv("RUNTIME_DIRECTORY", f"{tmp_path}:/other")
    write_proof("1.2")
    assert (tmp_path / "proven").read_text() == "1.2\n"


@pytest.fixture
def autojump_clock() -> trio.testing.MockClock:
    return trio.testing.MockClock(autojump_threshold=0)
