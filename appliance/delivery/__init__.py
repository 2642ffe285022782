"""Delivery: from a node's queue to its link, with a window of messages in flight."""

from appliance.delivery.courier import Courier, CourierSettings
from appliance.delivery.exchange import Connection, Exchange

__all__ = ["Connection", "Courier", "CourierSettings", "Exchange"]
