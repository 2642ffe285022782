"""What other boxes say they have is believed as far as it can be; who knows nothing of it says nothing."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import trio

from appliance.updating import peers
from appliance.updating.errors import NoSource
from appliance.updating.incoming import Incoming
from appliance.updating.peers import TOPIC, Has, Peers, Wants
from appliance.updating.sums import SIGNATURE, SUMS
from tests.store import kit
from tests.updating.signing import BOARD, Signer, publish


class Wire:
    """Links to boxes that answer with these octets, or not at all."""

    def __init__(self, **answers: bytes | None) -> None:
        self.answers = answers
        self.asker: Peers | None = None
        self.files: dict[bytes, Path] = {}
        self.told: list[tuple[str, bytes]] = []

    def linked(self) -> list[str]:
        return list(self.answers)

    def name(self, box: str) -> str:
        return box

    def tell(self, box: str, topic: str, payload: bytes) -> None:
        self.told.append((box, payload))
        answer = self.answers.get(box)
        if self.asker is not None and answer is not None:
            self.asker.heard(box, TOPIC, answer)

    def give(self, files: dict[bytes, Path]) -> None:
        self.files = files

    async def fetch(self, *_: object) -> None: ...


def has(folder: Path, **changes: object) -> bytes:
    sizes = {path.name: path.stat().st_size for path in folder.glob("*.zst")}
    told = Has(BOARD, "1.2", (folder / SUMS).read_bytes(), (folder / SIGNATURE).read_bytes(), sizes)
    return msgspec.msgpack.encode(msgspec.structs.replace(told, **changes))


def test_only_who_says_something_that_makes_sense_is_asked_further(
    tmp_path: Path, signer: Signer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "WAIT_S", 0.1)
    folder = publish(tmp_path / "kept", signer, ["1.2"])
    root = next(folder.glob("*.root.zst")).name
    wire = Wire(
        good=has(folder),
        silent=None,
        noise=b"\xff\x00",
        huge=has(folder, sizes={root: 1 << 40}),
        empty=has(folder, sizes={root: 0}),
        strange=has(folder, sizes={"../../etc/passwd": 5}),
        long=has(folder, sums=b"x" * (1 << 17)),
        other=has(folder, board="rpi", sizes={}),
        partial=has(folder, sizes={}),
    )
    asker = wire.asker = Peers(wire)

    async def story() -> None:
        found = await asker.ask(BOARD)
        assert [peer.where for peer in found] == ["box good", "box partial"]
        async with trio.open_nursery() as nursery:  # two at once do not get in each other's way
            for _ in range(2):
                nursery.start_soon(asker.ask, BOARD)
        incoming = Incoming(tmp_path / "in", bytes(32), 100, lambda: 1 << 40)
        with pytest.raises(NoSource, match="does not have"):
            await found[1].fetch(root, bytes(32), incoming)

    kit.run(story)
    asker.heard("late", TOPIC, has(folder))
    asker.heard("good", "another topic", b"")


def test_a_box_gives_what_it_runs_and_keeps_and_nothing_else(tmp_path: Path, signer: Signer) -> None:
    folder = publish(tmp_path / "kept", signer, ["1.2", "1.1"])
    wire = Wire(asks=None)
    box = Peers(wire)
    box.heard("asks", TOPIC, msgspec.msgpack.encode(Wants(BOARD)))
    assert wire.told == [] and box.kept is None
    box.keep(folder, BOARD, "1.2")
    assert {path.name for path in wire.files.values()} == {path.name for path in folder.glob("*-1.2.*")}
    box.heard("asks", TOPIC, msgspec.msgpack.encode(Wants("rpi")))
    assert wire.told == []
    box.heard("asks", TOPIC, msgspec.msgpack.encode(Wants(BOARD)))
    assert wire.told == [("asks", has(folder, sizes={p.name: p.stat().st_size for p in wire.files.values()}))]
    box.keep(folder, BOARD, "1.3")
    assert wire.files == {} and box.kept is None
    box.keep(None, "", "")
    assert wire.files == {}
