"""How a box is found in its network without an address: mDNS and DNS-SD (RFC 6762, RFC 6763), by zeroconf.

Announced are ``_tmtp._tcp`` with the port, and ``_tmtp-pair._tcp`` while pairing is open; the text says
txtvers=1, version and an 8-character id, and never who lives here.

How it goes: ``netlink`` says when interfaces or addresses change, ``plan`` decides what to do with them,
``responder`` announces and answers (zeroconf, on its own thread, behind a ``gate``), ``ear`` hears who else
uses our names, ``service`` decides. Whatever goes wrong is told in health and tried again; the box goes on.
"""

from appliance.discovery.finding import DiscoveryError, Found, find, find_now
from appliance.discovery.service import run_discovery
from appliance.discovery.settings import DiscoverySettings

__all__ = ["DiscoveryError", "DiscoverySettings", "Found", "find", "find_now", "run_discovery"]
