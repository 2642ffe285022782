"""What waits for the next commit: requests, and acknowledgements by nodes.

Bounds. Requests: ``JOBS_OCTETS`` of memory in all (``put`` waits beyond that), each link limits its own
number. Acknowledgements: one per message in flight, and ``DOUBTFUL_ACKS`` of each node that may be of
anything: beyond that they are not heard, and what they are of comes again.
"""

from __future__ import annotations

import trio

from appliance.store.errors import StoreError
from appliance.store.jobs import Job
from appliance.store.taking import Checked

Acks = dict[int, dict[int, bool]]
"""By node the ids of messages, each once and in order, and whether they are known to be in its queue."""

JOBS_OCTETS = 32 << 20
DOUBTFUL_ACKS = 4096
"""As many as the largest window has messages."""
BATCH_JOBS = 1000
BATCH_ARRIVALS = 500


class Batch:
    """Arrivals from box ``source`` that wait for their commit; ``error`` says why there is none."""

    def __init__(self, checked: list[Checked], source: str) -> None:
        self.checked = checked
        self.source = source
        self.done = trio.Event()
        self.error: StoreError | None = None

    def end(self, error: StoreError | None = None) -> None:
        """It is on stable storage, or not."""
        self.error = error
        self.done.set()


class Inbox:
    """Filled by everybody, emptied by the owner."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.acks: Acks = {}
        self.batches: list[Batch] = []
        self._acks_in_commit: Acks = {}
        self._octets = 0
        self._room = trio.Event()
        self._bell = trio.Event()
        self._job_bell = trio.Event()
        self._closed = False

    def __bool__(self) -> bool:
        return bool(self.jobs or self.acks or self.batches)

    async def put(self, job: Job) -> None:
        """Queue a request, when there is room for it."""
        while self._octets > JOBS_OCTETS and not self._closed:
            await self._room.wait()
        self._octets += job.octets
        self.jobs.append(job)
        self.ring()

    def put_batch(self, batch: Batch) -> None:
        """Queue arrivals: whoever brings them waits for one batch before the next."""
        self.batches.append(batch)
        self.ring()

    def close_batches(self) -> list[Batch]:
        """Those that wait."""
        batches, self.batches = self.batches, []
        return batches

    def take_batches(self) -> list[Batch]:
        """Of those that wait, what one commit takes."""
        taken: list[Batch] = []
        count = 0
        while self.batches and (not taken or count + len(self.batches[0].checked) <= BATCH_ARRIVALS):
            count += len(self.batches[0].checked)
            taken.append(self.batches.pop(0))
        return taken

    def ack(self, node: int, msgid: int, known: bool = True) -> None:
        acks = self.acks.setdefault(node, {})
        if known:
            acks[msgid] = True
        elif len(acks) < DOUBTFUL_ACKS:
            acks.setdefault(msgid, False)
        self._bell.set()

    def is_acked(self, node: int, msgid: int) -> bool:
        """Whether ``acked`` has it."""
        return msgid in self.acks.get(node, ()) or msgid in self._acks_in_commit.get(node, ())

    def acked(self, node: int) -> set[int]:
        """What the node has acknowledged and no commit has yet made durable."""
        return {*self.acks.get(node, ()), *self._acks_in_commit.get(node, ())}

    def take(self) -> tuple[list[Job], Acks]:
        """The next batch. Its acks are ``acked`` until ``settled`` or ``put_back``."""
        self._bell = trio.Event()
        self._job_bell = trio.Event()
        jobs, self.jobs = self.jobs[:BATCH_JOBS], self.jobs[BATCH_JOBS:]
        self._octets -= sum(job.octets for job in jobs)
        self._room.set()
        self._room = trio.Event()
        acks, self.acks, self._acks_in_commit = self.acks, {}, self.acks
        return jobs, acks

    def settled(self) -> None:
        """The acks of the batch are durable."""
        self._acks_in_commit = {}

    def put_back(self, acks: Acks) -> None:
        """They are not, and go with the next batch."""
        for node, msgids in acks.items():
            self.acks[node] = msgids | self.acks.get(node, {})
        self._acks_in_commit = {}

    def postpone(self, jobs: list[Job]) -> None:
        """Requests of the batch go with the next one, ahead of all others."""
        self.jobs[:0] = jobs
        self._octets += sum(job.octets for job in jobs)

    def close(self) -> list[Job]:
        """Nothing is committed any more: let those go who wait for room. Returns the requests that wait."""
        self._closed = True
        jobs, self.jobs, self._octets = self.jobs, [], 0
        self._room.set()
        return jobs

    def ring(self) -> None:
        """There is something to do."""
        self._bell.set()
        self._job_bell.set()

    async def wait(self, idle_s: float, acks_delay_s: float) -> None:
        """Until there is a request, or acks that have waited for one for ``acks_delay_s``, or somebody rang,
        or nothing happened for ``idle_s``.
        """
        if not self:
            with trio.move_on_after(idle_s):
                await self._bell.wait()
        if self.acks and not self.jobs and not self.batches:
            with trio.move_on_after(acks_delay_s):
                await self._job_bell.wait()
        if not self:
            self._bell = trio.Event()
            self._job_bell = trio.Event()
