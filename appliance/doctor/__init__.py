"""Looks at everything that a box needs, and says what is wrong and what to do. With or without a running
box; it changes nothing.

finding     one thing looked at           data        the folder, its disk, who may read it
clock       the time                      reach       certificate, port, network
memberships links to other sites
everything  all of them, in order
"""

from appliance.doctor.everything import examine
from appliance.doctor.finding import Finding

__all__ = ["Finding", "examine"]
