"""What a guest is given. A new kind is a new class in the union ``Gift``."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Sequence

import msgspec

from appliance.pairing.errors import BadFrame
from appliance.pairing.uri import check_address

TEXT_CHARS_MAX = 1024
ADDRESSES_MAX = 16
BOXES_MAX = 16
BOX_ADDRESSES_MAX = 8
NAME_CHARS_MAX = 64
PEM_CHARS_MAX = 16384
PUBLIC_OCTETS = 32
_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"


class NodeGift(msgspec.Struct, frozen=True, tag="node", tag_field="kind"):
    """A device's login at a site: TMTP's uid and node password, and where that site is.

    ``addresses`` are as people type them, ``=HOST:PORT``; ``fingerprint`` is ``SHA256:`` and 64 hex digits.
    """

    uid: str
    node: str
    addresses: list[str]
    fingerprint: str
    site: str

    def __repr__(self) -> str:
        """Without the password."""
        return f"NodeGift(uid={self.uid}, site={self.site})"


class BoxCard(msgspec.Struct, frozen=True):
    """What a box says about itself: its Ed25519 public key, its name for people, and where it listens
    (``=HOST:PORT``).
    """

    public: bytes
    name: str
    addresses: list[str]


class BoxEntry(msgspec.Struct, frozen=True):
    """A box of the site. ``cut``: it was revoked, and its entries count up to this seq."""

    box: str
    public: bytes
    slot: int
    name: str
    addresses: list[str]
    cut: int | None = None


class BoxGift(msgspec.Struct, frozen=True, tag="box", tag_field="kind"):
    """A site to become a box of: its name, certificate and key (PEM), and all its boxes, of which ``host``
    gave this. ``fingerprint``: of the certificate.
    """

    site: str
    fingerprint: str
    cert: str
    key: str
    boxes: list[BoxEntry]
    host: str

    def __repr__(self) -> str:
        """Without the key."""
        return f"BoxGift(site={self.site}, host={self.host}, boxes={len(self.boxes)})"


Gift = NodeGift | BoxGift

_decoder = msgspec.json.Decoder(Gift)
_cards = msgspec.json.Decoder(BoxCard)


def encode_gift(gift: Gift) -> bytes:
    return msgspec.json.encode(gift)


def encode_card(card: BoxCard) -> bytes:
    return msgspec.json.encode(card)


def decode_gift(octets: bytes, kind: str) -> Gift:
    """Raises ``BadFrame`` if it is not of that kind, or of none that is known here."""
    try:
        gift: Gift = _decoder.decode(octets)
    except msgspec.DecodeError as error:
        raise BadFrame(f"the box gives something that is not known here: {error}") from None
    if gift.__struct_config__.tag != kind:
        raise BadFrame(f"the box gives something else than was asked for: {gift.__struct_config__.tag}")
    if isinstance(gift, BoxGift):
        _check_site(gift)
        return gift
    texts = [gift.uid, gift.node, gift.fingerprint, gift.site, *gift.addresses]
    if len(gift.addresses) > ADDRESSES_MAX or any(len(text) > TEXT_CHARS_MAX for text in texts):
        raise BadFrame("the box gives more than fits")
    return gift


def decode_card(octets: bytes) -> BoxCard:
    """Raises ``BadFrame`` if it is none."""
    try:
        card = _cards.decode(octets)
    except msgspec.DecodeError as error:
        raise BadFrame(f"the box says something about itself that is not known here: {error}") from None
    _check_box(card.public, card.name, card.addresses)
    return card


def _check_site(gift: BoxGift) -> None:
    if not (0 < len(gift.site) <= TEXT_CHARS_MAX and gift.site.isprintable()):
        raise BadFrame("the site's name is not printable text")
    if len(gift.cert) > PEM_CHARS_MAX or len(gift.key) > PEM_CHARS_MAX:
        raise BadFrame("the site's certificate or key is more than fits")
    if _fingerprint(gift.cert) != gift.fingerprint:
        raise BadFrame("the certificate that the box gives is not the one that it uses")
    for box in gift.boxes:
        _check_box(box.public, box.name, box.addresses)
        if not 0 <= box.slot < BOXES_MAX or not 0 < len(box.box) <= NAME_CHARS_MAX:
            raise BadFrame("the box tells of a box that cannot be one")
    ids = {box.box for box in gift.boxes if box.cut is None}
    if len(gift.boxes) > BOXES_MAX or gift.host not in ids:
        raise BadFrame("the box's list of boxes is too long, or lacks the box itself")


def _check_box(public: bytes, name: str, addresses: Sequence[str]) -> None:
    if len(public) != PUBLIC_OCTETS:
        raise BadFrame(f"a box's public key has {PUBLIC_OCTETS} octets")
    if not (0 < len(name) <= NAME_CHARS_MAX and name.isprintable()):
        raise BadFrame(f"a box's name is printable text of at most {NAME_CHARS_MAX} characters")
    if len(addresses) > BOX_ADDRESSES_MAX:
        raise BadFrame(f"a box has at most {BOX_ADDRESSES_MAX} addresses")
    for address in addresses:
        try:
            check_address(address.lstrip("=+"))
        except ValueError as error:
            raise BadFrame(str(error)) from None


def _fingerprint(pem: str) -> str:
    """Of the first certificate; empty if there is none."""
    body = pem.partition(_BEGIN)[2].partition(_END)[0]
    try:
        der = base64.b64decode("".join(body.split()), validate=True)
    except (binascii.Error, ValueError):
        return ""
    return f"SHA256:{hashlib.sha256(der).hexdigest()}"
