"""The octets of one link: frames in, data through, nothing held that need not be. TMTP revision 1, section 1.

Both ends of a link are built on this. A buffer is kept as the `bytes` of the last receive and a position in
it, so that a frame is one slice, many small frames in one receive cost nothing extra, and large data goes
through as it came. What is incomplete is gathered in a bytearray until it can be used: 4 octets, a whole
header, or the whole of inline data; so a stream that comes one octet at a time costs three copies of a
frame, never more.

Bound of the buffer: 4 + 65535 + inline_max octets (of data the server always takes at least the 420 of a
ping's text inline), and one receive.
"""

from abc import ABC, abstractmethod
from binascii import Error as NotHex
from binascii import unhexlify
from enum import Enum
from typing import Any, Final, NoReturn

from msgspec import Struct

from . import reasons
from .canonical import HEADER_MIN
from .errors import RemoteProtocolError
from .header import BadHeader
from .states import State


class NeedData(Enum):
    """The type of NEED_DATA."""

    NEED_DATA = "call receive_data before you ask again"


NEED_DATA: Final = NeedData.NEED_DATA
"""There is no event before more octets have been received."""


class Data(Struct, gc=False):
    """A piece of the data of the event before, as large as what has arrived; `last` says that it is the
    last one.
    """

    octets: bytes
    last: bool


INLINE_MAX: Final = 65536
"""Data of up to this many octets comes with its event, unless the link is told otherwise."""


class Link(ABC):
    """What the server's and the client's end share: the buffer, and which octets belong to what."""

    def __init__(self, inline_max: int = INLINE_MAX) -> None:
        self._state = State.START
        self._inline_max = inline_max
        self.head_octets = 0
        """Octets of the newest frame head, which are a measure of what it cost to read it."""
        self._failure: str | None = None
        self._deaf = False
        self._octets = b""
        self._position = 0
        self._gathered = bytearray()
        self._needed = 0
        self._left = 0
        self._pending: Any = None

    @property
    def state(self) -> State:
        """How far the link has got."""
        return self._state

    @property
    def buffered(self) -> int:
        """Octets received and not yet given away in an event."""
        return len(self._octets) - self._position + len(self._gathered)

    def receive_data(self, octets: bytes | bytearray | memoryview) -> None:
        """Takes what has come from the other side. Does nothing on a link that is over.

        `bytes` are kept as they are; anything else is copied, so that its buffer may be used again.
        """
        if self._deaf:
            return
        if self._gathered or self._position < len(self._octets):
            self._gathered += octets
        else:
            self._octets = octets if type(octets) is bytes else bytes(octets)
            self._position = self._needed = 0

    def _next(self) -> Any:
        """The next event, or NEED_DATA. Raises RemoteProtocolError, once and for all."""
        if self._gathered and not self._gather():
            return NEED_DATA
        if self._left:
            return self._data()
        octets, position = self._octets, self._position
        start = position + 4
        if len(octets) < start:
            return self._pause(4)
        try:
            size = int.from_bytes(unhexlify(octets[position:start]), "big")
        except NotHex:
            self._fail(reasons.INVALID_HEADER_LENGTH)
        if size < HEADER_MIN:
            self._fail(reasons.INVALID_HEADER_LENGTH)
        end = start + size
        self.head_octets = 4 + size
        if len(octets) < end:
            return self._pause(4 + size)
        self._position = end
        try:
            event = self._read_head(octets[position:end])
        except BadHeader as error:
            self._fail(reasons.INVALID_HEADER, str(error))
        except RemoteProtocolError as error:
            self._fail(error.reason)
        if not self._left or not event.inline:
            return event
        self._pending = event
        return self._data()

    @abstractmethod
    def _read_head(self, head: bytes) -> Any:
        """The event that a frame head makes, or begins: then `_left` is set to the octets of data that
        follow.

        Raises BadHeader or RemoteProtocolError.
        """

    def _judge_data(self, event: Any) -> None:  # noqa: B027
        """Raises RemoteProtocolError if the inline data of `event` will not do. Here all of it will."""

    def _data(self) -> Any:
        """Completes a pending event with its data, or passes a piece of large data on."""
        octets, position, left = self._octets, self._position, self._left
        there = len(octets) - position
        event = self._pending
        if event is None:
            if not there:
                return self._pause(1)
            piece = octets[position : position + left]
            self._position += len(piece)
            self._left = left - len(piece)
            return Data(piece, self._left == 0)
        if there < left:
            return self._pause(left)
        end = position + left
        event.data = octets[position:end]
        self._position = end
        self._left = 0
        self._pending = None
        try:
            self._judge_data(event)
        except RemoteProtocolError as error:
            self._fail(error.reason)
        return event

    def _pause(self, needed: int) -> NeedData:
        """Waits until `needed` octets are there, and lets go of those that were used."""
        if self._failure is not None:
            raise RemoteProtocolError(self._failure)
        self._needed = needed
        self._octets = self._octets[self._position :]
        self._position = 0
        return NEED_DATA

    def _gather(self) -> bool:
        """Joins what came in pieces, if there is enough of it to go on with."""
        if self.buffered < self._needed:
            return False
        self._octets = self._octets[self._position :] + self._gathered
        self._position = self._needed = 0
        self._gathered = bytearray()
        return True

    def _fail(self, reason: str, detail: str = "") -> NoReturn:
        self._failure = reason
        self._end(State.QUITTING)
        raise RemoteProtocolError(reason, detail) from None

    def _end(self, state: State) -> None:
        """Goes to a state in which nothing is read."""
        self._state = state
        self._deaf = True
        self._octets = b""
        self._position = 0
        self._gathered = bytearray()
        self._left = 0
        self._pending = None
