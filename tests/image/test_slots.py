"""Updates, the system's side: what is started is whole, wherever the power goes; what is not what the builder
signed for this board is refused."""

import contextlib
import hashlib
import importlib
import json
import subprocess
import sys

import pytest

from image.board import BOARDS, HERE, board
from tests.image import cards
from tests.image.cards import CardDisk, CardFolder, Cut, Power, kernel, pieces, root

sys.path.insert(0, str(HERE / "overlay/common/usr/lib/pocket-image"))
slots = importlib.import_module("slots")
slots_disk = importlib.import_module("slots_disk")
slots_pair = importlib.import_module("slots_pair")
slots_payload = importlib.import_module("slots_payload")
slots_start = importlib.import_module("slots_start")

SCHEMES = ("systemd-boot", "u-boot")


class Part:
    """A part of a payload that needs no unpacking."""

    def __init__(self, content):
        self.name, self.content = "part", content

    def unpacked(self):
        yield from pieces(self.content)


def payload(version):
    return slots_payload.Payload(version, Part(root(version)), Part(kernel(version)))


class Machine:
    """A machine with 0.1.0 on its card."""

    def __init__(self, scheme, seed=0):
        self.scheme, self.power = scheme, Power(seed)
        self.disk = CardDisk(self.power, cards.fresh_disk())
        self.folder = CardFolder(self.power, cards.fresh_files(scheme))
        self.start()

    def start(self):
        """Switch it on; the version that runs."""
        self.running = cards.start(self.scheme, self.disk, self.folder)
        table = slots_disk.Table(self.disk)
        number = 3 if table.partitions()[2].version == self.running else 4
        if self.scheme == "u-boot":
            rule = slots_start.UBoot(slots_disk.State(self.disk, table.named("pocket-state").start))
        else:
            rule = slots_start.SystemdBoot(self.folder)
        self.slots = slots_pair.Slots(self.disk, table, self.folder, rule, self.running, number)
        self.slots.mend()
        return self.running

    def cut_at(self, limit, what):
        """The power goes at that operation of `what`, which is what is left then. Whether it had ended."""
        self.power.count, self.power.limit = 0, limit
        try:
            what()
            return True
        except Cut:
            return False
        finally:
            self.power.limit = None
            self.disk.cut()
            self.folder.cut()

    def install(self, version):
        self.slots.install(payload(version), lambda percent: None)


def machines(scheme, seeds, prepared, what, least=3):
    """Machines whose power went at each operation of `what`, with different luck."""
    for seed in range(seeds):
        limit, ended = 0, False
        while not ended:
            machine = Machine(scheme, seed * 1000 + limit)
            prepared(machine)
            ended = machine.cut_at(limit, lambda: what(machine))  # noqa: B023
            yield machine
            limit += 1
        assert limit > least


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_new_version_is_tried_blessed_and_stays(scheme):
    machine = Machine(scheme)
    assert machine.slots.trial() is None and machine.slots.other() == (None, "empty")
    machine.install("0.1.1")
    assert machine.slots.other() == ("0.1.1", "trying")
    assert machine.start() == "0.1.1" and machine.slots.trial() == 2
    assert machine.slots.other() == ("0.1.0", "good")
    machine.slots.bless()
    assert machine.slots.trial() is None
    for _ in range(5):
        assert machine.start() == "0.1.1"
    machine.install("0.1.2")
    assert machine.start() == "0.1.2"
    assert "EFI/pocket/pocket_0.1.0.efi" not in machine.folder.card, "what is gone leaves no kernel"


@pytest.mark.parametrize("scheme", SCHEMES)
def test_one_that_does_not_prove_itself_is_given_up_after_three_tries(scheme):
    machine = Machine(scheme)
    machine.install("0.1.1")
    assert [(machine.start(), machine.slots.trial()) for _ in range(5)] == [
        *(("0.1.1", 2), ("0.1.1", 1), ("0.1.1", 0), ("0.1.0", None), ("0.1.0", None))
    ]
    assert machine.slots.other() == ("0.1.1", "given-up")
    machine.install("0.1.2")
    assert machine.start() == "0.1.2"


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_last_try_can_be_blessed(scheme):
    machine = Machine(scheme)
    machine.install("0.1.1")
    for _ in range(3):
        machine.start()
    assert machine.slots.trial() == 0
    machine.slots.bless()
    assert machine.start() == "0.1.1" and machine.slots.trial() is None


@pytest.mark.parametrize("scheme", SCHEMES)
def test_going_back_starts_the_version_before_and_an_older_one_can_be_installed(scheme):
    machine = Machine(scheme)
    with pytest.raises(slots_disk.DiskError, match="no version to go back to"):
        machine.slots.go_back()
    machine.install("0.1.1")
    machine.start()
    machine.slots.bless()
    assert machine.slots.go_back() == "0.1.0"
    assert machine.start() == "0.1.0" and machine.slots.trial() == 2
    machine.slots.bless()
    assert machine.start() == "0.1.0" and machine.slots.other() == ("0.1.1", "good")
    machine.install("0.0.9")
    assert machine.start() == "0.0.9"
    machine.slots.bless()
    assert machine.start() == "0.0.9"


@pytest.mark.parametrize("scheme", SCHEMES)
def test_going_back_to_one_whose_slot_has_rotten_leads_back_again(scheme):
    machine = Machine(scheme)
    machine.install("0.1.1")
    machine.start()
    machine.slots.bless()
    machine.slots.go_back()
    assert [machine.start() for _ in range(4)] == ["0.1.0", "0.1.0", "0.1.0", "0.1.1"]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_going_back_from_a_version_on_trial_gives_it_up(scheme):
    machine = Machine(scheme)
    machine.install("0.1.1")
    machine.start()
    assert machine.slots.go_back() == "0.1.0"
    assert machine.start() == "0.1.0"
    assert machine.slots.other() == ("0.1.1", "given-up")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_wherever_the_power_goes_in_an_install_it_starts_and_a_second_try_works(scheme):
    armed = 0
    for machine in machines(scheme, 1, lambda _: None, lambda machine: machine.install("0.1.1")):
        if machine.start() == "0.1.0":
            word = machine.slots.other()[1]
            assert word == "empty", "what is not armed is no version"
            machine.install("0.1.1")
            assert machine.start() == "0.1.1"
        else:
            armed += 1
        machine.slots.bless()
        assert [machine.start() for _ in range(4)] == ["0.1.1"] * 4
    assert armed


@pytest.mark.parametrize("scheme", SCHEMES)
def test_wherever_the_power_goes_in_an_install_over_a_good_version_it_starts(scheme):
    def prepared(machine):
        machine.install("0.1.1")
        machine.start()
        machine.slots.bless()
        machine.start()

    for machine in machines(scheme, 1, prepared, lambda machine: machine.install("0.1.2")):
        if machine.start() == "0.1.1":
            version, word = machine.slots.other()
            assert (version, word) in (("0.1.0", "good"), (None, "empty"))
            if version:
                assert f"EFI/pocket/pocket_{version}.efi" in machine.folder.card
            machine.install("0.1.2")
            machine.start()
        assert machine.running == "0.1.2"


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("word", ["bless", "bless again", "go_back"])
def test_wherever_the_power_goes_in_blessing_and_going_back_a_whole_version_starts(scheme, word):
    def prepared(machine):
        machine.install("0.1.1")
        machine.start()
        if word != "bless":
            machine.slots.bless()

    what = word.split()[0]
    for machine in machines(scheme, 3, prepared, lambda machine: getattr(machine.slots, what)(), least=-1):
        version = machine.start()
        assert version == "0.1.1" or word == "go_back"
        machine.slots.bless()
        assert [machine.start() for _ in range(4)] == [version] * 4


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_second_power_cut_in_the_second_try_does_no_harm_either(scheme):
    power = Power(7)
    for seed in range(60):
        machine = Machine(scheme, seed)
        for _ in range(4):
            machine.cut_at(power.random.randrange(250), lambda: machine.install("0.1.1"))  # noqa: B023
            if machine.start() == "0.1.1":
                break
        assert machine.running in ("0.1.0", "0.1.1")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_card_that_does_not_hold_what_is_written_starts_nothing_of_it(scheme, monkeypatch):
    machine = Machine(scheme)
    at = cards.PARTITIONS["_empty"][0] * cards.SECTOR
    write = machine.disk.write
    spoil = lambda to, octets: write(to, octets.replace(b"\x07", b"\x06") if to > at else octets)  # noqa: E731
    monkeypatch.setattr(machine.disk, "write", spoil)
    with pytest.raises(slots_disk.DiskError, match="replace it"):
        machine.install("0.1.1")
    monkeypatch.undo()
    assert machine.start() == "0.1.0" and machine.slots.other() == (None, "empty")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_boot_partition_that_does_not_hold_what_is_written_starts_nothing_of_it(scheme, monkeypatch):
    machine = Machine(scheme)
    change = machine.folder._change
    spoil = lambda name, content: change(name, content and content.replace(b"\x07", b"\x06"))  # noqa: E731
    monkeypatch.setattr(machine.folder, "_change", spoil)
    with pytest.raises(slots_disk.DiskError, match="replace the card"):
        machine.install("0.1.1")
    monkeypatch.undo()
    assert machine.start() == "0.1.0" and machine.slots.other() == (None, "empty")


def test_a_system_is_not_written_beyond_its_slot():
    machine = Machine("u-boot")
    slot, last = machine.slots.slot(), cards.SLOT_OCTETS
    slots_disk.write_slot(machine.disk, slot, [bytes(last)])
    with pytest.raises(slots_disk.DiskError, match="larger than the slot"):
        slots_disk.write_slot(machine.disk, slot, [bytes(last), b"?"])


@pytest.mark.parametrize("spoiled", [0, 1])
@pytest.mark.parametrize("what", ["table", "state"])
def test_a_change_with_one_copy_spoiled_has_one_that_is_whole_all_along(what, spoiled):
    """As after a power cut in the change before, when nothing has been mended yet."""
    start = cards.PARTITIONS["pocket-state"][0] * cards.SECTOR
    places = {"table": (512, (cards.SECTORS - 1) * 512), "state": (start, start + 65536)}

    def change(machine):
        if what == "table":
            machine.slots.table.rename(4, "pocket_0.1.1")
        else:
            machine.slots.scheme.arm("0.1.1")

    def prepared(machine):
        machine.disk.write(places[what][spoiled], b"?" * 512)
        machine.disk.sync()

    for machine in machines("u-boot", 5, prepared, change, least=2):
        assert set(cards.table(machine.disk.card)) >= {"pocket_0.1.0", "pocket-data"}
        assert cards.read_state(machine.disk.card)["pocket_version"] == "0.1.0"


def test_a_table_of_which_one_copy_is_spoiled_is_mended():
    for lba in (1, 2, cards.SECTORS - 1, cards.SECTORS - 3):
        machine = Machine("u-boot")
        machine.disk.write(lba * 512, b"?" * 512)
        machine.disk.sync()
        assert machine.slots.table.mend()
        assert bytes(machine.disk.card) == cards.fresh_disk()
        assert not machine.slots.table.mend()


def test_a_disk_without_two_slots_is_left_alone():
    power = Power()
    parts = {name: place for name, place in cards.PARTITIONS.items() if name != "_empty"}
    table = slots_disk.Table(CardDisk(power, cards.fresh_disk(parts)))
    with pytest.raises(slots_disk.DiskError, match="1 slots"):
        table.slots()


def test_a_system_that_runs_from_no_slot_of_its_name_changes_nothing():
    machine = Machine("u-boot")
    machine.slots.number = 4
    with pytest.raises(slots_disk.DiskError, match="does not run from"):
        machine.install("0.1.1")
    assert bytes(machine.disk.card) == cards.fresh_disk()


def test_the_name_of_every_version_fits_into_a_partition_table():
    longest = ".".join(["123456"] * 4)
    machine = Machine("u-boot")
    machine.slots.table.rename(4, f"pocket_{longest}")
    assert machine.slots.table.slots()[1].version == longest


def test_files_and_the_disk_itself_are_written_as_on_the_card(tmp_path):
    """The real ones, on files of this machine."""
    (tmp_path / "disk").write_bytes(cards.fresh_disk())
    disk = slots_disk.Disk(tmp_path / "disk")
    folder = slots_disk.Folder(tmp_path / "boot")
    for name, content in cards.fresh_files("systemd-boot").items():
        folder.write(name, pieces(content))
    pair = slots_pair.Slots(disk, slots_disk.Table(disk), folder, slots_start.SystemdBoot(folder), "0.1.0", 3)
    percents: list[int] = []
    pair.install(payload("0.1.1"), percents.append)
    disk.close()
    assert percents == sorted(percents) and percents[-1] == 100
    files = {
        str(path.relative_to(tmp_path / "boot")): path.read_bytes()
        for path in (tmp_path / "boot").rglob("*.*")
        if path.is_file()
    }
    power = Power()
    card = CardDisk(power, (tmp_path / "disk").read_bytes())
    assert cards.start("systemd-boot", card, CardFolder(power, files)) == "0.1.1"


# What the box stages, and what is refused of it.


@pytest.fixture(scope="module")
def builder(tmp_path_factory):
    """A builder's key: signs what is given to it."""
    home = tmp_path_factory.mktemp("key")
    home.chmod(0o700)

    def gpg(*words):
        return subprocess.run(
            ["gpg", "--homedir", home, "--batch", "-q", *words], check=True, capture_output=True
        )

    gpg("--passphrase", "", "--quick-generate-key", "Builder", "ed25519", "sign", "never")
    (home / "public.gpg").write_bytes(gpg("--export").stdout)
    yield home, lambda path: gpg("--yes", "--detach-sign", "-o", f"{path}.gpg", path)
    subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=False)


class Box:
    """A machine with the box's staged folder, and what the system says of it."""

    def __init__(self, place, builder, monkeypatch, scheme):
        self.machine, self.place = Machine(scheme), place
        home, self.sign = builder
        self.staged = place / "pocket/update/staged"
        self.staged.mkdir(parents=True)
        monkeypatch.setattr(slots, "STAGED", (place / "pocket", ("update", "staged")))
        monkeypatch.setattr(slots, "KEYS", home / "public.gpg")
        monkeypatch.setattr(slots, "STATUS", place / "status.json")
        monkeypatch.setattr(slots, "SETTLED", place / "settled")
        monkeypatch.setattr(slots, "PROOF", place / "proven")
        monkeypatch.setattr(slots, "BOOT", place / "boot")
        monkeypatch.setattr(slots, "COUNTED", place / "counted")
        monkeypatch.setattr(slots, "GIVEN_UP", place / "slots/given-up")
        monkeypatch.setattr(slots, "writable_boot", contextlib.nullcontext)

    def stage(self, version="0.1.1", system=None, board="virt-amd64", **asked):
        for path in self.staged.iterdir():
            path.unlink()
        sums = []
        for kind, content in (("root", system or root(version)), ("efi", kernel(version))):
            packed = subprocess.run(["zstd", "-q"], input=content, capture_output=True, check=True).stdout
            (self.staged / f"pocket-{board}-{version}.{kind}.zst").write_bytes(packed)
            sums.append(f"{hashlib.sha256(packed).hexdigest()}  pocket-{board}-{version}.{kind}.zst\n")
        (self.staged / "SHA256SUMS").write_text("".join(sums))
        self.sign(self.staged / "SHA256SUMS")
        self.ask(version=version, **asked)

    def ask(self, **asked):
        told = {"id": "00ff", "want": "install", "downgrade": False, "restart": True} | asked
        (self.staged / "request.json").write_text(json.dumps(told))

    def status(self):
        return slots.Status("virt-amd64", self.machine.slots)

    def work(self):
        """What the status file says in the end, and whether the machine is restarted."""
        restart = slots.work(self.status())
        return json.loads((self.place / "status.json").read_text()), restart

    def refused(self, why):
        """The request is refused so, and nothing was changed."""
        before = bytes(self.machine.disk.card), dict(self.machine.folder.card)
        told, restart = self.work()
        assert told["work"]["state"] == "failed" and not restart
        assert told["work"]["id"] == "00ff"
        assert why in told["work"]["error"], told["work"]["error"]
        assert (bytes(self.machine.disk.card), self.machine.folder.card) == before
        return told


@pytest.fixture(params=SCHEMES)
def box(request, tmp_path, builder, monkeypatch):
    return Box(tmp_path, builder, monkeypatch, request.param)


def test_what_the_box_staged_is_installed_and_told(box):
    box.stage()
    told, restart = box.work()
    assert restart and told["work"] == {
        **{"id": "00ff", "state": "installed", "version": "0.1.1", "percent": 100, "error": None}
    }
    assert told["other"] == {"version": "0.1.1", "state": "trying"} and not told["trial"]
    assert (box.place / "status.json").stat().st_mode & 0o444 == 0o444
    assert box.machine.start() == "0.1.1"
    slots.note(box.status())
    told = json.loads((box.place / "status.json").read_text())
    assert (told["running"], told["trial"], told["tries_left"]) == ("0.1.1", True, 2)
    assert not (box.place / "settled").exists()
    with pytest.raises(slots_disk.DiskError, match="has not proved itself"):
        slots.bless(box.status())
    (box.place / "proven").write_text("0.1.1\n")
    slots.bless(box.status())
    told = json.loads((box.place / "status.json").read_text())
    assert (told["trial"], told["other"]) == (False, {"version": "0.1.0", "state": "good"})
    assert (box.place / "settled").exists()


def test_one_that_was_given_up_is_noted_and_refused_unless_somebody_asks_again(box):
    box.stage()
    box.work()
    for _ in range(4):
        box.machine.start()
    slots.note(box.status())
    assert (box.place / "settled").exists()
    assert box.refused("given up")["given_up"] == ["0.1.1"]
    box.stage("0.1.2")
    box.work()
    box.machine.start()
    box.machine.slots.bless()
    box.machine.start()
    box.stage("0.1.1", downgrade=True)
    assert box.refused("--again")["given_up"] == ["0.1.1"]
    box.stage("0.1.1", downgrade=True, again=True)
    assert box.work()[0]["work"]["state"] == "installed"
    assert box.machine.start() == "0.1.1"


def test_another_signature_is_refused(box):
    box.stage()
    sums = box.staged / "SHA256SUMS"
    sums.write_text(sums.read_text().replace("0.1.1", "0.1.9"))
    box.refused("not signed with the key")
    box.stage()
    (box.staged / "SHA256SUMS.gpg").write_bytes(b"signed, really")
    box.refused("not signed with the key")
    (box.staged / "SHA256SUMS.gpg").unlink()
    box.refused("SHA256SUMS.gpg cannot be read")


def test_another_board_and_another_version_than_signed_are_refused(box):
    box.stage(board="rpi")
    box.refused("no update to 0.1.1 for virt-amd64, but pocket-rpi-0.1.1.root.zst")
    box.stage()
    box.ask(version="0.1.2")
    box.refused("no update to 0.1.2")


def test_an_older_version_is_refused_unless_it_is_asked_for(box):
    box.stage("0.0.9")
    box.refused("0.0.9 is older than 0.1.0")
    box.stage("0.0.9", downgrade=True)
    assert box.work()[0]["work"]["state"] == "installed"
    for same in ("0.1.0", "0.1", "0.1.0.0"):
        box.stage(same, downgrade=True, again=True)
        box.refused("runs already")


@pytest.mark.parametrize("kind", ["root", "efi"])
def test_a_payload_that_is_cut_or_changed_is_refused(box, kind):
    box.stage()
    part = box.staged / f"pocket-virt-amd64-0.1.1.{kind}.zst"
    whole = part.read_bytes()
    part.write_bytes(whole[:-20])
    box.refused(f"{kind}.zst is damaged")
    part.write_bytes(whole + b"more")
    box.refused(f"{kind}.zst is damaged")
    part.write_bytes(b"")
    box.refused(f"{kind}.zst is damaged")


def test_a_payload_that_is_changed_while_it_is_written_is_not_armed(box):
    """The first look was at the right octets."""
    box.stage()
    part = box.staged / "pocket-virt-amd64-0.1.1.root.zst"
    cleared = box.machine.slots._clear

    def change(*words):
        cleared(*words)
        part.write_bytes(
            subprocess.run(["zstd", "-q"], input=root("6.6.6"), capture_output=True, check=True).stdout
        )

    box.machine.slots._clear = change
    told, restart = box.work()
    assert not restart and "damaged" in told["work"]["error"]
    assert box.machine.start() == "0.1.0" and box.machine.slots.other() == (None, "empty")


def test_what_is_signed_and_cannot_be_unpacked_is_refused(box):
    box.stage()
    part, sums = box.staged / "pocket-virt-amd64-0.1.1.root.zst", box.staged / "SHA256SUMS"
    old = hashlib.sha256(part.read_bytes()).hexdigest()
    part.write_bytes(part.read_bytes()[:-50])
    sums.write_text(sums.read_text().replace(old, hashlib.sha256(part.read_bytes()).hexdigest()))
    box.sign(sums)
    box.refused("root.zst is damaged")


def test_one_that_is_larger_than_the_slot_or_the_boot_partition_is_refused(box):
    box.stage(system=bytes(cards.SLOT_OCTETS + 1))
    box.refused("larger than the slot")
    box.machine.folder.room = (1 << 20) + 5000
    box.stage()
    box.refused("larger than the room on the boot partition")


def test_on_trial_nothing_else_is_installed(box):
    box.stage()
    box.work()
    box.machine.start()
    box.stage("0.1.2")
    box.refused("0.1.1 has yet to prove itself")


def test_going_back_is_asked_for_like_an_update(box):
    box.ask(want="rollback", version="0.1.1")
    box.refused("no version 0.1.1 to go back to")
    box.stage()
    box.work()
    box.machine.start()
    box.machine.slots.bless()
    box.ask(want="rollback", version="0.1.0")
    told, restart = box.work()
    assert told["work"]["state"] == "installed" and restart
    assert box.machine.start() == "0.1.0"


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"[]",
        b"{}",
        b"[" * 9000,
        b'{"version": "../0.1.1"}',
        b'{"version": "0.1.1", "want": "everything"}',
        b'{"version": "0.1.1", "restart": "yes"}',
        b'{"version": ["0.1.1"]}',
    ],
)
def test_a_request_that_makes_no_sense_is_refused(box, octets):
    (box.staged / "request.json").write_bytes(octets)
    told = box.work()[0]["work"]
    assert told["state"] == "failed" and "makes no sense" in told["error"]


def test_a_request_that_is_too_large_is_refused(box):
    (box.staged / "request.json").write_bytes(b" " * 70000)
    assert "larger than" in box.work()[0]["work"]["error"]


def test_links_and_pipes_in_what_is_staged_lead_nowhere(box, tmp_path):
    box.stage()
    (tmp_path / "elsewhere").write_bytes((box.staged / "SHA256SUMS").read_bytes())
    (box.staged / "SHA256SUMS").unlink()
    (box.staged / "SHA256SUMS").symlink_to(tmp_path / "elsewhere")
    box.refused("SHA256SUMS cannot be read")
    (box.staged / "SHA256SUMS").unlink()
    subprocess.run(["mkfifo", box.staged / "SHA256SUMS"], check=True)
    box.refused("SHA256SUMS is no file")
    box.staged.rename(tmp_path / "staged")
    box.staged.symlink_to(tmp_path / "staged")
    told, _ = box.work()
    assert "there is no update" in told["work"]["error"]


def test_one_that_cannot_read_how_it_stands_is_on_trial_when_the_firmware_counted(box):
    """Its boot partition is not mounted."""
    box.machine.folder.seen = {}
    (box.place / "counted").touch()
    if box.machine.scheme == "systemd-boot":
        slots.note(box.status())
        assert not (box.place / "settled").exists()
    (box.place / "counted").unlink()
    slots.note(box.status())
    assert (box.place / "settled").exists()


def test_the_proof_is_the_version_that_runs(box, monkeypatch):
    monkeypatch.setattr(slots.time, "sleep", lambda _: None)
    assert not slots.prove("0.1.1", 0.01)
    (box.place / "proven").write_text("0.1.0\n")
    assert not slots.prove("0.1.1", 0.01)
    (box.place / "proven").write_text("0.1.1\n")
    assert slots.prove("0.1.1", 0.01)


def test_both_sides_name_files_alike():
    """What the build puts there is what the system looks for."""
    assert slots_start.KERNELS in (HERE / "steps/boot.sh").read_text()
    for name in sorted({board(name).loader for name in BOARDS}):
        script = HERE / "boot" / ("u-boot.cmd" if name == "u-boot" else f"{name}.sh")
        assert f"{slots_start.KERNELS}/pocket_" in script.read_text()
    text = (HERE / "boot/systemd-boot.sh").read_text()
    entry = cards.ENTRY.format("%s", 1).replace("\n", "\\n")
    assert f"printf '{entry}'" in text
