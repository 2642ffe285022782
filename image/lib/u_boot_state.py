"""u_boot_state.py VERSION: the partition pocket-state as it is at first, on standard output (see
boot/u-boot.cmd)."""

import sys
import zlib

BLOCK = 4096
SECOND = 64 << 10
"""Where the second copy begins."""


def block(variables: dict[str, str]) -> bytes:
    """Variables as U-Boot's `env export -c` writes them."""
    texts = b"".join(f"{name}={value}".encode() + b"\0" for name, value in sorted(variables.items())) + b"\0"
    body = texts.ljust(BLOCK - 4, b"\0")
    return zlib.crc32(body).to_bytes(4, "little") + body


def main() -> None:
    state = block({"pocket_version": sys.argv[1], "pocket_try": "", "pocket_left": "0"})
    sys.stdout.buffer.write(state.ljust(SECOND, b"\0") + state)


if __name__ == "__main__":
    main()
