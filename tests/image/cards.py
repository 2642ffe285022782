"""A card whose power can go at any operation, and what the machine's firmware makes of what is left on it.

What was not synced may have reached the card or not, sector by sector, in any order, and one sector may be
spoiled. The firmware here is written from its own rules (systemd-boot's, boot/u-boot.cmd's, Linux's for
partition tables), and shares no code with the system's side.
"""

import random
import re
import struct
import zlib

SECTOR = 512
SECTORS = 2048
HEADER = struct.Struct("<8sIIIIQQQQ16sQIII")
ENTRIES = 16
"""Fewer than the 128 of a real table, for the sake of time."""
SLOT_OCTETS = 64 * SECTOR
PARTITIONS = {
    "pocket-boot": (64, 8),
    "pocket-state": (256, 256),
    "pocket_0.1.0": (512, 64),
    "_empty": (576, 64),
    "pocket-data": (700, 8),
}
ENTRY = "title Pocket {0}\nsort-key pocket\nversion {1}\nefi /EFI/pocket/pocket_{0}.efi\n"


def root(version):
    """The system of a version: octets that tell it apart from any other."""
    return random.Random(version).randbytes(SLOT_OCTETS - 700)


def kernel(version):
    return f"kernel {version} ".encode() + random.Random(version).randbytes(3000)


def pieces(octets, size=3 * SECTOR):
    return [octets[at : at + size] for at in range(0, len(octets), size)]


class Cut(BaseException):
    """The power went."""


class Power:
    """Goes at the operation with this number; never for None."""

    def __init__(self, seed=0):
        self.random, self.count, self.limit = random.Random(seed), 0, None

    def tick(self):
        self.count += 1
        if self.limit is not None and self.count > self.limit:
            raise Cut


class CardDisk:
    """slots_disk.Disk on a card."""

    def __init__(self, power, octets):
        self.power, self.octets = power, len(octets)
        self.card, self.seen, self.waiting = bytearray(octets), bytearray(octets), set()

    def read(self, at, count):
        assert 0 <= at <= at + count <= self.octets
        unsure = self.waiting & set(range(at // SECTOR, -(-(at + count) // SECTOR)))
        assert not unsure, "what is read has not been synced: it proves nothing"
        return bytes(self.seen[at : at + count])

    def write(self, at, octets):
        for start in range(at, at + len(octets), SECTOR):
            self.power.tick()
            piece = octets[start - at : start - at + SECTOR]
            self.seen[start : start + len(piece)] = piece
            self.waiting.add(start // SECTOR)

    def sync(self):
        self.power.tick()
        self._reach(self.waiting)

    def _reach(self, sectors):
        for sector in sectors:
            span = slice(sector * SECTOR, (sector + 1) * SECTOR)
            self.card[span] = self.seen[span]
        self.waiting = set()

    def cut(self):
        """Some of what waits reaches the card; what is seen from now on is what it has."""
        waiting, chance = sorted(self.waiting), self.power.random
        self._reach({sector for sector in waiting if chance.random() < 0.5})
        if waiting and chance.random() < 0.3:
            at = chance.choice(waiting) * SECTOR
            self.card[at : at + SECTOR] = chance.randbytes(SECTOR)
        self.seen = bytearray(self.card)


class CardFolder:
    """slots_disk.Folder on a card."""

    def __init__(self, power, files, room=(1 << 20) + 20000):
        self.power, self.room = power, room
        self.card, self.seen, self.waiting = dict(files), dict(files), {}

    def names(self, folder):
        return sorted(name.removeprefix(folder + "/") for name in self.seen if name.startswith(folder + "/"))

    def read(self, name):
        yield from pieces(self.seen[name])

    def octets(self, name):
        return len(self.seen[name])

    def free(self):
        return self.room - sum(map(len, self.seen.values()))

    def write(self, name, given):
        content = b""
        self._change(name, content)
        for piece in given:
            content += piece
            self._change(name, content)
        self.sync()

    def remove(self, name):
        self._change(name, None)

    def _change(self, name, content):
        self.power.tick()
        self.seen.pop(name, None)
        if content is not None:
            self.seen[name] = content
        self.waiting[name] = content

    def sync(self):
        self.power.tick()
        self.card, self.waiting = dict(self.seen), {}

    def cut(self):
        for name, content in self.waiting.items():
            old = self.card.get(name)
            wrecks = [old, content]
            if content:
                wrecks += [b"", bytes(len(content))]
            if content and len(content) > SECTOR:
                wrecks.append(content[: self.power.random.randrange(len(content))])
            left = self.power.random.choice(wrecks)
            self.card.pop(name, None)
            if left is not None:
                self.card[name] = left
        self.seen, self.waiting = dict(self.card), {}


def fresh_disk(partitions=None):
    """A disk with 0.1.0, as the build makes it."""
    octets = bytearray(SECTORS * SECTOR)
    entries = b""
    for name, (start, count) in (partitions or PARTITIONS).items():
        entries += struct.pack(
            "<16s16sQQQ", b"t" * 16, name.encode().ljust(16)[:16], start, start + count - 1, 0
        )
        entries += name.encode("utf-16-le").ljust(72, b"\0")
    entries = entries.ljust(ENTRIES * 128, b"\0")
    last = SECTORS - 1
    for lba, other, array in ((1, last, 2), (last, 1, last - ENTRIES // 4)):
        fields = [b"EFI PART", 0x10000, 92, 0, 0, lba, other, 34, last - 33, b"d" * 16, array, ENTRIES, 128]
        fields.append(zlib.crc32(entries))
        fields[3] = zlib.crc32(HEADER.pack(*fields))
        octets[lba * SECTOR : lba * SECTOR + 92] = HEADER.pack(*fields)
        octets[array * SECTOR : array * SECTOR + len(entries)] = entries
    start = PARTITIONS["pocket-state"][0] * SECTOR
    for at in (start, start + 65536):
        octets[at : at + 4096] = state_block({"pocket_version": "0.1.0", "pocket_left": "0"})
    at = PARTITIONS["pocket_0.1.0"][0] * SECTOR
    octets[at : at + len(root("0.1.0"))] = root("0.1.0")
    return bytes(octets)


def fresh_files(scheme):
    files = {"EFI/pocket/pocket_0.1.0.efi": kernel("0.1.0"), "pocket.toml": b"# yours"}
    if scheme == "systemd-boot":
        files["loader/entries/pocket_0.1.0.conf"] = ENTRY.format("0.1.0", 1).encode()
    return files


def state_block(variables):
    texts = "".join(f"{name}={value}\0" for name, value in sorted(variables.items())) + "\0"
    body = texts.encode().ljust(4092, b"\0")
    return struct.pack("<I", zlib.crc32(body)) + body


def table(octets, sectors=SECTORS):
    """Name -> start of each partition, as Linux started with `gpt` reads them: the second table only when
    the first one is spoiled."""
    for lba in (1, sectors - 1):
        header = octets[lba * SECTOR : lba * SECTOR + 92]
        fields = HEADER.unpack(header)
        if fields[0] != b"EFI PART" or zlib.crc32(header[:16] + bytes(4) + header[20:]) != fields[3]:
            continue
        entries = octets[fields[10] * SECTOR : fields[10] * SECTOR + 128 * fields[11]]
        if zlib.crc32(entries) != fields[13]:
            continue
        found = {}
        for at in range(0, len(entries), 128):
            if any(entries[at : at + 16]):
                name = entries[at + 56 : at + 128].decode("utf-16-le").rstrip("\0")
                assert name == "_empty" or name not in found, f"two partitions {name}"
                found[name] = struct.unpack_from("<Q", entries, at + 32)[0] * SECTOR
        return found
    raise AssertionError("no partition table")


def start_systemd_boot(folder):
    """The version that systemd-boot starts; it counts in the name."""
    found = []
    for path, content in folder.card.items():
        told = re.fullmatch(r"loader/entries/(.*?)(?:\+(\d+)(?:-(\d+))?)?\.conf", path)
        fields = dict(
            line.split(" ", 1) for line in content.decode(errors="replace").splitlines() if " " in line
        )
        if told and "efi" in fields:
            left = None if told[2] is None else int(told[2])
            found.append((left == 0, -int(fields["version"]), told[1], left, int(told[3] or 0), path, fields))
    *_, name, left, done, path, fields = sorted(found, key=lambda entry: entry[:3])[0]
    if left:
        folder.card[f"loader/entries/{name}+{left - 1}-{done + 1}.conf"] = folder.card.pop(path)
    folder.seen = dict(folder.card)
    return fields["efi"].removeprefix("/")


def read_state(octets, sectors=SECTORS):
    start = table(octets, sectors)["pocket-state"]
    for at in (start, start + 65536):
        block = octets[at : at + 4096]
        if zlib.crc32(block[4:]) == struct.unpack("<I", block[:4])[0]:
            return dict(text.split("=", 1) for text in block[4:].decode().rstrip("\0").split("\0"))
    raise AssertionError("both copies of the state are spoiled")


def start_u_boot(disk):
    """The kernel file that boot/u-boot.cmd starts; it counts in the state."""
    state = read_state(disk.card)
    version = state["pocket_version"]
    if tried := state.get("pocket_try"):
        left = int(state["pocket_left"])
        if left:
            version, state["pocket_left"] = tried, str(left - 1)
        else:
            state["pocket_bad"], state["pocket_try"] = tried, ""
        start = table(disk.card)["pocket-state"]
        for at in (start, start + 65536):
            disk.card[at : at + 4096] = state_block({name: value for name, value in state.items() if value})
        disk.seen = bytearray(disk.card)
    return f"EFI/pocket/pocket_{version}.efi"


def startable(scheme, disk, folder):
    """The kernel files of all that may ever be started."""
    if scheme == "u-boot":
        state = read_state(disk.card, len(disk.card) // SECTOR)
        names = {state.get(f"pocket_{name}") for name in ("version", "try", "old")} - {None, ""}
        return {f"EFI/pocket/pocket_{name}.efi" for name in names}
    entries = [content for name, content in folder.card.items() if name.startswith("loader/entries/")]
    return set(re.findall(r"^efi /(.*)$", b"".join(entries).decode(), re.MULTILINE))


def start(scheme, disk, folder):
    """Start the machine: the version that runs then. AssertionError if it does not come up, or something
    that could be started is not whole."""
    slots = table(disk.card)
    for name in startable(scheme, disk, folder):
        version = folder.card[name].split()[1].decode()
        assert folder.card[name] == kernel(version), f"half a kernel can be started: {name}"
        assert f"pocket_{version}" in slots, f"the system of {name} has no slot"
    for name, at in slots.items():
        version = name.removeprefix("pocket_")
        if version[0].isdigit():
            assert disk.card[at : at + len(root(version))] == root(version), f"half a system: {name}"
    name = start_systemd_boot(folder) if scheme == "systemd-boot" else start_u_boot(disk)
    return folder.card[name].split()[1].decode()
