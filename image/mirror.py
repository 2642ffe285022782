"""Where Debian's packages come from: MIRROR, or what this machine's apt uses."""

from __future__ import annotations

import os
import shutil
import subprocess

from .errors import ImageError


def mirrors() -> tuple[str, str]:
    """The addresses of a Debian mirror and of its security updates; the second may be empty. The settings
    MIRROR and SECURITY_MIRROR win over what apt has. ImageError if neither is there."""
    mirror, security = os.environ.get("MIRROR", ""), os.environ.get("SECURITY_MIRROR", "")
    if not mirror:
        mirror = of_apt("Debian")
        security = security or of_apt("Debian-Security")
    if not mirror:
        raise ImageError(
            "this machine's apt knows no Debian mirror: give one, as in make image MIRROR=http://HOST/debian"
        )
    return mirror, security


def of_apt(label: str) -> str:
    """The address that apt has for the repository with that label; empty if there is none."""
    if shutil.which("apt-get") is None:
        return ""
    told = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Origin: Debian", f"Label: {label}"],
        capture_output=True,
        text=True,
        check=False,
    )
    return told.stdout.split("\n")[0].rstrip("/")
