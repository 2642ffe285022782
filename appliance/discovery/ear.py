"""Who else uses our names, and whether we can be heard at all: what the network says, kept in a bounded
place.

``Ear`` is called on the library's thread for every record that arrives. It notes what could matter and wakes
the box's loop when somebody touches a name that we hold. The loop then asks the network, and what was heard
is judged (``Ear.verdict``):

- A service's name is taken by whoever has a text record at it with another box's id, or none.
- A host's name is taken by whoever has an address at it that this machine has not.
- Before we hold a name, any such other has it. While we hold it, the box with the lower id keeps it; what
  is no box keeps it from us. So two boxes that started in the same second, or whose networks were joined,
  judge the same, each by itself.

Facts stay until the judgement that they were for: the library passes a packet that it had less than 0.8 s
ago over in silence, so that what was heard just before the question may be the only answer to it.
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

Fact = TypeVar("Fact")

NAMES_MAX = 64
FACTS_MAX = 16
"""Of each of three kinds of fact: 64 names, 16 of it each, 300 octets at most: 1 MiB for who wants to fill
it. The oldest name makes room."""

ID_CHARACTERS = 16


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
    """``wake`` is called on the library's thread when others touch our names, and when we hear ourselves
    for the first time.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        super().__init__()
        self._wake = wake
        self._watch: Watch | None = None
        self._hosts: set[str] = set()
        """What our host was called: our own words may come back late."""
        self.echo = False
        """Our announcement came back to us: the network takes what we send."""
        self.alarm = False
        """Somebody uses our names, or says that they are gone."""
        self._texts: dict[str, set[str]] = {}
        self._targets: dict[str, set[tuple[str, int]]] = {}
        self._strangers: dict[str, set[bytes]] = {}

    def watch(self, watch: Watch | None) -> None:
        """Watch over these names from now on."""
        self.alarm = False
        self._watch = watch
        if watch is not None:
            self._hosts.add(watch.names.host.lower())

    def forget(self) -> None:
        """What was heard has been judged."""
        self.alarm = False
        for facts in (self._texts, self._targets, self._strangers):
            facts.clear()

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
            self._pointer(record.alias.lower(), gone, watch)
        elif isinstance(record, DNSAddress):
            self._address(key, record.address, gone, watch)
        elif key.endswith(SERVICE) or key in watch.services:
            if isinstance(record, DNSService):
                self._service(key, (record.server.lower(), record.port), gone, watch)
            elif isinstance(record, DNSText):
                self._text(key, text_value(record.text, b"id")[:ID_CHARACTERS], gone, watch)

    def verdict(self) -> Verdict:
        """Judge by what was heard."""
        watch = self._watch
        if watch is None:
            return Verdict()
        rivals: set[str] = set()
        for key in watch.services:
            rivals |= self._texts.get(key, {""} if self._targets.get(key) else set())
        host = watch.names.host.lower()
        owners: set[str] = set()
        for key, targets in self._targets.items():
            if any(target == host for target, _ in targets):
                owners |= self._texts.get(key, set())
        if not self._strangers.get(host):
            return Verdict(instance=_yields(rivals, watch))
        return Verdict(_yields(rivals, watch), _yields(owners | rivals or {""}, watch))

    def _pointer(self, alias: str, gone: bool, watch: Watch) -> None:
        if alias != watch.services[0]:
            if gone:
                self._texts.pop(alias, None)
                self._targets.pop(alias, None)
        elif gone:
            self._alarm(watch)
        elif watch.held and not self.echo:
            self.echo = True
            self._wake()

    def _service(self, key: str, target: tuple[str, int], gone: bool, watch: Watch) -> None:
        if key in watch.services and target[0] in self._hosts and target[1] == watch.port:
            if gone and key == watch.services[0] and target[0] == watch.names.host.lower():
                self._alarm(watch)
        elif not gone:
            _keep(self._targets, key, target)
            if key in watch.services:
                self._alarm(watch)

    def _text(self, key: str, box_id: str, gone: bool, watch: Watch) -> None:
        if box_id == watch.names.box_id:
            if gone and key == watch.services[0]:
                self._alarm(watch)
        elif not gone:
            _keep(self._texts, key, box_id)
            if key in watch.services:
                self._alarm(watch)

    def _address(self, key: str, address: bytes, gone: bool, watch: Watch) -> None:
        ours = key == watch.names.host.lower()
        if gone:
            if ours and address in watch.told:
                self._alarm(watch)
        elif key.startswith(watch.names.host_label) and address not in watch.own:
            _keep(self._strangers, key, address)
            if ours:
                self._alarm(watch)

    def _alarm(self, watch: Watch) -> None:
        if watch.held and not self.alarm:
            self.alarm = True
            self._wake()


def _yields(rivals: set[str], watch: Watch) -> bool:
    return any(not watch.held or rival < watch.names.box_id for rival in rivals)


def _keep(facts: dict[str, set[Fact]], key: str, fact: Fact) -> None:
    if key not in facts and len(facts) >= NAMES_MAX:
        del facts[next(iter(facts))]
    of_name = facts.setdefault(key, set())
    if len(of_name) < FACTS_MAX:
        of_name.add(fact)
