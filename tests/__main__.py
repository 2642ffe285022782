"""All tests: `python -m tests`, which is what `make test` does. With arguments, pytest with those, as it is.

All tests are two passes: first those that do not mind company, several files at a time; then, one after
another, those that are marked `alone`, since they measure time or want the whole machine. Both are run in any
case; the exit status is that of the first that failed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

WORKERS = int(os.environ.get("POCKET_WORKERS", "0")) or min(2 * (os.cpu_count() or 1), 6)
"""How many files at a time: most tests wait more than they compute. Each takes up to 370 MB and its boxes."""

PASSES = {
    f"{WORKERS} at a time": [
        *("-m", "not alone"),
        *("-n", str(WORKERS), "--dist", "loadfile", "--no-loadscope-reorder"),
    ],
    "one after another": ["-m", "alone"],
}


def run_all() -> int:
    statuses, told = [], []
    for name, arguments in PASSES.items():
        print(f"--- {name}", flush=True)
        began = time.monotonic()
        status = subprocess.run([sys.executable, "-m", "pytest", *arguments], check=False).returncode
        statuses.append(status)
        told.append(f"{name}: {'FAILED' if status else 'passed'} in {time.monotonic() - began:.0f} s")
    print("---", *told, sep="\n", flush=True)
    return next(filter(None, statuses), 0)


if __name__ == "__main__":
    if sys.argv[1:]:
        os.execv(sys.executable, [sys.executable, "-m", "pytest", *sys.argv[1:]])
    sys.exit(run_all())
