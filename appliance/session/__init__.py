"""Sessions: clients' links, from the accepted connection to the last quit."""

from appliance.session.addresses import Place, addresses_of
from appliance.session.buttons import Buttons, Try
from appliance.session.errors import LinkLost
from appliance.session.gate import GateSettings
from appliance.session.household import Household
from appliance.session.listener import Listener
from appliance.session.oidc import Provider, Verifier
from appliance.session.pairing import NotNow, Offer, Pairing
from appliance.session.service import Caller, LinkSettings, Service
from appliance.session.sockets import listen, watch_peer
from appliance.session.tls import PEER_NAME, TlsStream, let_peers_in, notice_peers

__all__ = [
    "PEER_NAME",
    "Buttons",
    "Caller",
    "GateSettings",
    "Household",
    "LinkLost",
    "LinkSettings",
    "Listener",
    "NotNow",
    "Offer",
    "Pairing",
    "Place",
    "Provider",
    "Service",
    "TlsStream",
    "Try",
    "Verifier",
    "addresses_of",
    "let_peers_in",
    "listen",
    "notice_peers",
    "watch_peer",
]
