"""All settings of a box: defaults, the TOML file, the command line. Only `cli` and `app` read it; the rooms
below get plain values.

`load` gives a frozen `Config` or raises a `ConfigError` with everything that is wrong, each with its line.
`render` writes a Config as the commented TOML of sample.toml, which is the manual.
"""

from appliance.config.kinds import Endpoint, format_size, parse_endpoint, parse_size
from appliance.config.reading import ConfigError, Problem, load
from appliance.config.rendering import render, sample
from appliance.config.settings import (
    Auth,
    AuthUrl,
    Button,
    Config,
    Console,
    Delivery,
    Disk,
    Led,
    Limits,
    Link,
    Log,
    Mail,
    Metrics,
    Panel,
    Peer,
    Provider,
    Relay,
    Store,
    Tls,
)

__all__ = [
    "Auth",
    "AuthUrl",
    "Button",
    "Config",
    "ConfigError",
    "Console",
    "Delivery",
    "Disk",
    "Endpoint",
    "Led",
    "Limits",
    "Link",
    "Log",
    "Mail",
    "Metrics",
    "Panel",
    "Peer",
    "Problem",
    "Provider",
    "Relay",
    "Store",
    "Tls",
    "format_size",
    "load",
    "parse_endpoint",
    "parse_size",
    "render",
    "sample",
]
