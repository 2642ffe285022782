"""A load generator: many TMTP clients in one thread, that check what they measure.

`python -m tests.load --help` runs it against any server; tests/bench, tests/crash and tests/abuse use its
parts. It speaks through appliance.wire.ClientLink, over real TLS sockets.
"""

from .proc import Usage, peak_mb, reset_peak, rss_mb, usage
from .reactor import Line, Reactor
from .scenarios import PRESETS, Preset, Scenario
from .tally import Tally
from .user import User

__all__ = [
    "PRESETS",
    "Line",
    "Preset",
    "Reactor",
    "Scenario",
    "Tally",
    "Usage",
    "User",
    "peak_mb",
    "reset_peak",
    "rss_mb",
    "usage",
]
