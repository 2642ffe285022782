# What steps that put files together share. Sourced by them.

# in_epoch FOLDER: everything in there bears the time of the sources.
in_epoch() {
    find "$1" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
}

# kernel_version TREE: the version of the one kernel in there.
kernel_version() {
    (cd "$1/usr/lib/modules" && echo *)
}

# os_release: what /etc/os-release of the image says.
os_release() {
    cat <<END
NAME="Pocket"
PRETTY_NAME="Pocket $VERSION"
ID=pocket
ID_LIKE=debian
VERSION_ID="$VERSION"
IMAGE_ID=pocket
IMAGE_VERSION="$VERSION"
END
}
