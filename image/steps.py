"""The steps of a build, in order, and what each depends on. A step is done again only when something of
that changed.

Each is a short script in steps/. It finds what it needs in its environment: IMAGE (this folder), REPO, the
settings that it names, and for each step that it comes after a folder with that step's results (BASE,
ROOT, ...). It puts its own results into the folder OUT. Most run in the tools folder, where all programs
are those of one Debian release.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Step:
    name: str
    says: str
    after: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    """What of the board and the build its result depends on."""
    files: tuple[str, ...] = ()
    """Files and folders of this repository that it reads, beside its script and what that names of lib/;
    @BOARD and @LOADER are replaced."""
    tools: bool = True
    """It runs in the tools folder."""
    root: bool = False
    """It makes files of several owners, so only root can."""


STEPS = (
    Step(
        "tools",
        "the programs that build images",
        (),
        ("HOST_ARCH",),
        ("image/packages/tools.list",),
        False,
        True,
    ),
    Step("base", "Debian's packages", ("tools",), ("ARCH",), ("image/packages/root.list",), root=True),
    Step("debs", "kernel, boot loader, firmware", ("tools",), ("ARCH", "DEBS")),
    Step(
        "wheels",
        "Python packages",
        (),
        ("ARCH",),
        ("image/wheels.lock", "image/lgpio.lock", "image/wheels.py"),
        False,
    ),
    Step("lgpio", "the library for pins", ("tools", "debs", "wheels"), ("ARCH",)),
    Step(
        "root",
        "the read-only system",
        ("tools", "base", "debs", "wheels", "lgpio"),
        ("ARCH", "BOARD", "LOADER", "VERSION", "KEY", "SOURCE_DATE_EPOCH"),
        (
            "appliance",
            "systemd",
            "image/overlay/common",
            "image/overlay/@LOADER",
            "image/overlay/@BOARD",
            "image/packages/modules.drop",
        ),
        root=True,
    ),
    Step("initrd", "what mounts it", ("tools", "debs"), ("ARCH", "SOURCE_DATE_EPOCH"), ("image/initrd",)),
    Step(
        "uki", "the kernel", ("tools", "debs", "initrd"), ("ARCH", "VERSION", "CMDLINE", "SOURCE_DATE_EPOCH")
    ),
    Step(
        "boot",
        "the boot partition",
        ("tools", "debs", "uki"),
        ("ARCH", "BOARD", "LOADER", "VERSION", "BOOT_MIB", "SOURCE_DATE_EPOCH"),
        (
            "image/boot/pocket.toml",
            "image/boot/@LOADER.sh",
            "image/boot/@LOADER.cmd",
            "image/boot/@BOARD.sh",
            "image/boot/config.txt",
            "image/lib/u_boot_state.py",
        ),
    ),
    Step("data", "the data partition", ("tools",), ("DATA_MIB", "DATA_UUID", "SOURCE_DATE_EPOCH"), ()),
    Step("disk", "the disk", ("tools", "boot", "root", "data"), ("ARCH", "BOARD", "VERSION", "LAYOUT"), ()),
    Step(
        "pack",
        "image, update and list of contents",
        ("tools", "disk", "root", "uki", "base", "debs", "wheels"),
        ("BOARD", "ARCH", "VERSION", "KEY", "SOURCE_DATE_EPOCH"),
    ),
)
