"""Sessions: clients' links, from the accepted connection to the last quit."""

from appliance.session.gate import GateSettings
from appliance.session.listener import Listener
from appliance.session.oidc import Provider, Verifier
from appliance.session.service import LinkSettings, Registration, Service
from appliance.session.sockets import listen

__all__ = [
    "GateSettings",
    "LinkSettings",
    "Listener",
    "Provider",
    "Registration",
    "Service",
    "Verifier",
    "listen",
]
