"""Register and Login (TMTP revision 1, section 4)."""

from __future__ import annotations

from typing import Protocol

import trio

from appliance import wire
from appliance.log import get_logger
from appliance.session.oidc import AuthError
from appliance.session.requests import Fresh, secret_of
from appliance.session.service import Service
from appliance.site import Decision, Node, Scene, login, register
from appliance.wire import reasons

log = get_logger(__name__)

HANDOVER_LOOK_S = 0.02


class Stranger(Protocol):
    """A link that has yet to log in."""

    address: str
    wire: wire.ServerLink

    def take_place(self, node: Node) -> bool:
        """Become the node's link; False if another one is."""


class Refused(Exception):
    """The link ends with a quit that has this reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


async def welcome(
    service: Service, link: Stranger, request: wire.Register | wire.Login
) -> tuple[Node, list[bytes]]:
    """Let a client in: its node, with the frames to send before the login's ``info``. The node's place in
    the exchange is taken.

    Raises ``Refused``.
    """
    if isinstance(request, wire.Register):
        return await _register(service, link, request)
    return await _log_in(service, link, request), []


async def _register(service: Service, link: Stranger, request: wire.Register) -> tuple[Node, list[bytes]]:
    """Why it is refused is for the log: the client is told the protocol's words and no more (section 2)."""
    problem = service.pairing.problem() or service.store.disk.problem(0)
    if problem is not None:
        log.warning("registration refused", address=link.address, reason=problem)
        raise Refused(reasons.REGISTER_FAILURE)
    try:
        subject = await service.verifier.verify(request.oidc)
    except AuthError as error:
        log.warning("registration refused", address=link.address, reason=str(error))
        reason = reasons.REGISTER_FAILURE if request.oidc else reasons.AUTHENTICATION_REQUIRED
        raise Refused(reason) from None
    fresh = Fresh.make()
    bound = (subject.issuer, subject.subject, subject.audience) if subject is not None else None
    decision = await service.store.perform(
        lambda scene: register(scene, request.newnode, request.newalias, fresh, bound)
    )
    if not decision.lasting:
        log.warning("registration refused", address=link.address, reason=decision.error)
        raise Refused(reasons.REGISTER_FAILURE)
    node = service.store.site.nodes[decision.node]
    link.take_place(node)
    log.info("member registered", member=fresh.uid, device=node.number, address=link.address)
    return node, [link.wire.encode_registered(fresh.uid, fresh.password, decision.error)]


async def _log_in(service: Service, link: Stranger, request: wire.Login) -> Node:
    try:
        wire.b32decode(request.node)
    except ValueError:
        raise Refused(reasons.CORRUPT_BASE32) from None
    gate = service.gate
    if delay_s := gate.delay_s(link.address):
        await trio.sleep(delay_s)
    node = service.store.site.authenticate(request.uid, secret_of(request.node))
    if node is None:
        gate.failed(link.address)
        log.warning("login failed", address=link.address)
        raise Refused(reasons.LOGIN_FAILED)
    gate.succeeded(link.address)
    await _take_place(service, link, node)
    decision = await service.store.perform(lambda scene: _login(scene, node))
    if decision.error is not None:
        log.warning("login could not be told", member=node.member, reason=decision.error)
        if node.number not in service.store.site.nodes:
            raise Refused(reasons.LOGIN_FAILED)
    return node


def _login(scene: Scene, node: Node) -> Decision:
    if node.number not in scene.site.nodes:
        return Decision(error="this device was dropped")
    if node.membership:
        from appliance.site import relay_login

        return relay_login(scene, node)
    return login(scene, node)


async def _take_place(service: Service, link: Stranger, node: Node) -> None:
    """At most one link per node. One that is just ending gets a moment to do so."""
    deadline = trio.current_time() + service.settings.handover_grace_s
    while not link.take_place(node):
        other = service.exchange.online[node.number]
        other.suspect()
        if trio.current_time() >= deadline:
            raise Refused(reasons.NODE_ALREADY_CONNECTED)
        await trio.sleep(HANDOVER_LOOK_S)
