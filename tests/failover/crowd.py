"""Clients of a household's boxes on one machine: they write without end, and go to another box when theirs
does not answer. All of them live in one thread, which is in the machine's network namespace.
"""

from __future__ import annotations

import contextlib
import ctypes
import random
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

import trio

from appliance import wire

from .ledger import Account, Ledger
from .node import HEAD_OCTETS, LARGE_SHARE, TLS, Address, Gone, Node, sure

CLONE_NEWNET = 0x40000000
T = TypeVar("T")
_libc = ctypes.CDLL(None, use_errno=True)


@contextlib.contextmanager
def enter(namespace: str) -> Iterator[None]:
    """This thread is in the network namespace; sockets made here stay in it."""
    with (
        open(f"/proc/self/task/{threading.get_native_id()}/ns/net") as before,
        open(f"/run/netns/{namespace}") as there,
    ):
        _set(there.fileno())
        try:
            yield
        finally:
            _set(before.fileno())


def _set(namespace: int) -> None:
    if _libc.setns(namespace, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "cannot enter a network namespace")


class Crowd:
    """The nodes of one machine. `start` them, let them write, `settle`; `close` leaves nothing."""

    def __init__(
        self, namespace: str, own: str, boxes: dict[str, str], port: int, ledger: Ledger, seed: int
    ) -> None:
        self.own = own
        self.host = "home.local"
        self.addresses: list[Address] = [(address, port) for address in boxes.values()]
        self.names = {address: name for name, address in boxes.items()}
        self.ledger = ledger
        self.chance = random.Random(seed)
        self.nodes: list[Node] = []
        self.everybody: dict[str, str] = {}
        """Uid by member, of all crowds."""
        self.passwords: dict[str, str] = {}
        """Of nodes that were made by others, by name."""
        self.gid = ""
        self.large_share = LARGE_SHARE
        self.writing = self.hurry = False
        self.broken: BaseException | None = None
        self._namespace = namespace
        self._nursery: trio.Nursery | None = None
        self._token: trio.lowlevel.TrioToken | None = None
        self._up = threading.Event()
        self._thread = threading.Thread(target=self._main, daemon=True)
        self._thread.start()
        assert self._up.wait(10) and self._token is not None

    def _main(self) -> None:
        try:
            with enter(self._namespace):
                trio.run(self._run)
        except BaseException as error:
            self.broken = error
        finally:
            self._up.set()

    async def _run(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        async with trio.open_nursery() as self._nursery:
            self._up.set()
            await trio.sleep_forever()

    def tell(self, what: Callable[[], None]) -> None:
        """Have it done in the crowd's thread."""
        trio.from_thread.run_sync(what, trio_token=self._token)

    def do(self, what: Callable[..., Awaitable[T]], *args: Any) -> T:
        """Run it in the crowd's thread, for its result."""
        return trio.from_thread.run(what, *args, trio_token=self._token)

    def close(self) -> None:
        nursery = self._nursery
        if self._thread.is_alive() and nursery is not None:
            trio.from_thread.run_sync(nursery.cancel_scope.cancel, trio_token=self._token)
        self._thread.join(10)
        assert self.broken is None, repr(self.broken)

    # people

    def move_in(self, members: Sequence[str], local: Sequence[str]) -> None:
        """Members who register, the first at the first box, and so on; those of `local` know the site's name
        only. Each has a second node, which is away.
        """
        self.do(partial(self._move_in, members, local))

    async def _move_in(self, members: Sequence[str], local: Sequence[str]) -> None:
        assert self._nursery is not None
        made = []
        for number, member in enumerate([*members, *local]):
            favourite = number % len(self.addresses) if number < len(members) else None
            node = Node(self, member, "phone", favourite)
            made.append(node)
            self.nodes.append(node)
            self._nursery.start_soon(node.run)
        with trio.fail_after(30):
            for node in made:
                await sure(lambda node=node: node.ready)  # type: ignore[misc]
                self.everybody[node.member] = node.uid
        self.ledger.accounts += [node.account for node in made]

    def found(self, gid: str) -> None:
        """Everybody joins one group. The others' gid is to be set by who calls."""
        self.do(self._found, gid)
        self.gid = gid

    async def _found(self, gid: str) -> None:
        first, *others = self.nodes
        with trio.fail_after(30):
            for other in others:
                to = other.member
                answer = await first.ask(
                    lambda key, to=to: wire.GroupInvite(key, gid, first.member, to, 0, 0, None)  # type: ignore[misc]
                )
                assert answer.error is None, answer
                error: str | None = ""
                while error is not None:
                    answer = await other.ask(lambda key: wire.GroupEdit(key, "join", gid, None, None))
                    error = answer.error

    def shelve(self, number: int) -> Account:
        """A second node of that member which is never logged in, so that its queue keeps everything."""
        node = self.nodes[number]
        answer = self.do(node.ask, lambda key: wire.UserEdit(key, "tablet", None))
        assert answer.error is None, answer
        return Account(f"{node.member}/tablet", node.member)

    # what is waited for

    def quiet(self) -> bool:
        """Whether everything sent has its answer."""
        return all(node.ready and not node.waiting for node in self.nodes)


async def read_queue(address: Address, uid: str, password: str, quiet_s: float) -> dict[str, int]:
    """What waits for a node at one box, id by token; nothing is acknowledged."""
    found: dict[str, int] = {}
    with trio.fail_after(20):
        while True:
            try:
                stream = trio.SSLStream(await trio.open_tcp_stream(*address), TLS, https_compatible=True)
                link = wire.ClientLink()
                await stream.send_all(link.encode(wire.TmtpRev("1")))
                await stream.send_all(link.encode(wire.Login(uid, password)))
                start, large = b"", None
                while True:
                    octets = b""
                    with trio.move_on_after(quiet_s):
                        octets = bytes(await stream.receive_some(65536))
                        if not octets:
                            raise Gone("closed")
                    if not octets:
                        return found
                    link.receive_data(octets)
                    while (event := link.next_event()) is not wire.NEED_DATA:
                        if isinstance(event, wire.QuitReply):
                            raise Gone(event.error)
                        if isinstance(event, wire.Message):
                            large, start = event, event.data[:HEAD_OCTETS]
                        elif isinstance(event, wire.Data):
                            start = (start + event.octets)[:HEAD_OCTETS]
                        else:
                            continue
                        token, bar, _ = start.partition(b"|")
                        if large is not None and large.op == "delivery" and bar:
                            found[token.decode()] = large.id
            except (Gone, OSError, trio.BrokenResourceError):
                await trio.sleep(0.3)
            finally:
                await trio.aclose_forcefully(stream)
