"""Pairing: how a new device gets its password, with nothing secret shown and nobody in between.

A person reads a short code on one side and types it on the other. SPAKE2 makes of it a key that only those
two have: who listens learns nothing, and who guesses has one guess, which the other side notices.

Terms. The *host* shows the code: a box. The *guest* types it: a new device, later also a box that becomes a
peer. What the host gives is a *gift*; its kind says what for.

The exchange runs over the TLS port of the site, in TMTP's framing (TMTP revision 1, section 1), on a link
of its own. Its ops are 100 to 102, which no TMTP client sends and for which a TMTP server closes the link;
a host tells a guest from a client by the first frame. In it, in this order:

    guest  {"code":1,"kind":"node","op":100,"share":X,"version":1}   which code, what for, its SPAKE2 message
    host   {"op":"pair","share":Y}                                   the host's
    guest  {"op":101,"proof":P}                                      it has the code: this is the guess
    host   {"op":"proof","proof":P}                                  so has the host
    host   {"datalen":N,"op":"gift"} and N octets                    the gift, encrypted
    guest  {"op":102,"proof":P}                                      the guest has it
    host   {"op":"paired","proof":P}                                 it is in force
    host   {"error":REASON,"op":"quit"}                              instead of any of its frames: the end

- **Bound to the channel.** The fingerprint of the certificate, as each side sees it, is part of the host's
  SPAKE2 identity. Somebody in between has another certificate, so the two keys differ and the first proof
  is wrong.
- **Proofs** are HMAC-SHA256 over all frames so far, octet for octet, each with a key of its own; the keys
  come by HKDF-SHA256 from SPAKE2's key and the first two frames. They are compared in constant time. The
  gift is encrypted with ChaCha20-Poly1305 under a key that is used once.
- **One form.** A frame is canonical JSON or it is refused, so no octet of the exchange can be changed
  unnoticed.
- **Who proves first.** The guest: so an exchange that is begun and left is no guess, and who only asks
  learns nothing. A wrong proof is a guess, and the code is void after it. The host makes nothing that lasts
  before the guest has said that it has the gift.
- **How good is the code?** See `codes`.

Rules of this room: no I/O, no clock. `Host` and `Guest` take what was received with `receive_data` and give
events by `next_event` until that is None; their other methods make the frames. What takes long (some 10 to
100 ms: SPAKE2 is pure Python here) is said to be slow, for a thread to do. Bounds: `HEADER_MAX` and
`GIFT_OCTETS_MAX` octets a frame. No octets from outside raise anything but `PairingError`.
"""

from appliance.pairing.codes import CODES, Code
from appliance.pairing.errors import BadCode, BadFrame, Impostor, PairingError, Refused
from appliance.pairing.frames import is_pairing
from appliance.pairing.gifts import Gift, NodeGift
from appliance.pairing.guest import Confirmed, Given, Guest, Shared
from appliance.pairing.host import Asked, Host, Proved, Taken
from appliance.pairing.uri import Invitation

__all__ = [
    "CODES",
    "Asked",
    "BadCode",
    "BadFrame",
    "Code",
    "Confirmed",
    "Gift",
    "Given",
    "Guest",
    "Host",
    "Impostor",
    "Invitation",
    "NodeGift",
    "PairingError",
    "Proved",
    "Refused",
    "Shared",
    "Taken",
    "is_pairing",
]
