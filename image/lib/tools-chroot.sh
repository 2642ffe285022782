#!/bin/bash
# tools-chroot.sh TOOLS FOLDER... -- COMMAND...: run COMMAND in the tools folder, with each FOLDER at its own path in there. What
# it mounts and starts ends with it. Needs root.
set -eu
tools=$1
shift
folders=()
while [ "$1" != -- ]; do
    folders+=("$1")
    shift
done
shift
if [ "${IN_NAMESPACE-}" != yes ]; then
    IN_NAMESPACE=yes exec unshare --mount --propagation private --pid --fork --kill-child "$0" "$tools" "${folders[@]}" -- "$@"
fi
unset IN_NAMESPACE
mount -t proc proc "$tools/proc"
mount --rbind /sys "$tools/sys"
mount --rbind /dev "$tools/dev"
mount -t tmpfs tmpfs "$tools/tmp"
for file in /etc/resolv.conf /etc/hosts; do
    [ -e "$file" ] || continue
    touch "$tools$file"
    mount --bind "$(realpath "$file")" "$tools$file"
done
for folder in "${folders[@]}"; do
    mkdir -p "$tools$folder"
    mount --bind "$folder" "$tools$folder"
done
exec chroot "$tools" "$@"
