"""Being one of several boxes: joining a site, who the others are and how they are, and leaving for a moment.

Replication itself is `appliance.replication`; this room decides who is let in, and tells people.
"""

from appliance.peering.errors import NotLetIn, PeeringError
from appliance.peering.identity import ensure_identity, follow_identity, write_identity
from appliance.peering.links import Links
from appliance.peering.naming import tell_noted
from appliance.peering.outage import LocalName, Outage
from appliance.peering.peering import Peering, Settings
from appliance.peering.placing import all_addresses, ensure_box, place_of, reachable, tell_place
from appliance.peering.standing import Standing

__all__ = [
    "Links",
    "LocalName",
    "NotLetIn",
    "Outage",
    "Peering",
    "PeeringError",
    "Settings",
    "Standing",
    "all_addresses",
    "ensure_box",
    "ensure_identity",
    "follow_identity",
    "place_of",
    "reachable",
    "tell_noted",
    "tell_place",
    "write_identity",
]
