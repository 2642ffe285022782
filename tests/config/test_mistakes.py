"""Every mistake in a configuration is told with its file, its line and what to do."""

import contextlib
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.config import Config, ConfigError, Endpoint, load, parse_endpoint, parse_size
from appliance.config.reading import locate

PROVIDER = """
[[auth.provider]]
label = "A"
login = { url = "https://a.example/l" }
token = { url = "https://a.example/t" }
"""
VERIFIED = """issuer = "https://a.example"
audience = "x"
key_set_url = "https://a.example/k"
"""


@pytest.fixture
def told(tmp_path):
    """What is said of a configuration file with this text."""

    def check(text, overrides=None):
        file = tmp_path / "pocket.toml"
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        with pytest.raises(ConfigError) as caught:
            load(file, overrides)
        return [str(problem).replace(str(file), "FILE") for problem in caught.value.problems]

    return check


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("\nnmae = 'x'\n", "FILE:2: there is no nmae: did you mean name?"),
        (
            "[delivery]\n\nwindow_mesages = 3",
            "FILE:3: there is no delivery.window_mesages: did you mean window_messages?",
        ),
        ("[limit]\nlinks = 5", "FILE:1: there is no limit: did you mean limits?"),
        ("links = 5", "FILE:1: there is no links: links belongs under [limits]"),
        (
            '[peer]\naddresses = ["home"]',
            'FILE:2: peer.addresses = [\'home\'] has "home", which is no address: write "=HOST:PORT"',
        ),
        ("[tls]\nname = 'x'", "FILE:2: there is no tls.name: name belongs under the top"),
        (
            "[link]\nwindow_octets = 5",
            "FILE:2: there is no link.window_octets: window_octets belongs under [delivery]",
        ),
        (
            "[store]\nfoo = 5",
            "FILE:2: there is no store.foo: store takes acks_delay_ms, spill_every_s, spill_m",
        ),
        ("[limits]\nlinks = 0", "FILE:2: limits.links = 0 is out of bounds: take 1 to 1000000"),
        (
            "[limits]\nlinks = '4'",
            "FILE:2: limits.links = '4' must be a whole number without quotes, 1 to 10",
        ),
        (
            "[limits]\nlinks = 4.0",
            "FILE:2: limits.links = 4.0 must be a whole number without quotes, 1 to 10",
        ),
        ("[limits]\nlinks = true", "FILE:2: limits.links = true must be a whole number"),
        (
            "[link]\nidle_timeout_s = nan",
            "FILE:2: link.idle_timeout_s = nan is out of bounds: take 0.1 to 86400 s",
        ),
        (
            "[link]\nidle_timeout_s = true",
            "FILE:2: link.idle_timeout_s = true must be a number without quotes",
        ),
        ("[link]\nidle_timeout_s = '2'", "FILE:2: link.idle_timeout_s = '2' must be a number without quotes"),
        (
            "[limits]\nmessage_octets = '1 GB?'",
            "FILE:2: limits.message_octets = '1 GB?' is no size: write octets",
        ),
        (
            "[limits]\nmessage_octets = 3",
            "FILE:2: limits.message_octets = 3 is out of bounds: take 1 KiB to 1 TiB",
        ),
        (
            "registration = 'maybe'",
            "FILE:1: registration = 'maybe' must be open, pairing or closed, in quotes",
        ),
        ("listen = ':::4433'", "FILE:1: listen = ':::4433' needs brackets around an IPv6 address"),
        ("listen = '1.2.3.4'", "FILE:1: listen = '1.2.3.4' is no address to listen on: write HOST:PORT"),
        ("listen = '[::1]:70000'", "FILE:1: listen = '[::1]:70000' has a port above 65535"),
        ("listen = 4433", "FILE:1: listen = 4433 must be an address in quotes"),
        ("name = ''", "FILE:1: name = '' must not be empty"),
        (
            "name = 'a\\tb'\nname2=1".replace("'", '"'),
            "FILE:1: name = 'a\\tb' has characters in it that cannot be",
        ),
        ("name = '" + "ö" * 51 + "'", "is too long: 102 octets where 100 fit"),
        ("data = ''", "FILE:1: data = '' must be a path in quotes"),
        ("delivery = 3", "FILE:1: delivery must be a table: [delivery]"),
        ("auth = 3", "FILE:1: auth must be a table: [auth]"),
        ("[auth]\nprovider = 3", "FILE:2: auth.provider must be tables: [[auth.provider]]"),
        ("[auth]\nprovider = [1]", "FILE:2: auth.provider must be a table"),
        ("[auth]\nlogin_required = 1", "FILE:2: auth.login_required = 1 must be true or false"),
        (
            "[auth]\nlogin_required = true",
            "FILE:2: auth.login_required = true needs an [[auth.provider]] that is not optional",
        ),
        ("[tls]\ncert = 'c.pem'", "FILE:2: tls.cert needs tls.key beside it"),
        ("[tls]\nkey = 'c.pem'", "FILE:2: tls.key needs tls.cert beside it"),
        ("[metrics]\nlisten = '127.0.0.1:4433'", "FILE:2: metrics.listen has the port of listen, 4433"),
        (
            "[link]\nlogin_timeout_s = 2",
            "failed_login_delay_max_s = 3 must be below link.login_timeout_s = 2",
        ),
        (PROVIDER, 'FILE:2: auth.provider "A" needs issuer, audience, key_set_url to check who registers'),
        (PROVIDER + "issuer = 'x'\noptional = true", 'FILE:2: auth.provider "A" lacks audience, key_set_url'),
        ("[[auth.provider]]\nlabel = 'A'\ntoken = {url='https://a'}", "FILE:1: auth.provider needs login"),
        (
            PROVIDER.replace("https://a.example/l", "ftp://a"),
            "auth.provider.login.url = 'ftp://a' must be a web",
        ),
        (
            PROVIDER + VERIFIED.replace("https://a.example/k", "http://a.example/k"),
            "auth.provider.key_set_url = 'http://a.example/k' must begin with https://",
        ),
        ((PROVIDER + VERIFIED) * 2, 'FILE:10: auth.provider "A" is there twice'),
        (
            PROVIDER.replace('/l"', '/l", params = { x = 1 }'),
            "auth.provider.login.params = {'x': 1} must be a query string or a table of texts",
        ),
        (PROVIDER.replace('/l"', '/l", params = 1'), "auth.provider.login.params = 1 must be a query string"),
        (
            PROVIDER.replace('/l"', '/l", params = "' + "x" * 2049 + '"'),
            "is too long: 2049 octets where 2048 fit",
        ),
        (
            PROVIDER.replace('/l"', '/l", params = { "ö" = "' + "x" * 2047 + '" }'),
            "is too long: 2049 octets where 2048 fit",
        ),
        ("[[auth.provider]]\nlabel='x'\n" * 27, "FILE:53: more than 26 of auth.provider"),
        ("a = 1\nname = \n", "FILE:2: this is no TOML at column 8: invalid value"),
        ("name = 'a'\nname = 'b'", "FILE:2: this is no TOML at"),
        ("a = 1\nname = [1,\n\n", "FILE:3: this is no TOML at the end"),
        (b"name = 'a'\n# \xff", "FILE:2: has an octet that is not UTF-8"),
        ("#" * (257 << 10), "FILE: is larger than"),
    ],
)
def test_mistake_is_told_with_its_line(told, text, said):
    assert said in "\n".join(told(text))


def test_all_mistakes_are_told_at_once(told):
    said = told("nmae = 'x'\nlisten = 1\n[limits]\nlinks = 0\n[[auth.provider]]\nlabel = 1\n")
    assert [line.split(":")[1] for line in said] == ["1", "2", "4", "5", "5", "6"]


def test_a_missing_file_says_how_to_make_one(tmp_path):
    with pytest.raises(ConfigError, match="no such file: make one with   pocket config show >"):
        load(tmp_path / "none.toml")


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot be read: Is a directory"):
        load(tmp_path)


def test_command_line_mistakes_name_the_option(told):
    assert told("", {"listen": "x"})[0].startswith("--listen: listen = 'x' is no address")
    assert told("", {"limits.links": 0})[0].startswith("--set limits.links: limits.links = 0 is out of")
    assert told("", {"name.x": 0})[0].startswith("--set name.x: name = {'x': 0} must be a text")
    assert told("name = 'n'", {"name.x": 0}) == ["--set name.x: name is no table"]


def test_the_command_line_wins_over_the_file(tmp_path):
    file = tmp_path / "pocket.toml"
    file.write_text("name = 'File'\nlisten = ':1'\n[delivery]\nwindow_messages = 3\nwindow_octets = '1 MiB'")
    config = load(file, {"name": "Line", "delivery.window_messages": 4})
    assert (config.name, config.listen) == ("Line", Endpoint("0.0.0.0", 1))
    assert (config.delivery.window_messages, config.delivery.window_octets) == (4, 1 << 20)


def test_the_command_line_can_mend_a_mistake_of_the_file(tmp_path):
    file = tmp_path / "pocket.toml"
    file.write_text("name = ''")
    assert load(file, {"name": "Line"}).name == "Line"


def test_paths_of_the_file_start_at_its_folder_and_those_of_the_command_line_here(tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    (tmp_path / "pocket.toml").write_text("data = 'd'\n[tls]\ncert = 'c'\nkey = '/k'")
    config = load(tmp_path / "pocket.toml", {"tls.key": "here"})
    assert str(config.data) == f"{tmp_path}/d"
    assert (str(config.tls.cert), str(config.tls.key)) == (f"{tmp_path}/c", "/here")


def test_a_byte_order_mark_and_dos_lines_do_no_harm(tmp_path):
    (tmp_path / "pocket.toml").write_bytes(b"\xef\xbb\xbfname = 'x'\r\n[disk]\r\nreserve_percent = 1\r\n")
    config = load(tmp_path / "pocket.toml")
    assert (config.name, config.disk.reserve_percent) == ("x", 1)


def test_lines_are_right_in_files_that_use_all_of_toml():
    text = '''# a comment
a.b = 1
c = """
[no.table]
x = 1
""" # d = 2
[t]
[t."u.v"]
list = [
    # [x]
    { k = 1 },
]
[[arr]]
[[arr]]
z = 1
[arr.sub]
y = "#"
'''
    tomllib.loads(text)
    lines = dict(locate(text))
    assert lines["a", "b"] == 2
    assert lines["c",] == 3
    assert lines["t", "u.v", "list", 0, "k"] == 9
    assert (lines["arr", 0], lines["arr", 1], lines["arr", 1, "z"]) == (13, 14, 15)
    assert (lines["arr", 1, "sub"], lines["arr", 1, "sub", "y"]) == (16, 17)


@pytest.mark.parametrize(
    ("text", "octets"),
    [("0", 0), ("64 KiB", 65536), ("64kib", 65536), ("1.5 MiB", 3 << 19), ("8 GB", 8 * 10**9), ("5B", 5)],
)
def test_sizes(text, octets):
    assert parse_size(text) == octets


@pytest.mark.parametrize("text", ["", "KiB", "-1", "1e3", "1 XiB", "1 K", "٣"])
def test_what_is_no_size(text):
    with pytest.raises(ValueError, match="is no size"):
        parse_size(text)


@given(st.ip_addresses(), st.integers(0, 65535))
def test_addresses_are_written_as_they_are_read(host, port):
    endpoint = Endpoint(str(host), port)
    assert parse_endpoint(str(endpoint)) == endpoint


@given(st.text(max_size=20))
def test_any_text_is_an_address_or_a_value_error(text):
    with contextlib.suppress(ValueError):
        assert 0 <= parse_endpoint(text).port <= 65535


JSONISH = st.recursive(
    st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
NAMES = ["data", "listen", "name", "registration", "tls", "delivery", "limits.links", "limits.message_octets"]
NAMES += ["auth", "auth.provider", "metrics.listen", "tls.cert", "log.level", "auth.login_required"]


@given(st.dictionaries(st.sampled_from(NAMES), JSONISH, max_size=4))
def test_any_value_gives_a_config_or_a_config_error(overrides):
    try:
        assert isinstance(load(None, overrides), Config)
    except ConfigError as error:
        assert error.problems


def test_the_disk_reserve_is_the_smaller_of_the_two():
    disk = Config().disk
    assert disk.reserve_of(1 << 30) == (1 << 30) * 5 // 100
    assert disk.reserve_of(1 << 40) == 512 << 20


def test_optional_providers_do_not_ask_for_proof(tmp_path):
    file = tmp_path / "pocket.toml"
    file.write_text(PROVIDER + "optional = true")
    auth = load(file).auth
    assert not auth.register_required
    assert auth.provider[0].told() == {
        "label": "A",
        "login": ["https://a.example/l", ""],
        "token": ["https://a.example/t", ""],
    }
    file.write_text(PROVIDER + VERIFIED)
    assert load(file).auth.register_required


@pytest.mark.parametrize("address", ["=box.local:4433", "box:1", "+box.example:443", "=[fd00::1]:65535"])
def test_addresses_of_a_box_are_written_as_people_type_them(address):
    (read,) = load(None, {"peer.addresses": [address]}).peer.addresses
    assert read.endswith(address) and read[0] in "=+"


@pytest.mark.parametrize("address", ["box", "box:0", "box:65536", "fd00::1:4433", "=a b:1", ":4433", "[x]:1"])
def test_what_is_no_address_of_a_box(address):
    with pytest.raises(ConfigError, match="which is no address"):
        load(None, {"peer.addresses": [address]})
