"""How a box is found in its network without an address: mDNS and DNS-SD (RFC 6762, RFC 6763), by zeroconf.

Announced are ``_tmtp._tcp`` with the port, and ``_tmtp-pair._tcp`` while pairing is open; the text says
txtvers=1, version, an 8-character id, the site's id if it has peers, and never who lives here.

How it goes: ``netlink`` says when interfaces or addresses change, ``plan`` decides what to do with them,
``responder`` announces and answers (zeroconf, on its own thread, behind a ``gate``), ``ear`` hears who else
uses our names, ``service`` decides. Whatever goes wrong is told in health and tried again; the box goes on.

Boxes of one site share a name beside their own, such as home.local: one of them holds it, and when that is
gone another takes it in under 3 s. ``keeper`` decides who, ``wording`` makes and reads the packets, ``desk``
sends and hears them, ``vouching`` keeps the name from a box that does not serve, ``shared`` shows it to the
rest of the box. ``peers`` tells where the site's other boxes are.
"""

from appliance.discovery.finding import DiscoveryError, find, find_now
from appliance.discovery.found import Found
from appliance.discovery.peers import FoundPeer
from appliance.discovery.service import run_discovery
from appliance.discovery.settings import DiscoverySettings
from appliance.discovery.shared import SiteName

__all__ = [
    "DiscoveryError",
    "DiscoverySettings",
    "Found",
    "FoundPeer",
    "SiteName",
    "find",
    "find_now",
    "run_discovery",
]
