"""Sessions: clients' links, from the accepted connection to the last quit."""

from appliance.session.addresses import Place, addresses_of
from appliance.session.gate import GateSettings
from appliance.session.household import Household
from appliance.session.listener import Listener
from appliance.session.oidc import Provider, Verifier
from appliance.session.pairing import NotNow, Offer, Pairing
from appliance.session.service import LinkSettings, Service
from appliance.session.sockets import listen

__all__ = [
    "GateSettings",
    "Household",
    "LinkSettings",
    "Listener",
    "NotNow",
    "Offer",
    "Pairing",
    "Place",
    "Provider",
    "Service",
    "Verifier",
    "addresses_of",
    "listen",
]
