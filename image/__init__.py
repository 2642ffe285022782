"""Builds, flashes and boots the firmware. README.md in this folder is the way in; the standard library is
all it needs."""
