"""How the link of a membership ended, of all that may have gone wrong at once in its tasks."""

from __future__ import annotations

from collections.abc import Iterator

from appliance.relay.care import Why
from appliance.relay.errors import (
    CertificateChanged,
    LoginRefused,
    NoRoom,
    RelayError,
    UpstreamBroke,
    UpstreamBusy,
    UpstreamLost,
)
from appliance.store import FileDamaged, StoreError


class Leaving(RelayError):
    """We end the link, on purpose."""

    def __init__(self, why: Why) -> None:
        super().__init__(why.value)
        self.why = why


KINDS: tuple[tuple[type[Exception], Why], ...] = (
    (CertificateChanged, Why.CHANGED),
    (LoginRefused, Why.REFUSED),
    (UpstreamBusy, Why.BUSY),
    (UpstreamBroke, Why.BROKE),
    (NoRoom, Why.NO_ROOM),
    (FileDamaged, Why.LOST),
    (StoreError, Why.NO_ROOM),
    (UpstreamLost, Why.LOST),
    (RelayError, Why.LOST),
    (Exception, Why.ERROR),
)
"""What says most, first: that a link broke may only follow from the rest. An error of ours comes before all
of them, so that it is seen.
"""


def told_by(group: BaseExceptionGroup[Exception] | Exception) -> Exception:
    """Of several errors the one to tell of."""
    return min(_leaves(group), key=_rank)


def why_of(error: Exception) -> tuple[Why, str]:
    """What to do about it, and what to say."""
    if isinstance(error, Leaving):
        return error.why, ""
    why = KINDS[_kind(error)][1]
    return why, f"an error in this program: {error!r}" if why is Why.ERROR else str(error)


def _leaves(group: BaseException) -> Iterator[Exception]:
    if isinstance(group, BaseExceptionGroup):
        for error in group.exceptions:
            yield from _leaves(error)
    elif isinstance(group, Exception):
        yield group


def _kind(error: Exception) -> int:
    return next(at for at, (kind, _) in enumerate(KINDS) if isinstance(error, kind))


def _rank(error: Exception) -> int:
    if isinstance(error, Leaving):
        return -2
    kind = _kind(error)
    return -1 if KINDS[kind][1] is Why.ERROR else kind
