"""The octets of a backup: sealed streams, records, and the state. No I/O, no clock.

A *stream* is what one file on the stick holds (README.md). Its key follows from the backup's key, a salt of
its own and its name, so no file can stand in for another. It is cut into frames, each sealed with its number,
and the last one says that it is: what is swapped, cut off or changed does not open.

    stream = "pocketB1" | 16 octets salt | frames
    frame  = 4 octets: 1 bit last, 31 bits length | sealed: at most FRAME_OCTETS, and 16 octets tag
    nonce  = 3 octets 0 | 1 octet last | 8 octets number

*Records* are what a segment of the journal holds: entries in the order in which they can be applied, and
octets of messages that had no octets when their entry was written. Compressed (zlib), then sealed.

    record = 4 octets length | MessagePack
"""

from __future__ import annotations

import hashlib
import hmac
import os
import zlib
from collections.abc import Iterator
from struct import Struct

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from appliance.backup.errors import Damaged
from appliance.backup.keys import SALT_OCTETS, derive
from appliance.store import Arrival, Octets

MAGIC = b"pocketB1"
FRAME_OCTETS = 1 << 20
TAG_OCTETS = 16
RECORD_OCTETS_MAX = 64 << 20
"""An entry has about 1 MiB, with its octets; a read that gives more than one ends soon after 1 MiB."""

FORMAT = 1
_LENGTH = Struct(">I")
_LAST = 1 << 31
_NONCE = Struct(">3xBQ")


class Sealer:
    """Makes a stream: ``begin``, ``seal`` what comes, ``finish``; each gives octets to be written."""

    def __init__(self, key: bytes, name: str) -> None:
        self._salt = os.urandom(SALT_OCTETS)
        self._cipher = _cipher(key, name, self._salt)
        self._number = 0
        self._waiting = bytearray()

    def begin(self) -> bytes:
        return MAGIC + self._salt

    def seal(self, octets: bytes) -> bytes:
        self._waiting += octets
        sealed = bytearray()
        while len(self._waiting) > FRAME_OCTETS:
            sealed += self._frame(bytes(self._waiting[:FRAME_OCTETS]), last=False)
            del self._waiting[:FRAME_OCTETS]
        return bytes(sealed)

    def finish(self) -> bytes:
        return self._frame(bytes(self._waiting), last=True)

    def _frame(self, octets: bytes, last: bool) -> bytes:
        sealed = self._cipher.encrypt(_NONCE.pack(last, self._number), octets, None)
        self._number += 1
        return _LENGTH.pack(len(sealed) | (_LAST if last else 0)) + sealed


def stream_octets(octets: int) -> int:
    """How long the stream is that so many octets make."""
    frames = max(1, -(-octets // FRAME_OCTETS))
    return len(MAGIC) + SALT_OCTETS + octets + frames * (_LENGTH.size + TAG_OCTETS)


class Opener:
    """Reads a stream: ``feed`` what is read, and ``finish`` at its end."""

    def __init__(self, key: bytes, name: str) -> None:
        self._key = key
        self._name = name
        self._cipher: ChaCha20Poly1305 | None = None
        self._number = 0
        self._waiting = bytearray()
        self._ended = False

    def feed(self, octets: bytes) -> bytes:
        """What these octets complete. Raises ``Damaged``."""
        self._waiting += octets
        head = len(MAGIC) + SALT_OCTETS
        if self._cipher is None:
            if len(self._waiting) < head:
                return b""
            if not self._waiting.startswith(MAGIC):
                raise Damaged(f"{self._name} is no part of a backup that this version can read")
            self._cipher = _cipher(self._key, self._name, bytes(self._waiting[len(MAGIC) : head]))
            del self._waiting[:head]
        opened = bytearray()
        while len(self._waiting) >= _LENGTH.size:
            (said,) = _LENGTH.unpack_from(self._waiting)
            last, length = bool(said & _LAST), said & (_LAST - 1)
            if length > FRAME_OCTETS + TAG_OCTETS:
                raise self._damaged()
            end = _LENGTH.size + length
            if len(self._waiting) < end:
                break
            try:
                nonce = _NONCE.pack(last, self._number)
                opened += self._cipher.decrypt(nonce, bytes(self._waiting[_LENGTH.size : end]), None)
            except InvalidTag:
                raise self._damaged() from None
            del self._waiting[:end]
            self._number += 1
            self._ended = last
        return bytes(opened)

    def finish(self) -> None:
        """There is no more. Raises ``Damaged`` if there should be."""
        if not self._ended or self._waiting:
            raise Damaged(f"{self._name} in the backup is not whole")

    def _damaged(self) -> Damaged:
        return Damaged(f"{self._name} in the backup is damaged: not what was written")


def _cipher(key: bytes, name: str, salt: bytes) -> ChaCha20Poly1305:
    return ChaCha20Poly1305(derive(key, salt, b"pocket backup stream 1 " + name.encode()))


class Entries(msgspec.Struct, tag="entries", array_like=True, frozen=True):
    """Entries of all boxes, each with the octets of its messages."""

    arrivals: list[Arrival]


class Filled(msgspec.Struct, tag="octets", array_like=True, frozen=True):
    """Octets that messages of earlier entries lacked."""

    octets: list[Octets]


Record = Entries | Filled
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Entries | Filled)


class Packer:
    """Records to octets."""

    def __init__(self) -> None:
        self._zlib = zlib.compressobj(6)

    def pack(self, record: Record) -> bytes:
        encoded = _encoder.encode(record)
        return self._zlib.compress(_LENGTH.pack(len(encoded)) + encoded)

    def finish(self) -> bytes:
        return self._zlib.flush()


class Unpacker:
    """Octets to records."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj()
        self._waiting = bytearray()

    def feed(self, octets: bytes) -> Iterator[Record]:
        """Raises ``Damaged``."""
        while octets:
            try:
                self._waiting += self._zlib.decompress(octets, FRAME_OCTETS)
            except zlib.error as error:
                raise Damaged(f"a part of the journal in the backup cannot be read: {error}") from None
            octets = self._zlib.unconsumed_tail
            yield from self._whole()

    def finish(self) -> None:
        """Raises ``Damaged`` if there should be more."""
        if not self._zlib.eof or self._waiting:
            raise Damaged("a part of the journal in the backup is not whole")

    def _whole(self) -> Iterator[Record]:
        while len(self._waiting) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._waiting)
            if length > RECORD_OCTETS_MAX:
                raise Damaged("a part of the journal in the backup is larger than any can be")
            end = _LENGTH.size + length
            if len(self._waiting) < end:
                return
            try:
                record = _decoder.decode(bytes(self._waiting[_LENGTH.size : end]))
            except msgspec.DecodeError as error:
                raise Damaged(f"a part of the journal in the backup cannot be read: {error}") from None
            del self._waiting[:end]
            yield record


class Head(msgspec.Struct, frozen=True):
    """How far a box's journal is in the backup, and the digest of the entry there."""

    public: bytes
    seq: int
    digest: bytes


class Segment(msgspec.Struct, frozen=True):
    """A file with a part of the journals; ``octets`` as it is on the stick."""

    name: str
    octets: int


class State(msgspec.Struct, frozen=True, kw_only=True):
    """What there is in a backup, as of its last complete part. ``number`` rises with each; ``made`` is in
    seconds since the epoch, of the box's clock.

    ``box_key`` is the private key of the ``box`` that made it: what was sealed for it has to be opened.
    ``first_octets``: of the segments when all was written anew, at ``first_made``. ``files``: size by SHA-256
    of the attachments. ``absent``: messages whose octets are not in the backup.
    """

    number: int
    made: float
    format: int = FORMAT
    program: str = ""
    site: str
    site_id: str
    cert: str
    key: str
    box: str
    box_key: bytes
    heads: dict[str, Head]
    segments: list[Segment]
    first_octets: int
    first_made: float
    files: dict[bytes, int] = {}
    absent: list[int] = []
    members: int = 0
    devices: int = 0
    messages: int = 0

    @property
    def octets(self) -> int:
        """About what it takes on the stick."""
        return sum(segment.octets for segment in self.segments) + sum(self.files.values())


_state_decoder = msgspec.msgpack.Decoder(State)


def encode_state(state: State) -> bytes:
    return zlib.compress(_encoder.encode(state))


def decode_state(octets: bytes) -> State:
    """Raises ``Damaged``."""
    try:
        state = _state_decoder.decode(zlib.decompress(octets))
    except (msgspec.DecodeError, zlib.error) as error:
        raise Damaged(f"the backup's state cannot be read: {error}") from None
    if state.format > FORMAT:
        raise Damaged("this backup was made by a later version of this program: update this box first")
    return state


def file_name(key: bytes, sha: bytes) -> str:
    """Under which an attachment is on the stick: who finds it cannot tell whether it is one that he knows."""
    name = hmac.digest(key, b"pocket backup file 1" + sha, hashlib.sha256).hex()[:40]
    return f"files/{name[:2]}/{name}"
