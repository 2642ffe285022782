"""What end-to-end tests are written with: a real process (Box), a client over real TLS (Client), a line
for wrong octets (Raw), people, and an independent judge of the server's frames."""

from .box import SITE, Box, Refused
from .client import Client, with_sender, without_sender
from .command import pocket
from .frames import NODEID, UID, Frame, canonical, crc32c, head_of
from .line import HungUp, Raw, Silence, framed
from .mailbox import Quit, mentions
from .people import People, before_curtain, fresh, nothing_more_for, settle
from .ports import free_port

__all__ = [
    "NODEID",
    "SITE",
    "UID",
    "Box",
    "Client",
    "Frame",
    "HungUp",
    "People",
    "Quit",
    "Raw",
    "Refused",
    "Silence",
    "before_curtain",
    "canonical",
    "crc32c",
    "framed",
    "free_port",
    "fresh",
    "head_of",
    "mentions",
    "nothing_more_for",
    "pocket",
    "settle",
    "with_sender",
    "without_sender",
]
