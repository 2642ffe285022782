"""The site: accounts, groups, presence, and what becomes of each request. Pure, synchronous, no I/O, no
clock.
"""

from typing import TYPE_CHECKING, Any

from appliance.site.boxes import (
    add_box,
    heirs,
    place_box,
    replace_box,
    revoke_box,
    set_identity,
    set_recovery,
    tell_lost,
)
from appliance.site.facts import LASTING, TRAFFIC, Fact, decode_facts, encode_facts
from appliance.site.memberships import Membership
from appliance.site.message import EMPTY, RANK_NORMAL, RANK_USER, Decision, Message, Payload, content_digest
from appliance.site.mint import Mint
from appliance.site.people import add_device, add_member, device_problem, drop_node, find_owner, set_owner
from appliance.site.presence import OFFLINE, ONLINE, Presence
from appliance.site.renumbering import Renumbering
from appliance.site.rules import Credentials, decide, login, register
from appliance.site.scene import Limits, Load, Scene
from appliance.site.state import Box, Change, Group, Identity, Member, NameLost, Node, Site

if TYPE_CHECKING:
    from appliance.site.relaying import (
        Echo,
        add_membership,
        add_relay_device,
        drop_membership,
        relay_answered,
        relay_in,
        relay_login,
        relay_newnode,
        relay_out,
        set_archive,
        set_credential,
        set_membership,
        set_sealing,
        trim,
    )

__all__ = [
    "EMPTY",
    "LASTING",
    "OFFLINE",
    "ONLINE",
    "RANK_NORMAL",
    "RANK_USER",
    "TRAFFIC",
    "Box",
    "Change",
    "Credentials",
    "Decision",
    "Echo",
    "Fact",
    "Group",
    "Identity",
    "Limits",
    "Load",
    "Member",
    "Membership",
    "Message",
    "Mint",
    "NameLost",
    "Node",
    "Payload",
    "Presence",
    "Renumbering",
    "Scene",
    "Site",
    "add_box",
    "add_device",
    "add_member",
    "add_membership",
    "add_relay_device",
    "content_digest",
    "decide",
    "decode_facts",
    "device_problem",
    "drop_membership",
    "drop_node",
    "encode_facts",
    "find_owner",
    "heirs",
    "login",
    "place_box",
    "register",
    "relay_answered",
    "relay_in",
    "relay_login",
    "relay_newnode",
    "relay_out",
    "replace_box",
    "revoke_box",
    "set_archive",
    "set_credential",
    "set_identity",
    "set_membership",
    "set_owner",
    "set_recovery",
    "set_sealing",
    "tell_lost",
    "trim",
]


def __getattr__(name: str) -> Any:
    """What is decided about memberships is loaded when there is one: most boxes have none."""
    if name not in __all__:
        raise AttributeError(name)
    from appliance.site import relaying

    return getattr(relaying, name)
