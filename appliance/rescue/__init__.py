"""When the data partition of the firmware cannot be used: say so on LEDs and serial console, and mend it.

partition   what is wrong with it, and the two remedies      run   what a person sees, and may ask for

The firmware's system starts this in the place of the box, as root (`pocket-rescue.service`), with
everything that lasts in memory. After a remedy the machine starts anew. On a box that was installed in
another way there is no such partition, and nothing of this.
"""

from appliance.rescue.partition import Partition, RescueError
from appliance.rescue.run import run_rescue

__all__ = ["Partition", "RescueError", "run_rescue"]
