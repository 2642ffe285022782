"""What a device needs to log in: as text, as JSON, as a QR code that scans."""

from __future__ import annotations

import json
import re
import shutil
import stat
import struct
import subprocess
import zlib
from contextlib import ExitStack

import click
import pytest
import segno

from appliance.cli.cards import COLOURS, COLOURS_OFF, HALF_BLOCKS, picture, terminal
from appliance.cli.joining import split_address
from appliance.control import ControlError
from appliance.pairing.uri import Invitation, build, parse
from tests.cli.conftest import Pocket

UID = "%+" * 16
PASSWORD = "+%" * 20
PRINT = "SHA256:" + "0af7" * 16
URI = build(Invitation(("192.168.1.5:4433",), UID, PASSWORD, PRINT, "Home & Söhne"))
LOGIN = {
    "site": "Home & Söhne",
    "alias": "Ann Smith",
    "device": 17,
    "label": "old\x1b[2Jtablet",
    "uid": UID,
    "node": PASSWORD,
    "addresses": ["=192.168.1.5:4433", "=[fd00::1]:4433"],
    "fingerprint": PRINT,
    "uri": URI,
}
BORDER = 4


@pytest.fixture
def pocket(tmp_path, monkeypatch):
    monkeypatch.setenv("POCKET_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    with ExitStack() as stack:
        yield Pocket(tmp_path / "data", stack)


def modules():
    """The QR code as it has to be, dark modules true, without its border."""
    return [[bool(module) for module in row] for row in segno.make_qr(URI, error="m").matrix]


def without_border(rows):
    assert all(not any(row) for row in rows[:BORDER])
    return [row[BORDER : BORDER + len(modules())] for row in rows[BORDER : BORDER + len(modules())]]


def from_terminal(text):
    """Dark modules of what was printed."""
    halves = {block: pair for pair, block in HALF_BLOCKS.items()}
    rows = []
    for line in text.splitlines():
        assert line.startswith(COLOURS) and line.endswith(COLOURS_OFF)
        pairs = [halves[block] for block in line[len(COLOURS) : -len(COLOURS_OFF)]]
        rows += [[not light for light, _ in pairs], [not light for _, light in pairs]]
    return without_border(rows)


def from_png(octets):
    """Dark modules of a PNG with one or two colours a pixel, read as the standard says."""
    assert octets.startswith(b"\x89PNG\r\n\x1a\n")
    chunks: dict[bytes, bytes] = {}
    at = 8
    while at < len(octets):
        (size,) = struct.unpack(">I", octets[at : at + 4])
        kind, data = octets[at + 4 : at + 8], octets[at + 8 : at + 8 + size]
        assert struct.unpack(">I", octets[at + 8 + size : at + 12 + size])[0] == zlib.crc32(kind + data)
        chunks[kind] = chunks.get(kind, b"") + data
        at += 12 + size
    width, height, depth, colour = struct.unpack(">IIBB", chunks[b"IHDR"][:10])
    assert depth == 1 and colour in (0, 3)
    dark = 0 if colour == 0 else [chunks[b"PLTE"][:3], chunks[b"PLTE"][3:6]].index(b"\0\0\0")
    pixels, stride = zlib.decompress(chunks[b"IDAT"]), (width + 7) // 8 + 1
    rows, above = [], bytes(stride)
    for y in range(height):
        line = pixels[y * stride : (y + 1) * stride]
        assert line[0] in (0, 2), "another filter than none and up"
        if line[0] == 2:
            line = bytes((octet + up) & 0xFF for octet, up in zip(line, above, strict=True))
        rows.append([line[1 + x // 8] >> (7 - x % 8) & 1 == dark for x in range(width)])
        above = line
    scale = width // (len(modules()) + 2 * BORDER)
    return without_border([row[scale // 2 :: scale] for row in rows[scale // 2 :: scale]])


def from_svg(text):
    """Dark modules of an SVG whose dark path is horizontal strokes."""
    (path,) = re.findall(r'class="qrline" stroke="#000" d="([^"]*)"', text)
    size = len(modules()) + 2 * BORDER
    rows = [[False] * size for _ in range(size)]
    x = y = 0.0
    for command, numbers in re.findall(r"([MmhH])([-0-9. ]+)", path):
        values = [float(number) for number in re.findall(r"-?[0-9.]+", numbers)]
        if command == "M":
            x, y = values
        elif command == "m":
            x, y = x + values[0], y + values[1]
        else:
            for at in range(round(x), round(x + values[0])):
                rows[int(y)][at] = True
            x += values[0]
    return without_border(rows)


def test_the_code_in_the_terminal_is_that_of_the_uri():
    assert from_terminal(terminal(URI)) == modules()


def test_the_pictures_are_that_code():
    assert from_png(picture(URI, "png")) == modules()
    assert from_svg(picture(URI, "svg").decode()) == modules()


@pytest.mark.skipif(shutil.which("zbarimg") is None, reason="needs zbar-tools")
def test_another_program_reads_the_picture(tmp_path):
    file = tmp_path / "code.png"
    file.write_bytes(picture(URI, "png"))
    read = subprocess.run(["zbarimg", "--raw", "-q", file], capture_output=True, text=True, check=True)
    assert read.stdout.strip() == URI
    assert parse(read.stdout.strip()).password == PASSWORD


@pytest.mark.parametrize(
    ("words", "word", "args"),
    [
        (
            ["member", "add", "Ann Smith", "--device", "tablet"],
            "member_add",
            {"alias": "Ann Smith", "label": "tablet"},
        ),
        (["device", "add", "Ann Smith", "tablet"], "device_add", {"member": "Ann Smith", "label": "tablet"}),
        (["device", "show", "17"], "device_show", {"device": "17"}),
    ],
)
def test_a_login_is_shown_as_text_json_and_pictures(pocket, tmp_path, words, word, args):
    pocket.answers(**{word: LOGIN})
    shown = pocket(*words, "--qr", "--svg", "code.svg", "--png", "code.png")
    assert pocket.asked == [(word.replace("_", "."), args)]
    for text in (
        UID,
        PASSWORD,
        "=192.168.1.5:4433",
        "=[fd00::1]:4433",
        PRINT,
        URI,
        "17 (old\\u001b[2Jtablet)",
    ):
        assert text in shown
    assert terminal(URI) in shown
    assert from_png((tmp_path / "code.png").read_bytes()) == modules()
    assert from_svg((tmp_path / "code.svg").read_text()) == modules()
    assert {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.glob("code.*")} == {0o600}
    assert COLOURS not in pocket(*words)
    assert json.loads(pocket(*words, "--json")) == LOGIN


def test_a_member_without_a_device_has_no_code_to_scan(pocket):
    bare = LOGIN | {"device": None, "label": None, "node": None}
    pocket.answers(member_add=bare)
    shown = pocket("member", "add", "Ann Smith")
    assert pocket.asked == [("member.add", {"alias": "Ann Smith", "label": None})]
    assert "password" not in shown and "pocket device add" in shown
    pocket("member", "add", "Ann Smith", "--svg", "code.svg", code=2)
    assert len(pocket.asked) == 1


def test_a_file_that_cannot_be_written_is_told_before_a_password_is_lost(pocket, tmp_path):
    pocket.answers(device_add=LOGIN)
    pocket("device", "add", "Ann Smith", "tablet", "--svg", "no/such/folder.svg", code=1)
    assert "cannot write no/such/folder.svg" in pocket.stderr
    assert pocket.asked == []


def test_a_refusal_leaves_no_files_and_those_that_were_there(pocket, tmp_path):
    (tmp_path / "code.svg").write_text("an older one")
    pocket.answers(device_add=ControlError("no"))
    pocket("device", "add", "Ann Smith", "tablet", "--svg", "code.svg", "--png", "code.png", code=1)
    assert (tmp_path / "code.svg").read_text() == "an older one"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["code.svg", "data"]


def test_member_owner(pocket):
    pocket.answers(member_owner={"uid": UID, "owner": True})
    assert pocket("member", "owner", "Ann Smith") == "Ann Smith is the owner now\n"
    assert pocket.asked == [("member.owner", {"member": "Ann Smith"})]


def test_member_list_and_show_say_who_the_owner_is(pocket):
    ann = {"uid": UID, "aliases": ["Ann Smith"], "owner": True, "devices": 0, "online": 0, "queued": 0}
    pocket.answers(member_list=[ann], member_show=ann)
    assert "Ann Smith (owner)" in pocket("member", "list")
    assert "owner    of this box\n" in pocket("member", "show", "Ann Smith")


CODE = {
    "code": "1482-1396",
    "number": 1,
    "state": "open",
    "open_s": 300.0,
    "label": "tablet",
    "addresses": ["=h:1"],
}


def test_pair_code_shows_the_code_and_the_address(pocket):
    pocket.answers(pair_code=CODE)
    shown = pocket("pair", "code", "Ann Smith", "tablet")
    assert shown.startswith("code     1482-1396\naddress  =h:1\ngood for 5 min and one guess")
    assert pocket.asked == [("pair.code", {"member": "Ann Smith", "label": "tablet"})]
    assert json.loads(pocket("pair", "code", "Ann Smith", "tablet", "--json")) == CODE


@pytest.mark.parametrize(
    ("states", "code", "said"),
    [
        (["open", "given", "paired"], 0, "paired: the device can log in"),
        (["open", "void"], 1, "a wrong code was tried"),
        (["given", "lost"], 1, "make another code"),
        (["expired"], 1, "in time"),
        ([None], 1, "in time"),
    ],
)
def test_pair_code_can_wait_for_what_becomes_of_it(pocket, monkeypatch, states, code, said):
    monkeypatch.setattr("appliance.cli.pairing.LOOK_EVERY_S", 0.01)
    coming = iter(states)

    def show(args):
        state = next(coming)
        return {"codes": [{"number": 2, "state": "open"}] + ([{**CODE, "state": state}] if state else [])}

    pocket.answers(pair_code=CODE, pair_show=show)
    assert said in pocket("pair", "code", "Ann Smith", "tablet", "--wait", code=code)
    assert next(coming, "all were asked for") == "all were asked for"


def test_pair_show_tells_the_window_and_the_codes(pocket):
    pocket.answers(pair_show={"registration": "pairing", "pairing_open_s": 75, "codes": [CODE]})
    shown = pocket("pair", "show")
    assert "window        open for another 1 min 15 s\n" in shown
    assert "code 1        open, good for another 5 min, for tablet\n" in shown


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("=192.168.1.5:4433", ("192.168.1.5", 4433, False)),
        ("+box.example.org:443", ("box.example.org", 443, True)),
        ("box.local", ("box.local", 4433, False)),
        ("=[fd00::1]:1", ("fd00::1", 1, False)),
        ("[fd00::1]", ("fd00::1", 4433, False)),
    ],
)
def test_an_address_is_read_as_it_is_shown(address, parts):
    assert split_address(address) == parts


@pytest.mark.parametrize("address", ["", "=", ":1", "h:0", "h:x", "h:65536", "h:-1"])
def test_what_is_no_address_is_told(address):
    with pytest.raises(click.BadParameter):
        split_address(address)


@pytest.mark.parametrize("code", ["", "1234", "1482-1395", "1842-1396"])
def test_a_mistyped_code_is_told_before_anything_is_asked(pocket, code):
    pocket("pair", "join", "=127.0.0.1:1", code, code=2)


def test_a_box_that_is_not_there_is_told(pocket):
    from appliance.pairing import Code

    pocket("pair", "join", "=127.0.0.1:1", Code.make(1).text, code=1)
    assert "cannot pair with =127.0.0.1:1: Connection refused" in pocket.stderr


def test_a_name_that_leads_nowhere_is_told_with_what_to_type(pocket):
    from appliance.pairing import Code

    pocket("pair", "join", "box.invalid", Code.make(1).text, code=1)
    assert "cannot find box.invalid" in pocket.stderr
    assert "pocket find" in pocket.stderr
