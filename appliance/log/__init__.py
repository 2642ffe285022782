"""Structured logging, on the standard library's.

    log = get_logger(__name__)
    log.info("node logged in", member=uid, device=number)

An event is a constant text, what varies are fields: so a flood can be told from news, and journald, JSON
and people can each have it their way. No field ever shows a message or a password: values under a name in
`fields.SECRET` are left out, and octets are only counted. A record goes to standard error, as `setup` was
told, and into a ring of the latest ones, which `pocket log` shows. `limit` bounds what a hostile client can
make the box write.
"""

from appliance.log.loggers import Logger, get_logger, recent, setup
from appliance.log.ring import RING_RECORDS

__all__ = ["RING_RECORDS", "Logger", "get_logger", "recent", "setup"]
