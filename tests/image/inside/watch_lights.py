"""watch_lights.py PLAIN DIMMED: looks at two pins (the sim_gpioN/value of gpio-sim) all the time.

Says "edge SECONDS LEVEL" of the plain one when it changes, and each tenth of a second
"share SECONDS SHARE", for which part of it the dimmed one was on.
"""

import os
import random
import sys
import time

EACH_S = 0.1

plain, dimmed = (os.open(path, os.O_RDONLY) for path in sys.argv[1:3])
level, looked, on, ends = b"", 0, 0, time.monotonic() + EACH_S
while True:
    now = time.monotonic()
    found = os.pread(plain, 1, 0)
    if found != level:
        level = found
        print("edge", f"{now:.4f}", level.decode())
    looked += 1
    on += os.pread(dimmed, 1, 0) == b"1"
    if now >= ends:
        print("share", f"{now:.4f}", f"{on / looked:.3f}")
        looked, on, ends = 0, 0, now + EACH_S
    # Not in step with the pin, which is switched a hundred times a second.
    time.sleep(random.uniform(0.001, 0.004))
