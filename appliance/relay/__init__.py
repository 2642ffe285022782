"""The relay: links to other TMTP sites at which members of this site have accounts (memberships)."""

from appliance.relay.enrolment import Enrolled, Greeting
from appliance.relay.errors import (
    CertificateChanged,
    EnrolmentFailed,
    LoginRefused,
    NoRoom,
    RelayError,
    UpstreamBroke,
    UpstreamBusy,
    UpstreamLost,
)
from appliance.relay.relay import Relay
from appliance.relay.settings import RelaySettings

__all__ = [
    "CertificateChanged",
    "Enrolled",
    "EnrolmentFailed",
    "Greeting",
    "LoginRefused",
    "NoRoom",
    "Relay",
    "RelayError",
    "RelaySettings",
    "UpstreamBroke",
    "UpstreamBusy",
    "UpstreamLost",
]
