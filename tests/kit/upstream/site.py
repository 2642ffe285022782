"""The scripted site: a thread with a port, accounts, a script and a record."""

from __future__ import annotations

import shutil
import ssl
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import trio

from appliance import wire
from appliance.session.certificate import fingerprint_of, make_certificate

from ..background import Background
from ..client import Client
from ..line import Line
from .accounts import Accounts, Body, Member, Message, Node
from .answering import say_presence
from .link import Link
from .record import Record
from .script import STEPS, A, Action, Rule


class Upstream(Background):
    """A site on a free port of 127.0.0.1, from `with` to its end. See the room's page for an example.

    Attributes that a test may change at any time: `login_timeout_s`, `idle_timeout_s`, `resend_s`,
    `lingers_s` (a node whose link broke counts as connected for so long), `auth` and `authby` (of the
    tmtprev answer), `judge_oidc` (what is given at a registration will do), `mint_uid` (the next account's
    uid), `remembers` (a request that is sent again on a later link gets its first answer again, as from a
    site of our own make).
    """

    def __init__(self, name: str = "The club", *, record: bool = True) -> None:
        super().__init__()
        self.name = name
        self.accounts = Accounts()
        self.record = Record(keep=record)
        self.rules: list[Rule[Any]] = []
        self.login_timeout_s, self.idle_timeout_s, self.resend_s, self.lingers_s = 5.0, 120.0, 30.0, 0.0
        self.auth: int | None = None
        self.authby: list[dict[str, Any]] | None = None
        self.judge_oidc: Callable[[dict[str, Any] | None], bool] = bool
        self.mint_uid: Callable[[], str] | None = None
        self.remembers = False
        self.folder = Path(tempfile.mkdtemp(prefix="upstream-"))
        self.address: tuple[str, int] = ("127.0.0.1", 0)
        self.fingerprint = ""
        self.lines: set[Line] = set()
        """Connections of the kit's clients; see Place."""
        self._prompter: Client | None = None
        self._links: set[Link] = set()
        self._nursery: trio.Nursery | None = None
        self._listening: trio.CancelScope | None = None
        self.context: ssl.SSLContext
        self.use_certificate(*make_certificate(name))

    @property
    def words(self) -> str:
        """Its address, as it is typed."""
        return f"={self.address[0]}:{self.address[1]}"

    # The thread

    async def serve(self, started: Callable[[], None]) -> None:
        async with trio.open_nursery() as self._nursery:
            await self._listen()
            started()
            await trio.sleep_forever()

    async def _listen(self) -> None:
        assert self._nursery is not None
        (listener,) = await trio.open_tcp_listeners(self.address[1], host=self.address[0])
        self.address = listener.socket.getsockname()[:2]
        await self._nursery.start(self._accept, listener)

    async def _accept(self, listener: trio.SocketListener, *, task_status: Any) -> None:
        assert self._nursery is not None
        with trio.CancelScope() as self._listening:
            async with listener:
                task_status.started()
                while True:
                    self._nursery.start_soon(self._live, await listener.accept())

    async def _live(self, transport: trio.SocketStream) -> None:
        link = Link(self, transport)
        self._links.add(link)
        try:
            await link.run()
        finally:
            self._links.discard(link)
            link.over.set()

    def close(self) -> None:
        for line in self.lines:
            line.close()
        super().close()
        shutil.rmtree(self.folder, ignore_errors=True)

    # Weather

    def stop(self) -> None:
        """As if it were killed: nobody listens, and all links are reset. Accounts and queues stay."""

        async def end() -> None:
            assert self._listening is not None
            self._listening.cancel()
            for link in list(self._links):
                link.scope.cancel()
                await link.over.wait()

        self.do_async(end)

    def start(self) -> None:
        """Listen again, on the same port."""
        self.do_async(self._listen)

    def cut(self, uid: str = "") -> int:
        """All links, or this member's, are reset; how many."""

        def cancel() -> int:
            links = [link for link in self._links if link.node and uid in ("", link.node.member.uid)]
            for link in links:
                link.scope.cancel()
            return len(links)

        return self.do(cancel)

    def use_certificate(self, certificate: bytes, key: bytes) -> None:
        """From the next link on."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.NamedTemporaryFile() as file:
            file.write(key + certificate)
            file.flush()
            context.load_cert_chain(file.name)
        self.context = context
        self.fingerprint = fingerprint_of(certificate.decode()).removeprefix("SHA256:").lower()

    def renew_certificate(self) -> None:
        """Another one, from the next link on."""
        self.use_certificate(*make_certificate(self.name))

    # The script

    def on(self, step: str, do: A, **which: Any) -> Rule[A]:
        """From now on; see Rule for what may be said of `which`."""
        assert step in STEPS, step
        rule = Rule(step, do, **which)
        self.rules.append(rule)
        return rule

    def behave(self) -> None:
        """Forget all rules."""
        self.rules.clear()

    def action(self, step: str, op: str, uid: str, what: Any) -> Action | None:
        """What the first rule that is met wants done."""
        return next((rule.do for rule in tuple(self.rules) if rule.meets(step, op, uid, what)), None)

    # People

    def member(self, alias: str, *labels: str) -> Member:
        """A new member with these nodes, or one."""
        return self.do(self._add_member, alias, labels or ("laptop",))

    def _add_member(self, alias: str, labels: tuple[str, ...]) -> Member:
        member = self.accounts.add_member(alias)
        for label in labels:
            self.accounts.add_node(member, label)
        return member

    def post(self, sender: Member, to: list[Member], *data: bytes, datahead: int = 0) -> list[str]:
        """Messages from `sender`, who needs no link; their ids. The sender's own nodes get none."""

        def send(octets: bytes) -> str:
            nodes = [node for member in to for node in member.nodes]
            number, _ = self.accounts.send(
                "delivery", sender, nodes, Body(len(octets), octets), datahead=datahead
            )
            return wire.format_id(number)

        return self.do(lambda: [send(octets) for octets in data])

    def queue(self, node: Node, messages: Iterator[Message]) -> None:
        """A backlog: comes after all that is in the queue, made when it is due."""

        def fill() -> None:
            node.later = messages
            if node.wake is not None:
                node.wake()

        self.do(fill)

    def waiting(self, member: Member, label: str = "") -> list[Message]:
        """What is in the queue of this node, or of the member's first: what it would get."""
        node = next(node for node in member.nodes if label in ("", node.label))
        return self.do(node.pending)

    def inject(self, uid: str, octets: bytes) -> int:
        """Say this, whatever it is, on each link of the member; on how many."""

        def say() -> int:
            links = [link for link in self._links if link.node and link.node.member.uid == uid]
            for link in links:
                link.say(octets)
            return len(links)

        return self.do(say)

    def linked(self, uid: str) -> int:
        """How many nodes of this member are linked."""
        return self.do(lambda: sum(node.linked for node in self.accounts.members[uid].nodes))

    def notice(self, uid: str) -> None:
        """Find out that links of this member that linger are dead."""

        def free() -> None:
            for node in self.accounts.members[uid].nodes:
                if node.wake is None:
                    self._free(node)

        self.do(free)

    def left(self, node: Node) -> None:
        """The link of this node is gone."""
        if self.lingers_s and self._nursery is not None:
            self._nursery.start_soon(self._linger, node, self.lingers_s)
        else:
            self._free(node)

    async def _linger(self, node: Node, seconds: float) -> None:
        await trio.sleep(seconds)
        if node.wake is None:
            self._free(node)

    def _free(self, node: Node) -> None:
        node.linked = False
        if not node.member.online:
            told, node.member.tells = node.member.tells, set()
            say_presence(self.accounts, node.member, told, 2)

    def prompter(self) -> Client:
        """See Place."""
        if self._prompter is None:
            self._prompter = Client.register(self, alias="the prompter in his box")
        elif not self._prompter.alive:
            self._prompter.login()
        return self._prompter

    @property
    def prompter_uid(self) -> str:
        return self._prompter.uid if self._prompter else ""

    # What was said

    def asked(self, op: str, uid: str = "") -> int:
        """How many requests of this kind came, also those that were not answered."""
        return len([entry for entry in self.record.find(op, uid) if entry.came])

    def wait_asked(self, op: str, count: int, within_s: float = 20.0) -> None:
        self.record.wait(lambda: self.asked(op) >= count, within_s, f"{count} of {op}")
