#!/bin/bash
# The locked Python packages for the board's architecture, and the source of lgpio, which has no wheel. Runs on this machine:
# pip takes them from where it is set up to.
set -eu
"$PYTHON" -m image fetch "$ARCH" "$OUT"
