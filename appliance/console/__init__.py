"""The serial console: the words of the `pocket` command on a cable, and Improv over the same port.

port        opens ports as they come and go         outbox        what waits to be sent on one
editor      a line editor, sans-I/O                 improv        packets of Improv, sans-I/O
shell       runs the words                          process       runs any program, within bounds
session     one open port: ties these together      wifi          NetworkManager, by nmcli
run         the task that the box starts            provisioning  Improv's requests, wifi's answers
doctor      what is wrong with ports and Wi-Fi
"""

from appliance.console.doctor import Finding, check_console
from appliance.console.run import ConsoleSettings, run_console
from appliance.console.session import Actions

__all__ = ["Actions", "ConsoleSettings", "Finding", "check_console", "run_console"]
