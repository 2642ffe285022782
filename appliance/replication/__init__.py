"""Replication: how the boxes of a site stay the same, and how one that is blank becomes one of them.

Every box has the journals of all boxes. Two boxes that are linked tell each other how far they have each of
them, send each other what is missing, and from then on everything as it is committed. So any box learns
everything from any other, directly or not, each entry once, and never an effect before its cause.

Boxes call each other on the port that clients use, by the TLS server name ``peer.pocket.internal``, for which
a box shows a certificate of its own key (TLS 1.3). The frames are TMTP's (revision 1, section 1): a canonical
JSON header, then data, here MessagePack. Of the two the *dialer* has called, the *acceptor* was called.

    dialer    {"box","nonce","op":"hello","purpose","version"}      who it says it is; sync, copy, or anew
    acceptor  {"nonce","op":"challenge","version"}                  it is a box of the site; or quit
    dialer    {"op":"proof","proof"}                                it has that box's key
    acceptor  {"op":"welcome"}                                      this is the one link; or quit
    both      {"clock","complete","epoch","op":"state","program"}   how far it has each journal, with digests

    both, from then on, in any order:

    {"epoch","follow","live","op":"entries"}   entries, with the octets of their messages as far as they fit
    {"op":"messages","part"}                   octets: a part of the entries before, or an answer to wants
    {"epoch","op":"reached"}                   all up to these positions was sent: what follows is live
    {"absent","op":"have"}                     journals up to here and these blobs are on stable storage
    {"box","op":"gap"}                         what the other one lacks is gone: it takes a copy to come back
    {"box","op":"bar"}                         that box's entries are left out: they are others than here
    {"op":"wants"}                             octets of which messages are wanted
    {"octets","offset","op":"want","sha"}      octets of a blob are wanted
    {"offset","op":"chunk","sha"}              at most 64 KiB of them
    {"op":"lacking","sha"}                     that blob is not here
    {"absent","clock","op":"beat"}             every second
    {"op":"tell","topic"}                      something of the moment
    {"op":"anew","proof","public"}             the dialer wants to be the box with this key from now on
    {"op":"taken","slot"}                      that one is of the site
    {"box","op":"show","version"}              the dialer's only frame: entries, in place of a hello
    {"code","error","op":"quit"}               the end, and why

- **Who is who.** The dialer pins the acceptor's key, which TLS has shown to be there. The dialer signs both
  nonces and both keys, so a proof is good for one link between these two. Who is not of the site gets no
  further than hello, and until the proof nobody can make a box hold more than 64 KiB.
- **Acks of level 2** wait for ``have``. It says that the entry, all octets that came with it, and the blobs
  named are on the disk. What is small goes first, entries go in frames of 64 KiB, blobs in chunks between
  them; and no more entries are under way than the other side can take at once, so nothing urgent is behind
  something long.
- **Entries are not everything.** ``absent`` says of how many pending messages (1000: or more) the octets or
  the file have yet to come: a box that has all entries can be far from having what they are about, and until
  then it is not in sync.
- **Catching up** is read from the database in clock order; ``stream`` has how that becomes live without a
  hole. Both sides rest as long as they work at it, so those whom they serve hardly notice.
- **Epochs.** Who had to let entries go (a full disk) says ``state`` again, with a new epoch, and leaves out
  what was sent before that was read.
- **Forks.** A journal has one history. ``judging`` has what happens where two boxes know two.
- **Anew.** A box that was shown that its journal has gone on elsewhere (a card put back, or copied) makes a
  new key, and signs it with the old one, once, on a link for nothing else. It is let in as a new box if the
  old one was not put out, and takes a copy.
- **Shown.** A card from before the caller joined does not know the caller. That one shows it what it was,
  with entries that prove themselves (``showing``).
- **Versions.** Both speak the lower one. Fields and ops of a newer version than ours are left out.
- **Trust.** The boxes of a site trust each other to be boxes of the site, and with nothing else: signatures,
  hashes, order and sizes are looked at on arrival. Who breaks the rules is refused, which is logged once,
  told in ``Hub.peers`` and in health with what to do, and called again ever more rarely.

| file | has |
|---|---|
| `frames` `bodies` `events` `errors` | what may be in a frame, and what it says |
| `engine` | the states of a link, as tables |
| `stream` `outgoing` `intake` | what goes out in which order, what is absorbed in which batches |
| `link` `greeting` `host` | one link's beginning and tasks, and what they need to know |
| `dial` `identity` | finding a box, and the keys |
| `judging` | whether what another box has fits to what is here |
| `fetching` | blobs and octets that did not come along |
| `hub` `neighbour` `view` | all links, and how they do |
| `copying` | a copy for a box that joins or comes back |
| `anew` `showing` | how a box asks to become another one; how one is shown that it has to |

Rules of this room: the first three rows do no I/O and have no clock. No octets from outside raise anything
but ``PeerError``. Every link ends in one place, and harms nothing else.
"""

from appliance.replication.copying import Copier, CopyProgress, CopyStore, Source, Spoiled
from appliance.replication.hub import Hub, Site
from appliance.replication.identity import Identity
from appliance.replication.neighbour import PeerStatus

__all__ = [
    "Copier",
    "CopyProgress",
    "CopyStore",
    "Hub",
    "Identity",
    "PeerStatus",
    "Site",
    "Source",
    "Spoiled",
]
