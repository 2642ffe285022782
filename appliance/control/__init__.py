"""How commands reach a running box: one JSON line each way over a socket in the data folder, for its owner
only.

    {"word": "device.drop", "args": {"device": "ABC/phone"}}

    {"ok": true, "result": ...}    or    {"ok": false, "error": "what is wrong and what to do"}

The server closes after its answer. The client side, `call`, is here; it is light, for commands that start
fast. The server side is `appliance.control.server.serve_control`, which needs trio.
"""

from appliance.control.client import call, not_allowed
from appliance.control.errors import ControlError, NoAnswer, NoBox, NotAllowed, Refused
from appliance.control.place import control_path

__all__ = [
    "ControlError",
    "NoAnswer",
    "NoBox",
    "NotAllowed",
    "Refused",
    "call",
    "control_path",
    "not_allowed",
]
