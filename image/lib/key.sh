#!/bin/bash
# The builder's signing key in $KEYS, made on first use: it signs images and updates, and every image made here trusts it. Whoever has
# the folder can make updates for the boxes; whoever loses it cannot any more.
set -eu
export GNUPGHOME=/tmp/gnupg
mkdir -m 700 $GNUPGHOME
if [ ! -e "$KEYS/secret.asc" ]; then
    gpg --batch --quiet --passphrase '' --quick-generate-key "Pocket image builder" ed25519 sign never
    (umask 077 && gpg --batch --quiet --armor --export-secret-keys >"$KEYS/secret.asc.new")
    gpg --batch --quiet --export >"$KEYS/public.gpg"
    mv "$KEYS/secret.asc.new" "$KEYS/secret.asc"
fi
