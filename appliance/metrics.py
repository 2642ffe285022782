"""The figures of ``status`` for Prometheus: text format 0.0.4 over HTTP at ``/metrics``, on a port of its
own.

Only figures: no name of the site, a member, a device or a group is ever among them, and no uid. One request
a connection. Bounds: ``CONNECTIONS_MAX`` connections of ``REQUEST_OCTETS_MAX`` and one receive each, 144 KiB
in all; one more is answered 503 at once. What a client does not send or take within ``TIMEOUT_S`` ends its
connection.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import h11
import trio

from appliance.log import get_logger

CONNECTIONS_MAX = 16
REQUEST_OCTETS_MAX = 8 << 10
RECEIVE_OCTETS = 1 << 10
READ_AWAY_MAX = 256
TIMEOUT_S = 10.0
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
STATES = ("starting", "serving", "warning", "error", "stopping")
MODES = ("open", "pairing", "closed")

Status = Mapping[str, Any]

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Metric:
    """A figure of ``status`` (by the names that lead to it) under its name in Prometheus."""

    path: str
    name: str
    kind: Literal["gauge", "counter"]
    help: str


METRICS = (
    Metric("started", "pocket_start_time_seconds", "gauge", "When the box started, since the epoch."),
    Metric("uptime_s", "pocket_uptime_seconds", "gauge", "How long the box has been running."),
    Metric("pairing_open_s", "pocket_pairing_open_seconds", "gauge", "How long pairing stays open."),
    Metric("members", "pocket_members", "gauge", "Members of the site."),
    Metric("nodes", "pocket_nodes", "gauge", "Nodes (devices) of all members."),
    Metric("groups", "pocket_groups", "gauge", "Groups of the site."),
    Metric("links.open", "pocket_links", "gauge", "Connections of clients."),
    Metric("links.unauthenticated", "pocket_links_unauthenticated", "gauge", "Of those, not logged in."),
    Metric("links.refused", "pocket_links_refused_total", "counter", "Connections refused by a limit."),
    Metric(
        "queues.messages", "pocket_queue_messages", "gauge", "Messages that nodes have yet to acknowledge."
    ),
    Metric("queues.octets", "pocket_queue_bytes", "gauge", "Their data, counted for each node."),
    Metric("queues.oldest_s", "pocket_queue_oldest_seconds", "gauge", "Age of the oldest of them."),
    Metric("store.commits", "pocket_store_commits_total", "counter", "Commits since the start."),
    Metric("store.commits_per_s", "pocket_store_commits_per_second", "gauge", "Over the last ten seconds."),
    Metric("store.syncs", "pocket_store_syncs_total", "counter", "Syncs of the database since the start."),
    Metric("store.syncs_per_s", "pocket_store_syncs_per_second", "gauge", "Over the last ten seconds."),
    Metric("store.entries", "pocket_journal_entries_total", "counter", "Journal entries in the box's life."),
    Metric(
        "store.octets_written", "pocket_written_bytes_total", "counter", "Written to disks since the start."
    ),
    Metric("messages.accepted", "pocket_messages_accepted_total", "counter", "Messages taken in."),
    Metric("messages.delivered", "pocket_messages_delivered_total", "counter", "Acknowledged by nodes."),
    Metric(
        "messages.refused", "pocket_messages_refused_total", "counter", "Requests answered with an error."
    ),
    Metric(
        "messages.repeated", "pocket_messages_repeated_total", "counter", "Requests that were sent again."
    ),
    Metric("messages.resent", "pocket_messages_resent_total", "counter", "Sent again for want of an ack."),
    Metric("copies", "pocket_copies", "gauge", "On how many boxes everything is."),
    Metric(
        "one_copy_acks", "pocket_one_copy_acks_total", "counter", "Acknowledged before a second box had it."
    ),
    Metric("safe_to_unplug", "pocket_safe_to_unplug", "gauge", "1 if another box has everything, too."),
    Metric("peers.paired", "pocket_peers", "gauge", "Other boxes of the site."),
    Metric("peers.linked", "pocket_peers_linked", "gauge", "Of those, in reach."),
    Metric("peers.in_sync", "pocket_peers_in_sync", "gauge", "Of those, with everything."),
    Metric(
        "peers.behind_entries", "pocket_peer_behind_entries", "gauge", "What the last of them has yet to get."
    ),
    Metric("peers.behind_s", "pocket_peer_behind_seconds", "gauge", "For how long it has been behind."),
    Metric("peers.waiting", "pocket_acks_waiting", "gauge", "Acknowledgements that wait for a second box."),
    Metric("memberships.kept", "pocket_memberships", "gauge", "Members' accounts at other sites."),
    Metric("memberships.online", "pocket_memberships_online", "gauge", "Of those, with a link to the site."),
    Metric("memberships.halted", "pocket_memberships_halted", "gauge", "Of those, that wait for a person."),
    Metric("memberships.outbox", "pocket_outbox_requests", "gauge", "Requests to be sent to other sites."),
    Metric(
        "memberships.outbox_oldest_s", "pocket_outbox_oldest_seconds", "gauge", "Age of the oldest of them."
    ),
    Metric("archives.messages", "pocket_archive_messages", "gauge", "Messages that are kept for members."),
    Metric("archives.octets", "pocket_archive_bytes", "gauge", "Their data."),
    Metric("backup.made", "pocket_backup_time_seconds", "gauge", "When the last one was made, 0: never."),
    Metric("backup.octets", "pocket_backup_bytes", "gauge", "What it takes on the stick."),
    Metric("backup.automatic", "pocket_backup_automatic", "gauge", "1 if one is made every day."),
    Metric("update.managed", "pocket_update_managed", "gauge", "1 if the box updates the whole system."),
    Metric("update.automatic", "pocket_update_automatic", "gauge", "1 if it does so by itself at night."),
    Metric("update.available", "pocket_update_available", "gauge", "1 if a newer version is known."),
    Metric("update.trial", "pocket_update_trial", "gauge", "1 while a version has yet to prove itself."),
    Metric("update.given_up", "pocket_update_given_up", "gauge", "1 if the last update was given up."),
    Metric("update.under_way", "pocket_update_under_way", "gauge", "1 while one is under way."),
    Metric("update.checked", "pocket_update_checked_seconds", "gauge", "When updates were looked for."),
    Metric("disk.free", "pocket_disk_free_bytes", "gauge", "Free on the disk with the data."),
    Metric("disk.total", "pocket_disk_size_bytes", "gauge", "The disk's size."),
    Metric("disk.reserve", "pocket_disk_reserve_bytes", "gauge", "Below this, new messages are refused."),
    Metric("disk.data", "pocket_data_bytes", "gauge", "What the box keeps."),
)


async def serve_metrics(
    listen: tuple[str, int],
    status: Callable[[], Awaitable[Status]],
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve on ``listen`` (host, port; port 0: any free one) until cancelled. Raises ``OSError`` if that
    cannot be.
    """
    host, port = listen
    try:
        listeners = await trio.open_tcp_listeners(port, host=host)
    except OSError as error:
        reason = error.strerror or error
        raise OSError(f"cannot serve metrics on {host}:{port} ({reason}): see metrics.listen") from error
    async with trio.open_nursery() as nursery:
        await nursery.start(trio.serve_listeners, Desk(status).answer, listeners)
        for listener in listeners:
            shown, number = listener.socket.getsockname()[:2]
            log.info("metrics", address=f"http://{f'[{shown}]' if ':' in shown else shown}:{number}/metrics")
        task_status.started()


class Desk:
    """Answers connections."""

    def __init__(self, status: Callable[[], Awaitable[Status]]) -> None:
        self._status = status
        self._connections = 0

    async def answer(self, stream: trio.abc.HalfCloseableStream) -> None:
        """One request, one reply, close."""
        self._connections += 1
        try:
            async with stream:
                with trio.move_on_after(TIMEOUT_S):
                    await self._answer(stream)
        except trio.BrokenResourceError:
            log.debug("metrics client went away")
        finally:
            self._connections -= 1

    async def _answer(self, stream: trio.abc.HalfCloseableStream) -> None:
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=REQUEST_OCTETS_MAX)
        request: h11.Request | None = None
        if self._connections > CONNECTIONS_MAX:
            code, text = 503, f"busy with {CONNECTIONS_MAX} other connections\n"
        else:
            try:
                request = await _receive(stream, connection)
                if request is None:
                    return
                code, text = await self._judge(request)
            except h11.RemoteProtocolError as error:
                code, text = error.error_status_hint, f"{error}\n"
        only_head = request is not None and request.method == b"HEAD"
        await stream.send_all(_reply(connection, code, text.encode(), only_head))
        if connection.their_state is h11.ERROR:
            await self._read_away(stream)

    async def _read_away(self, stream: trio.abc.HalfCloseableStream) -> None:
        """Closing before the client has sent all would cut off the reply on its way."""
        await stream.send_eof()
        for _ in range(READ_AWAY_MAX):
            if not await stream.receive_some(RECEIVE_OCTETS):
                return

    async def _judge(self, request: h11.Request) -> tuple[int, str]:
        if request.target.partition(b"?")[0] != b"/metrics":
            return 404, "there is only /metrics here\n"
        if request.method not in (b"GET", b"HEAD"):
            return 405, "GET it\n"
        try:
            return 200, expose(await self._status())
        except Exception:
            log.exception("metrics could not be gathered")
            return 500, "the figures could not be gathered: see the box's log\n"


def expose(status: Status) -> str:
    """The figures in Prometheus's text format."""
    lines = [
        *_family(
            "pocket_build_info", "gauge", "The version, as a label.", [("version", status["version"], 1)]
        ),
        *_choice(
            "pocket_state", "What the box is doing: 1 for the one that is true.", STATES, status["state"]
        ),
        *_choice("pocket_registration", "Who may register.", MODES, status["registration"], "mode"),
        *_family("pocket_reasons", "gauge", "How many things are wrong.", [("", "", len(status["reasons"]))]),
    ]
    for metric in METRICS:
        value: Any = status
        for name in metric.path.split("."):
            value = value[name]
        lines += _family(metric.name, metric.kind, metric.help, [("", "", +value)])
    return "\n".join(lines) + "\n"


def _choice(name: str, text: str, of: tuple[str, ...], now: str, label: str = "state") -> Iterator[str]:
    return _family(name, "gauge", text, [(label, each, int(each == now)) for each in of])


def _family(name: str, kind: str, text: str, samples: list[tuple[str, str, float]]) -> Iterator[str]:
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} {kind}"
    for label, labelled, value in samples:
        yield f'{name}{{{label}="{labelled}"}} {value}' if label else f"{name} {value}"


async def _receive(stream: trio.abc.HalfCloseableStream, connection: h11.Connection) -> h11.Request | None:
    """The request's head; None if the client leaves before. Raises ``h11.RemoteProtocolError``."""
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Request):
            return event
        if event is not h11.NEED_DATA:
            return None
        connection.receive_data(bytes(await stream.receive_some(RECEIVE_OCTETS)))


def _reply(connection: h11.Connection, code: int, body: bytes, only_head: bool) -> bytes:
    headers = [("content-type", CONTENT_TYPE), ("content-length", str(len(body))), ("connection", "close")]
    if code == 405:
        headers.append(("allow", "GET, HEAD"))
    events = [h11.Response(status_code=code, headers=headers), h11.Data(data=b"" if only_head else body)]
    return b"".join(connection.send(event) or b"" for event in (*events, h11.EndOfMessage()))
