"""What is said about the site's name, and what was heard about it: packets to notes and back, nothing else.

Beside the name's addresses there is a text, ``site=... id=... says=...``, in every packet of a box: which box
of which site speaks, and whether it looks, asks, wants the name or holds it. So one packet tells who has the
name, and whose addresses these are; whoever has it without such a text of our site is a stranger. Other
devices take no notice of the text.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from appliance.discovery.dns import (
    AAAA,
    ANY,
    FLUSH,
    IN,
    NSEC,
    QUERY,
    RESPONSE,
    TXT,
    UNICAST,
    A,
    DNSAddress,
    DNSIncoming,
    DNSNsec,
    DNSOutgoing,
    DNSQuestion,
    DNSRecord,
    DNSText,
    text_of,
    text_value,
)
from appliance.discovery.names import LOCAL
from appliance.discovery.settings import BOX_ID

Says = Literal["looks", "asks", "wants", "holds"]
"""Who looks would not hold the name or only if nobody else does, who asks would, who wants it is about to."""

TTL_S = 10
"""How long clients believe an address of the name. After that, who slept through a change asks anew."""

ADDRESSES_MAX = 16
"""Of one packet; more than a box tells."""

PORT = 5353


@dataclass(frozen=True, slots=True)
class Note:
    """One packet about the name. ``box`` and ``says`` are "" unless a box of our site speaks."""

    question: bool
    asked: frozenset[int] = frozenset()
    """The types of record that are asked for."""
    unicast: bool = False
    """The answer is for who asks alone."""
    probe: bool = False
    """Whoever asks wants the name, and must be answered without delay."""
    number: int = 0
    """The question's, for those who are no mDNS (from another port than 5353)."""
    box: str = ""
    says: str = ""
    gone: bool = False
    """The box says that it holds the name no more."""
    addresses: frozenset[bytes] = frozenset()
    """Said to be the name's, packed. In a question: what who asks would have, or what it knows already."""


@dataclass(frozen=True, slots=True)
class Plate:
    """The name, and the box that speaks."""

    label: str
    site: str
    box: str

    @property
    def name(self) -> str:
        """In full, with the dot: home.local."""
        return self.label + LOCAL

    def read(self, data: bytes) -> Note | None:
        """What a packet says about the name; None if nothing. Whatever the octets are, nothing is raised."""
        label = self.label.encode()
        if bytes([len(label)]) + label not in data.lower():
            return None
        message = DNSIncoming(data)
        if not message.valid:
            return None
        asked = [each for each in message.questions if each.name.lower() == self.name]
        records = [each for each in message.answers() if each.name.lower() == self.name]
        if not asked and not records:
            return None
        question = message.is_query()
        texts = [each for each in records if isinstance(each, DNSText)]
        speaks = next((text for text in texts if self._ours(text)), None)
        return Note(
            question=question,
            asked=frozenset(each.type for each in asked) if question else frozenset(),
            unicast=bool(asked) and all(each.unicast for each in asked),
            probe=message.is_probe(),
            number=message.id,
            box=text_value(speaks.text, b"id") if speaks else "",
            says=text_value(speaks.text, b"says") if speaks else "",
            gone=speaks is not None and speaks.ttl == 0,
            addresses=frozenset(
                each.address
                for each in [each for each in records if isinstance(each, DNSAddress)][:ADDRESSES_MAX]
                if 2 * each.ttl >= (TTL_S if question else 1)
            ),
        )

    def question(self, says: Says, addresses: Iterable[bytes], *, unicast: bool) -> DNSOutgoing:
        """Ask who holds the name, and say who asks and where it would lead."""
        out = DNSOutgoing(QUERY)
        out.add_question(DNSQuestion(self.name, ANY, IN | (UNICAST if unicast else 0)))
        records: list[Any] = [self._text(says, TTL_S), *self._addresses(addresses, TTL_S)]
        out.authorities.extend(records)
        return out

    def claim(self, addresses: Collection[bytes], gone: Iterable[bytes]) -> DNSOutgoing:
        """The name leads to these addresses, and no more to those that are gone."""
        out = DNSOutgoing(RESPONSE)
        for record in [
            *self._addresses(addresses, TTL_S),
            *self._addresses(gone, 0),
            self._text("holds", TTL_S),
            self._nothing_else(addresses),
        ]:
            out.add_answer_at_time(record, 0)
        return out

    def goodbye(self, addresses: Iterable[bytes]) -> DNSOutgoing:
        """The name leads here no more."""
        out = DNSOutgoing(RESPONSE)
        for record in [*self._addresses(addresses, 0), self._text("holds", 0)]:
            out.add_answer_at_time(record, 0)
        return out

    def answer(self, note: Note, addresses: Collection[bytes], *, plain: bool) -> DNSOutgoing | None:
        """The answer to a question; None if there is nothing to say. ``plain``: for who is no mDNS."""
        out = DNSOutgoing(RESPONSE, multicast=False, id_=note.number) if plain else DNSOutgoing(RESPONSE)
        every = self._addresses(addresses, TTL_S)
        wanted = [each for each in every if note.asked & {each.type, ANY}]
        if not note.probe and wanted and all(each.address in note.addresses for each in wanted):
            return None
        text, nothing_else = self._text("holds", TTL_S), self._nothing_else(addresses)
        answers: list[DNSRecord] = [*wanted, *([text] if note.asked & {TXT, ANY} else [])]
        if not answers or (note.asked & {A, AAAA} - {each.type for each in wanted}):
            answers.append(nothing_else)
        if plain:
            for kind in note.asked:
                out.add_question(DNSQuestion(self.name, kind, IN))
        for record in answers:
            out.add_answer_at_time(record, 0)
        for record in (*every, text):
            if record not in answers:
                out.add_additional_answer(record)
        return out

    def _ours(self, text: DNSText) -> bool:
        box = text_value(text.text, b"id")
        return text_value(text.text, b"site") == self.site and BOX_ID.fullmatch(box) is not None

    def _text(self, says: Says, ttl: int) -> DNSText:
        flush = FLUSH if ttl else 0
        text = text_of(site=self.site, id=self.box, says=says)
        return DNSText(self.name, TXT, IN | flush, ttl, text)

    def _addresses(self, addresses: Iterable[bytes], ttl: int) -> list[DNSAddress]:
        """A goodbye has no FLUSH: with it, it would take back what the next holder says, too."""
        flush = FLUSH if ttl else 0
        return [
            DNSAddress(self.name, A if len(each) == 4 else AAAA, IN | flush, ttl, each)
            for each in sorted(addresses)
        ]

    def _nothing_else(self, addresses: Collection[bytes]) -> DNSNsec:
        """Who asks for an IPv6 address need not wait for one that there is not (RFC 6762, section 6.1)."""
        kinds = {A if len(each) == 4 else AAAA for each in addresses} | {TXT}
        return DNSNsec(self.name, NSEC, IN | FLUSH, TTL_S, self.name, sorted(kinds))
