# What steps that take packages share. Sourced by them.

# words FILE...: the words of package lists, with commas between them.
words() {
    sed 's/#.*//' "$@" | xargs -n 1 | paste -sd , -
}

# sources: the lines of a sources.list, from the mirror that the build was given.
sources() {
    local suite
    for suite in trixie trixie-updates trixie-backports; do
        echo "deb $MIRROR $suite main non-free-firmware"
    done
    [ -z "$SECURITY_MIRROR" ] || echo "deb $SECURITY_MIRROR trixie-security main non-free-firmware"
}
