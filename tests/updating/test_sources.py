"""Where updates come from: a server that is slow, cut off or lying harms nothing; what came is kept."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio

from appliance.updating import errors, fetching, web
from appliance.updating.errors import NoRoom, NoSource, Untrusted, UpdateError
from appliance.updating.fetching import Fetcher
from appliance.updating.folders import Folder, named
from appliance.updating.gathering import Gatherer, Source
from appliance.updating.notes import Place
from appliance.updating.peers import Peers
from appliance.updating.plan import Offer
from appliance.updating.signature import verify
from appliance.updating.sums import SIGNATURE, SUMS, payloads
from appliance.updating.web import Web
from tests.updating.server import Server, certificate
from tests.updating.signing import BOARD, Signer, publish

PLENTY = 1 << 40


def run(work: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        with trio.fail_after(30):
            await work()

    trio.run(limited)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "PAUSE_S", 0.01)


@pytest.fixture
def folder(tmp_path: Path, signer: Signer) -> Path:
    return publish(tmp_path / "updates", signer, ["1.2"])


def the_offer(folder: Path) -> Offer:
    sums = (folder / SUMS).read_bytes()
    return Offer(payloads(sums, BOARD)[0], sums, b"", "there", 0)


async def fetch(folder: Path, place: Path, *sources: Source, room: int = PLENTY) -> dict[str, bytes]:
    """What is on the disk then."""
    found = await Fetcher(Place(place), lambda: room).fetch(the_offer(folder), sources)
    return {name: path.read_bytes() for name, path in found.items()}


def names(place: Path) -> set[str]:
    """The hashes of what is on its way."""
    return {path.name.split(".")[0] for path in place.glob("update/incoming/*")}


def octets(place: Path) -> int:
    """Of what is on its way."""
    return sum(path.stat().st_size for path in place.glob("update/incoming/*"))


async def silent(stream: trio.SocketStream) -> None:
    await trio.sleep_forever()


def given(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.zst")}


class Nobody:
    """Links of a box that is alone."""

    def linked(self) -> list[str]:
        return []

    def name(self, box: str) -> str:
        return box

    def tell(self, box: str, topic: str, payload: bytes) -> None: ...

    def give(self, files: object) -> None: ...

    async def fetch(self, *_: object) -> None: ...


# signatures


def test_only_what_the_key_of_the_image_signed_is_trusted(
    tmp_path: Path, signer: Signer, stranger: Signer
) -> None:
    key = tmp_path / "key.gpg"
    key.write_bytes(signer.public)
    sums = b"some sums\n"
    verify(sums, signer.sign(sums), key)
    for wrong in (signer.sign(b"other sums\n"), stranger.sign(sums), b"", b"no signature", os.urandom(500)):
        with pytest.raises(Untrusted):
            verify(sums, wrong, key)
    with pytest.raises(Untrusted):
        verify(sums + b" ", signer.sign(sums), key)
    with pytest.raises(UpdateError, match="no key of updates"):
        verify(sums, signer.sign(sums), tmp_path / "missing.gpg")


def test_a_source_whose_sums_are_not_signed_offers_nothing(
    tmp_path: Path, signer: Signer, stranger: Signer
) -> None:
    key = tmp_path / "key.gpg"
    key.write_bytes(signer.public)
    good = publish(tmp_path / "good", signer, ["1.2", "1.1"])
    bad = publish(tmp_path / "bad", stranger, ["9.9"])

    async def look() -> None:
        gatherer = Gatherer("", (), key, Peers(Nobody()))
        (found,) = await gatherer.look(BOARD, good)
        assert [offer.version for offer in found.offers] == ["1.2", "1.1"]
        (found,) = await gatherer.look(BOARD, bad)
        assert found.offers == [] and found.problem is not None and "signature" in found.problem
        (found,) = await gatherer.look("another-board", good)
        assert found.offers == [] and "no update for this board" in str(found.problem)

    run(look)


# a folder


def test_a_stick_gives_what_is_on_it(tmp_path: Path, folder: Path) -> None:
    async def story() -> None:
        assert await fetch(folder, tmp_path, Folder(folder)) == given(folder)

    run(story)


def test_a_stick_that_is_pulled_out_is_gone_on_with(tmp_path: Path, folder: Path) -> None:
    class Pulled(Folder):
        def _read(self, name: str, offset: int, octets: int) -> bytes:
            if offset >= 100_000:
                raise NoSource("the stick is gone")
            return super()._read(name, offset, 50_000)

    async def story() -> None:
        with pytest.raises(NoSource, match="gone"):
            await fetch(folder, tmp_path, Pulled(folder))
        (part,) = (tmp_path / "update" / "incoming").glob("*.part")
        assert part.stat().st_size == 100_000
        assert await fetch(folder, tmp_path, Folder(folder)) == given(folder)

    run(story)


def test_what_is_no_folder_of_updates_is_told_so(tmp_path: Path) -> None:
    for place, text in (
        (tmp_path, "no SHA256SUMS"),
        (tmp_path / "no", "there is no"),
        (Path("a"), "from the root"),
    ):
        with pytest.raises(UpdateError, match=text):
            named(place)


def test_what_is_no_file_on_a_stick_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / SUMS)

    async def story() -> None:
        with pytest.raises(NoSource, match="no file"):
            await Folder(tmp_path).small(SUMS, 100)

    run(story)


# the web


def test_a_server_gives_what_it_has_by_https(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = certificate(tmp_path)

    async def story() -> None:
        with Server(folder, pair) as server:
            with pytest.raises(NoSource, match="not trusted"):
                await Web(server.url).small(SUMS, 1 << 16)
            monkeypatch.setenv("SSL_CERT_FILE", str(pair[0]))
            assert await Web(server.url).small(SUMS, 1 << 16) == (folder / SUMS).read_bytes()
            assert await fetch(folder, tmp_path, Web(server.url)) == given(folder)

    run(story)


@pytest.mark.parametrize("ranges", [True, False])
def test_what_breaks_off_is_gone_on_with_where_the_server_can(
    tmp_path: Path, folder: Path, ranges: bool
) -> None:
    async def story() -> None:
        with Server(folder) as server:
            server.cut_after, server.ranges = 90_000, ranges
            with pytest.raises(NoSource, match="what came is kept"):
                await fetch(folder, tmp_path, Web(server.url))
            server.cut_after = None
            assert await fetch(folder, tmp_path, Web(server.url)) == given(folder)
            begun = [part for path, part in server.asked if path.endswith("root.zst")]
            assert begun[0] == "" and begun[1] == "bytes=90000-"
            assert begun[-1] == ("bytes=270000-" if ranges else "bytes=90000-")

    run(story)


def test_what_is_whole_but_not_named_so_is_not_fetched_again(tmp_path: Path, folder: Path) -> None:
    async def story() -> None:
        with Server(folder) as server:
            offer = the_offer(folder)
            incoming = tmp_path / "update" / "incoming"
            incoming.mkdir(parents=True)
            for name, sha in offer.payload.files.items():
                (incoming / (sha.hex() + ".part")).write_bytes((folder / name).read_bytes())
            assert await fetch(folder, tmp_path, Web(server.url)) == given(folder)

    run(story)


@pytest.mark.parametrize("how", ["spoil", "endless", "wrong_range"])
def test_a_server_that_lies_is_found_out_and_nothing_of_it_stays(
    tmp_path: Path, folder: Path, how: str
) -> None:
    async def story() -> None:
        with Server(folder) as server:
            if how == "wrong_range":
                server.cut_after = 1000
                with pytest.raises(NoSource):
                    await fetch(folder, tmp_path, Web(server.url))
            setattr(server, how, True)
            with pytest.raises((Untrusted, NoSource)):
                await fetch(folder, tmp_path, Web(server.url))
            if how == "endless":
                with pytest.raises(NoSource, match="larger than"):
                    await Web(server.url).small(SUMS, 1 << 16)
            assert octets(tmp_path) <= (1000 if how == "wrong_range" else 0) + 30_000
            setattr(server, how, False)
            server.cut_after = None
            assert await fetch(folder, tmp_path, Web(server.url)) == given(folder)

    async def bounded() -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(fetching, "most", lambda name: 1 << 20)
            await story()

    run(bounded)


def test_a_server_that_gives_nothing_or_next_to_nothing_is_left(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        with Server(folder) as server:
            server.rate = 2000
            monkeypatch.setattr(web, "SLOW_S", 0.3)
            with pytest.raises(NoSource, match="too slowly"):
                await fetch(folder, tmp_path, Web(server.url))
        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(trio.serve_tcp, silent, 0)
            monkeypatch.setattr(web, "STALL_S", 0.2)
            port = listeners[0].socket.getsockname()[1]
            with pytest.raises(NoSource, match="did not answer"):
                await Web(f"http://127.0.0.1:{port}").small(SUMS, 100)
            nursery.cancel_scope.cancel()

    run(story)


def test_another_server_takes_over_where_one_breaks_off(tmp_path: Path, folder: Path) -> None:
    async def story() -> None:
        with Server(folder) as first, Server(folder) as second:
            first.cut_after = 100_000
            assert await fetch(folder, tmp_path, Web(first.url), Web(second.url)) == given(folder)
            assert ("/updates/pocket-virt-test-1.2.root.zst", "bytes=100000-") in second.asked

    run(story)


def test_redirects_are_followed_but_not_to_plain_http_and_not_for_ever(tmp_path: Path, folder: Path) -> None:
    async def story() -> None:
        with Server(folder) as there, Server(folder) as here:
            here.redirect = there.url + "/"
            assert await Web(here.url).small(SUMS, 1 << 16) == (folder / SUMS).read_bytes()
            here.redirect = here.url + "/"
            with pytest.raises(NoSource, match="redirects more than"):
                await Web(here.url).small(SUMS, 1 << 16)
            here.redirect = "http://example.org/"
            with pytest.raises(UpdateError, match="not https"):
                await Web(here.url).small(SUMS, 1 << 16)

    run(story)


@pytest.mark.parametrize(
    "url", ["http://example.org/", "ftp://a/", "https://u:p@h/", "https://h:0/", "https://"]
)
def test_an_address_that_is_not_safe_is_not_asked(url: str) -> None:
    with pytest.raises(UpdateError):
        web.checked(url)


def test_what_is_not_there_is_told(tmp_path: Path, folder: Path) -> None:
    async def story() -> None:
        with Server(tmp_path) as server, pytest.raises(NoSource, match="404"):
            await Web(server.url).small(SIGNATURE, 100)
        with pytest.raises(NoSource, match="cannot be reached"):
            await Web(server.url).small(SIGNATURE, 100)

    run(story)


# the disk


def test_what_does_not_fit_is_not_begun(tmp_path: Path, folder: Path) -> None:
    async def story() -> None:
        with Server(folder) as server:
            for source in (Web(server.url), Folder(folder)):
                with pytest.raises(NoRoom, match="make room"):
                    await fetch(folder, tmp_path, source, room=20_000)
        assert octets(tmp_path) == 0

    run(story)


def test_a_disk_that_fills_up_meanwhile_keeps_what_came(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = [400_000, 400_000, 100_000]

    async def story() -> None:
        fetcher = Fetcher(Place(tmp_path), lambda: left.pop(0) if left else 0)
        with pytest.raises(NoRoom):
            await fetcher.fetch(the_offer(folder), [Folder(folder)])
        assert await fetch(folder, tmp_path, Folder(folder)) == given(folder)

    run(story)


def test_what_nobody_wants_any_more_goes(tmp_path: Path, folder: Path, signer: Signer) -> None:
    async def story() -> None:
        await fetch(folder, tmp_path, Folder(folder))
        newer = publish(tmp_path / "newer", signer, ["1.3"])
        await fetch(newer, tmp_path, Folder(newer))
        assert names(tmp_path) == {sha.hex() for sha in the_offer(newer).payload.files.values()}

    run(story)


def test_every_error_is_of_one_family() -> None:
    family = [thing for thing in vars(errors).values() if isinstance(thing, type)]
    assert all(issubclass(thing, UpdateError) for thing in family)
