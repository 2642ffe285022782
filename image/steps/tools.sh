#!/bin/bash
# A Debian 13 folder with the programs that build images, since this machine's own may be too old. Runs on this machine, as root.
set -eu
. "$IMAGE/lib/packages.sh"

command -v mmdebstrap >/dev/null || { echo "mmdebstrap is missing: sudo apt-get install mmdebstrap" >&2; exit 1; }
mmdebstrap --mode=root --variant=apt --architectures="$HOST_ARCH" --format=directory \
    --aptopt='Apt::Install-Recommends "false"' \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --include="$(words "$IMAGE/packages/tools.list")" \
    trixie "$OUT/root" - < <(sources)
