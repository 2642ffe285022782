"""Names as DNS-SD has them: the service's (any text), the host's (letters, digits, hyphens), and the next
one when a name is taken.

No dots in either: in DNS they separate labels, and not every library escapes them.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, replace

SERVICE = "_tmtp._tcp.local."
PAIRING = "_tmtp-pair._tcp.local."
LOCAL = ".local."

LABEL_OCTETS = 63
"""RFC 1035, section 2.3.4."""

NUMBER_MAX = 9
"""After "Home (9)" comes "Home (k7d2m9qa)", with the box's id: so that a search for a free name ends."""

UNNAMED = "Pocket"


@dataclass(frozen=True, slots=True)
class Names:
    """What this box is called in the network. A number of 1 is not shown; above NUMBER_MAX the id is."""

    site: str
    host_label: str
    box_id: str
    site_number: int = 1
    host_number: int = 1

    @property
    def instance(self) -> str:
        """The service's label: Home, Home (2)."""
        if self.site_number == 1:
            return self.site
        suffix = f" ({self._number(self.site_number)})"
        return cut(self.site, LABEL_OCTETS - len(suffix)) + suffix

    @property
    def host(self) -> str:
        """The host's full name: home.local., home-2.local."""
        if self.host_number == 1:
            return self.host_label + LOCAL
        suffix = f"-{self._number(self.host_number)}"
        return self.host_label[: LABEL_OCTETS - len(suffix)] + suffix + LOCAL

    @property
    def exhausted(self) -> bool:
        """There is nothing left to try."""
        return max(self.site_number, self.host_number) > NUMBER_MAX + 1

    def service(self, kind: str) -> str:
        """The full name of this box's service of a kind, SERVICE or PAIRING."""
        return f"{self.instance}.{kind}"

    def after(self, *, instance: bool, host: bool) -> Names:
        """The names to try next, where those that are true are taken."""
        return replace(self, site_number=self.site_number + instance, host_number=self.host_number + host)

    def _number(self, number: int) -> str:
        return str(number) if number <= NUMBER_MAX else self.box_id


def first_names(site: str, host: str, box_id: str) -> Names:
    """The names that a box of this site would like to have."""
    return Names(instance_label(site), host_label(host or site), box_id)


def own_host(site: str, host: str, box_id: str) -> str:
    """What a box is called beside the name that it shares with others: home-k7d2m9qa."""
    return f"{host_label(host or site)[: LABEL_OCTETS - 18].rstrip('-')}-{box_id}"


def instance_label(text: str) -> str:
    """The text as one label: no control characters, no dots, at most 63 octets of UTF-8, never empty."""
    return cut(clean(text.replace(".", " "), LABEL_OCTETS), LABEL_OCTETS) or UNNAMED


def host_label(text: str) -> str:
    """The text as a host's label: "Müller & Söhne" is muller-sohne. Never empty."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    words = "".join(c if c.isalnum() else " " if c not in "'`" else "" for c in plain).split()
    return "-".join(words)[: LABEL_OCTETS - 9].strip("-") or UNNAMED.lower()


def clean(text: str, characters: int) -> str:
    """The text without what could play tricks on a terminal, in at most so many characters."""
    kept = "".join(c if c.isprintable() else " " for c in text[: 4 * characters])
    return " ".join(kept.split())[:characters].rstrip()


def cut(text: str, octets: int) -> str:
    """As much of the text's beginning as fits, whole characters only."""
    return text.encode("utf-8", "replace")[:octets].decode("utf-8", "ignore").rstrip()
