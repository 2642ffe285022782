#!/bin/bash
# disk.img: the partitions one after the other, as the table in image/layouts says.
set -eu
python3 "$IMAGE/lib/disk.py" "$LAYOUT" "$OUT/disk.img"
