"""pocket.toml on the boot partition: what it presets, and that a mistake in it keeps no box from starting."""

import importlib.util
import socket
import stat
import tomllib

import pytest

from image.board import HERE
from image.errors import ImageError
from image.flash import preset as told_to_flash

PROGRAM = HERE / "overlay/common/usr/lib/pocket-image/preset.py"


@pytest.fixture
def program(tmp_path, monkeypatch):
    """The program, with a board's defaults, its folders in tmp_path."""
    monkeypatch.setenv("POCKET_ROOT", str(tmp_path))
    named: list[str] = []
    monkeypatch.setattr(socket, "sethostname", named.append)
    spec = importlib.util.spec_from_file_location("preset", PROGRAM)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.__dict__["named"] = named
    module.BOARD.parent.mkdir(parents=True)
    module.BOARD.write_text('[console]\nports = ["/dev/ttyS1"]\n')
    module.PRESET.parent.mkdir()
    module.KEYS.parent.mkdir(parents=True)
    return module


def made(program):
    return tomllib.loads(program.MADE.read_text())


def test_without_a_preset_the_board_decides(program):
    program.main()
    assert made(program) == {"console": {"ports": ["/dev/ttyS1"]}}
    assert not program.CONNECTION.exists() and not program.KEYS.exists()
    assert program.named == ["pocket"]


def test_settings_go_over_those_of_the_board(program):
    program.PRESET.write_text(
        'name = "Ähome\'s \\"x\\""\n[console]\nbaud = 9600\n[[panel.led]]\npin = 17\nactive_high = true\n'
    )
    program.main()
    assert made(program) == {
        "name": 'Ähome\'s "x"',
        "console": {"ports": ["/dev/ttyS1"], "baud": 9600},
        "panel": {"led": [{"pin": 17, "active_high": True}]},
    }
    assert program.named == ["ahome-s-x"]


@pytest.mark.parametrize(
    "mistake",
    [
        "name = ",
        "nmae = 'x'",
        "[console]\nbaud = 1",
        "[wifi]\npsk = 'secret word'",
        "[wifi]\nssid = 'x'\npsk = 'short'",
        "[wifi]\nssid = 'x'\npsk = 'has a\\u0000 zero'".replace("'", '"'),
        "wifi = 3",
        "[ssh]\nkey = 'no key'",
        "x = '" + "y" * 70000 + "'",
    ],
)
def test_a_mistake_is_told_and_the_board_decides(program, capsys, mistake):
    program.PRESET.write_text(mistake)
    program.main()
    assert made(program) == {"console": {"ports": ["/dev/ttyS1"]}}
    assert "pocket.toml" in capsys.readouterr().err
    assert not program.CONNECTION.exists() and not program.KEYS.exists()


def test_the_password_is_in_no_log(program, capsys):
    program.PRESET.write_text('[wifi]\nssid = "x"\npsk = "secret word"\n')
    program.main()
    assert "secret" not in "".join(capsys.readouterr())
    assert "secret" not in program.MADE.read_text()


def test_a_file_that_windows_wrote_is_read(program):
    program.PRESET.write_bytes('\ufeffname = "Home"\r\n'.encode())
    program.main()
    assert made(program)["name"] == "Home"


def test_wifi_becomes_a_connection_that_only_root_can_read(program):
    program.PRESET.write_text('[wifi]\nssid = "Café"\npsk = " two\\\\ words"\nhidden = true\n')
    program.main()
    text = program.CONNECTION.read_text()
    assert "ssid=67;97;102;195;169;\n" in text and "hidden=true\n" in text
    assert "psk=\\stwo\\\\ words\n" in text
    assert stat.S_IMODE(program.CONNECTION.stat().st_mode) == 0o600


def test_wifi_that_was_changed_on_the_box_is_not_put_back(program):
    program.PRESET.write_text('[wifi]\nssid = "old"\n')
    program.main()
    program.CONNECTION.unlink()
    program.main()
    assert not program.CONNECTION.exists()
    program.PRESET.write_text('[wifi]\nssid = "new"\n')
    program.main()
    assert program.CONNECTION.exists()


def test_ssh_ends_when_its_key_is_taken_out_again(program):
    program.PRESET.write_text('[ssh]\nkey = "ssh-ed25519 AAAA me@here"\n')
    program.main()
    assert program.KEYS.read_text() == "ssh-ed25519 AAAA me@here\n"
    program.PRESET.write_text("")
    program.main()
    assert not program.KEYS.exists()


def test_what_make_flash_writes_is_what_the_box_reads(program, tmp_path):
    key = tmp_path / "id.pub"
    key.write_text("ssh-ed25519 AAAA me@here\n")
    given = {"SITE_NAME": 'Ann\'s "box"', "WIFI_SSID": "x", "WIFI_PSK": "eight or more", "SSH_KEY": str(key)}
    program.PRESET.write_text(told_to_flash(given))
    program.main()
    assert made(program)["name"] == 'Ann\'s "box"'
    assert program.CONNECTION.exists() and program.KEYS.exists()
    assert told_to_flash({}) == ""


def test_make_flash_takes_no_secret_key_and_no_password_without_a_network(tmp_path):
    key = tmp_path / "id"
    key.write_text("-----BEGIN OPENSSH PRIVATE KEY-----")
    with pytest.raises(ImageError, match=r"\.pub"):
        told_to_flash({"SSH_KEY": str(key)})
    with pytest.raises(ImageError, match="WIFI_SSID"):
        told_to_flash({"WIFI_PSK": "eight or more"})
