"""Who else uses our names, and whether we can be heard at all: what the network says, kept in a bounded
place.

``Ear`` is called on the library's thread for every record that arrives. It compares it with the names that
we watch over and wakes the box's loop when there is something to look at. The look itself
(``Ear.verdict``) follows after a question has been asked and answered:

- A service's name is taken by whoever has a text record at it with another box's id, or none.
- A host's name is taken by whoever has an address at it that this machine has not.
- Before we hold a name, any such other has it. While we hold it, the box with the lower id keeps it; what
  is no box keeps it from us. So two boxes that started in the same second, or whose networks were joined,
  judge the same, each by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from zeroconf import RecordUpdate, RecordUpdateListener, Zeroconf

from appliance.discovery.dns import DNSAddress, DNSPointer, DNSRecord, DNSService, DNSText, text_value
from appliance.discovery.names import PAIRING, SERVICE, Names
from appliance.log import get_logger

log = get_logger(__name__)

Key = TypeVar("Key")
Value = TypeVar("Value")

KEPT_MAX = 64
"""Of each kind of fact, 2 KiB at most each: who wants to fill it, fills 512 KiB."""


@dataclass(frozen=True, slots=True)
class Watch:
    """What is ours. ``held``: we have announced it."""

    names: Names
    port: int
    told: frozenset[bytes]
    """The addresses that we announce, packed."""
    own: frozenset[bytes]
    """All addresses that this machine has or had a moment ago, packed."""
    held: bool

    @property
    def services(self) -> tuple[str, str]:
        return self.names.service(SERVICE).lower(), self.names.service(PAIRING).lower()


@dataclass(frozen=True, slots=True)
class Verdict:
    """Which of our names we have to give up."""

    instance: bool = False
    host: bool = False

    @property
    def free(self) -> bool:
        return not (self.instance or self.host)


class Ear(RecordUpdateListener):
    """``wake`` is called on the library's thread when others may use our names, or took back what is ours;
    and when we hear ourselves for the first time.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        super().__init__()
        self._ids: dict[str, None] = {}
        self._wake = wake
        self._watch: Watch | None = None
        self.echo = False
        """Our announcement came back to us: the network takes what we send."""
        self.alarm = False
        """Somebody uses our names, or says that they are gone."""
        self._forget()

    def watch(self, watch: Watch | None) -> None:
        """Watch over these names from now on. What was heard is forgotten, but for the ids of others that
        have our service's name, if that stays.
        """
        ids = self._ids if watch and self._watch and watch.names == self._watch.names else {}
        self._forget()
        self._ids, self._watch = ids, watch

    def async_update_records(self, zc: Zeroconf, now: float, records: list[RecordUpdate]) -> None:
        """The library's call. Whatever is in the records, nothing gets out of here."""
        watch = self._watch
        if watch is None:
            return
        try:
            for update in records:
                self.hear(update.new, watch)
        except Exception as error:
            log.warning("an mDNS record was not understood", error=repr(error))

    def hear(self, record: DNSRecord, watch: Watch) -> None:
        """Take note of one record; one with a time to live of 0 takes something back."""
        key = record.name.lower()
        gone = record.ttl == 0
        if isinstance(record, DNSPointer):
            self._pointer(record.alias.lower() in watch.services[:1], gone, watch)
        elif isinstance(record, DNSService):
            self._service(key, record.server.lower(), record.port, gone, watch)
        elif isinstance(record, DNSText):
            self._text(key, text_value(record.text, b"id")[:16], gone, watch)
        elif isinstance(record, DNSAddress) and key == watch.names.host.lower():
            if gone:
                if record.address in watch.told:
                    self._alarm(watch)
            elif record.address not in watch.own:
                _keep(self._strangers, record.address, None)
                self._alarm(watch)

    def verdict(self) -> Verdict:
        """Judge by what was heard since ``watch``."""
        watch = self._watch
        if watch is None:
            return Verdict()
        rivals = set(self._ids) or ({""} if self._others else set())
        host = watch.names.host.lower()
        owners = {self._known.get(name, "") for name, target in self._targets.items() if target == host}
        owners = (owners | set(self._ids)) - {watch.names.box_id} or {""}
        return Verdict(_yields(rivals, watch), bool(self._strangers) and _yields(owners, watch))

    def _pointer(self, ours: bool, gone: bool, watch: Watch) -> None:
        if not ours or not watch.held:
            return
        if gone:
            self._alarm(watch)
        elif not self.echo:
            self.echo = True
            self._wake()

    def _service(self, key: str, target: str, port: int, gone: bool, watch: Watch) -> None:
        if key not in watch.services:
            if key.endswith(SERVICE) and not gone:
                _keep(self._targets, key, target)
        elif (target, port) != (watch.names.host.lower(), watch.port):
            if not gone:
                _keep(self._others, (target, port), None)
                self._alarm(watch)
        elif gone and key == watch.services[0]:
            self._alarm(watch)

    def _text(self, key: str, box_id: str, gone: bool, watch: Watch) -> None:
        if key not in watch.services:
            if key.endswith(SERVICE) and not gone:
                _keep(self._known, key, box_id)
        elif box_id == watch.names.box_id:
            if gone and key == watch.services[0]:
                self._alarm(watch)
        elif not gone:
            _keep(self._ids, box_id, None)
            self._alarm(watch)

    def _alarm(self, watch: Watch) -> None:
        if watch.held and not self.alarm:
            self.alarm = True
            self._wake()

    def _forget(self) -> None:
        self.alarm = False
        self._ids = {}
        self._others: dict[tuple[str, int], None] = {}
        self._strangers: dict[bytes, None] = {}
        self._targets: dict[str, str] = {}
        self._known: dict[str, str] = {}


def _yields(rivals: set[str], watch: Watch) -> bool:
    return any(not watch.held or rival < watch.names.box_id for rival in rivals)


def _keep(facts: dict[Key, Value], key: Key, value: Value) -> None:
    if len(facts) < KEPT_MAX or key in facts:
        facts[key] = value
