"""Pairing: how a new device gets its password, and a new box its site, with nothing secret shown and nobody
in between.

A person reads a short code on one side and types it on the other. SPAKE2 makes of it a key that only those
two have: who listens learns nothing, and who guesses has one guess, which the other side notices.

Terms. The *host* shows the code: a box. The *guest* types it: a new device, or a blank box that becomes a
peer. What the host gives is a *gift*; its kind says what for.

The exchange runs over the TLS port of the site, in TMTP's framing (TMTP revision 1, section 1), on a link
of its own. Its ops are 100 to 107, which no TMTP client sends and for which a TMTP server closes the link;
a host tells a guest from a client by the first frame. In it, in this order:

    guest  {"code":1,"kind":"node","op":100,"share":X,"version":1}   which code, what for, its SPAKE2 message
    host   {"op":"pair","share":Y}                                   the host's
    guest  {"op":101,"proof":P}                                      it has the code: this is the guess
    host   {"op":"proof","proof":P}                                  so has the host
    host   {"datalen":N,"op":"gift"} and N octets                    the gift, encrypted
    guest  {"op":102,"proof":P}                                      the guest has it
    host   {"op":"paired","proof":P}                                 it is in force
    host   {"error":REASON,"op":"quit"}                              instead of any of its frames: the end

A box asks with ``"kind":"box"``. Right behind its proof it says who it is (a *card*), and what it is told at
the end is its *slot*, because that is certain only when the site has it on stable storage:

    guest  {"datalen":N,"op":103} and N octets                       the card, encrypted
    host   {"op":"placed","proof":P,"slot":S}                        in place of "paired"

Two boxes can do without a code: `buttons` has that exchange, with ops 104 to 107.

- **Bound to the channel.** The fingerprint of the certificate, as each side sees it, is part of the host's
  SPAKE2 identity. Somebody in between has another certificate, so the two keys differ and the first proof
  is wrong.
- **Proofs** are HMAC-SHA256 over all frames so far, octet for octet, each with a key of its own; the keys
  come by HKDF-SHA256 from SPAKE2's key and the first two frames. They are compared in constant time. Gift
  and card are encrypted with ChaCha20-Poly1305, each under a key that is used once. The slot is part of what
  the key of its proof is made from.
- **One form.** A frame is canonical JSON or it is refused, so no octet of the exchange can be changed
  unnoticed.
- **Who proves first.** The guest: so an exchange that is begun and left is no guess, and who only asks
  learns nothing. A wrong proof is a guess, and the code is void after it. The host makes nothing that lasts
  before the guest has said that it has the gift.
- **How good is the code?** See `codes`.

Rules of this room: no I/O, no clock. `Host` and `Guest` take what was received with `receive_data` and give
events by `next_event` until that is None; their other methods make the frames. What takes long (some 10 to
100 ms: SPAKE2 is pure Python here) is said to be slow, for a thread to do. Bounds: `HEADER_MAX` octets and a
gift's or card's a frame. No octets from outside raise anything but `PairingError`.
"""

from appliance.pairing.buttons import ButtonGuest, ButtonHost, Committed, Compared, Opened
from appliance.pairing.codes import CODES, Code
from appliance.pairing.errors import BadCode, BadFrame, Impostor, PairingError, Refused
from appliance.pairing.frames import is_by_button, is_pairing
from appliance.pairing.gifts import BoxCard, BoxEntry, BoxGift, Gift, NodeGift
from appliance.pairing.guest import Confirmed, Given, Guest, Shared
from appliance.pairing.host import Asked, Host, Introduced, Proved, Taken
from appliance.pairing.uri import Invitation

__all__ = [
    "CODES",
    "Asked",
    "BadCode",
    "BadFrame",
    "BoxCard",
    "BoxEntry",
    "BoxGift",
    "ButtonGuest",
    "ButtonHost",
    "Code",
    "Committed",
    "Compared",
    "Confirmed",
    "Gift",
    "Given",
    "Guest",
    "Host",
    "Impostor",
    "Introduced",
    "Invitation",
    "NodeGift",
    "Opened",
    "PairingError",
    "Proved",
    "Refused",
    "Shared",
    "Taken",
    "is_by_button",
    "is_pairing",
]
