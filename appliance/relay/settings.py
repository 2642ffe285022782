"""How the relay is set. Every name ends in its unit."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RelaySettings:
    """Seconds, octets, counts. Of each membership, unless it says otherwise."""

    connect_timeout_s: float = 10.0
    """From the name's lookup to a finished TLS handshake: 0.1 to 300."""

    login_timeout_s: float = 10.0
    """From there to a finished login: 0.1 to 300."""

    pulse_s: float = 115.0
    """How often a site hears from us when there is nothing to say: 1 to 3600. Sites close a link on which
    nothing came for two minutes (TMTP revision 1, section 2).
    """

    stall_s: float = 120.0
    """A site that takes nothing of what we send, or stops in the middle of a message, is given up after this
    long: 1 to 3600.
    """

    user_timeout_s: float = 30.0
    """A site whose machine answers nothing at all is given up after this long: 1 to 3600."""

    retry_s: float = 1.0
    """The first pause before a site is called again; each next one is twice as long, and a bit at random:
    0.1 to 3600.
    """

    retry_longest_s: float = 300.0
    """The longest pause: 1 to 86400."""

    absent_after_s: float = 259_200.0
    """A site that could not be reached for so long is called less often: 60 to 31536000."""

    absent_retry_s: float = 900.0
    """The longest pause then: 1 to 86400."""

    window_messages: int = 64
    """How many messages of a site may be on their way to the disk before the first is acknowledged: 1 to
    1024.
    """

    window_octets: int = 1 << 20
    """How many octets of them may be in memory: 64 KiB to 64 MiB. One message always may."""

    pipeline: int = 16
    """How many requests a site may have to answer at once: 1 to 256."""

    message_octets: int = 4 << 30
    """The largest message that is taken from a site: 1 MiB to 1 TiB. In place of a larger one devices get a
    note that says so.
    """

    takeover_s: float = 20.0
    """What a box was to send is sent by another one when it has been out of reach for so long: 1 to 86400."""

    keeper_wait_s: float = 3.0
    """How long a box waits for the one that stores what comes from a site: 0.1 to 60."""

    dials_at_once: int = 8
    """How many sites are called at the same time, of all memberships: 1 to 64."""

    metered_stay_s: float = 5.0
    """A membership that looks in only now and then leaves when nothing has come for so long: 1 to 600."""
