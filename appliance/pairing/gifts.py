"""What a guest is given. A new kind is a new class in the union ``Gift``."""

from __future__ import annotations

import msgspec

from appliance.pairing.errors import BadFrame

TEXT_CHARS_MAX = 1024
ADDRESSES_MAX = 16


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


Gift = NodeGift

_decoder = msgspec.json.Decoder(Gift)


def encode_gift(gift: Gift) -> bytes:
    return msgspec.json.encode(gift)


def decode_gift(octets: bytes, kind: str) -> Gift:
    """Raises ``BadFrame`` if it is not of that kind, or of none that is known here."""
    try:
        gift = _decoder.decode(octets)
    except msgspec.DecodeError as error:
        raise BadFrame(f"the box gives something that is not known here: {error}") from None
    if gift.__struct_config__.tag != kind:
        raise BadFrame(f"the box gives something else than was asked for: {gift.__struct_config__.tag}")
    texts = [gift.uid, gift.node, gift.fingerprint, gift.site, *gift.addresses]
    if len(gift.addresses) > ADDRESSES_MAX or any(len(text) > TEXT_CHARS_MAX for text in texts):
        raise BadFrame("the box gives more than fits")
    return gift
