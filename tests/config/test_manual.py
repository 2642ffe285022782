"""sample.toml is the manual: complete, right, and what `pocket config show` prints."""

import re
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

from appliance.config import AuthUrl, Config, Led, Provider, load, render, sample

COMMENTED = re.compile(r"^#(?=\[\[|\w+ = )", re.MULTILINE)


EXAMPLE = re.compile(r"^#\[\[.*?(?=^\[|\Z)", re.MULTILINE | re.DOTALL)


def options(cls=Config, table=""):
    """(table, name, field) of every setting there is, but for tables that may be there many times."""
    for field in fields(cls):
        if "section" in field.metadata:
            yield from options(field.metadata["section"], f"{table}.{field.name}".lstrip("."))
        elif "kind" in field.metadata:
            yield table, field.name, field


def at(tree, table):
    """The table "a.b" of a document."""
    for name in table.split(".") if table else ():
        tree = tree[name]
    return tree


def documented():
    """(table, name) -> the comment above it, in the sample."""
    found, table, comment = {}, "", ""
    for line in sample().splitlines():
        if header := re.fullmatch(r"#?\[\[?([\w.]+)\]\]?", line):
            table = header[1]
        elif option := re.match(r"#(\w+) = ", line):
            found[table, option[1]] = comment
        comment = comment + line[1:] if line.startswith("# ") else ""
    return found


@pytest.mark.parametrize(("table", "name"), [(table, name) for table, name, _ in options()])
def test_every_option_is_in_the_manual_with_a_comment_of_its_own(table, name):
    assert documented().get((table, name)), f"{table}.{name} is not in sample.toml"


@pytest.mark.parametrize(("table", "name", "field"), list(options()))
def test_every_bound_is_told_in_the_manual(table, name, field):
    assert field.metadata["kind"].span in documented()[table, name]


def test_the_manual_has_no_option_that_does_not_exist():
    known = {(table, name) for table, name, _ in options()}
    known |= {("auth.provider", field.name) for field in fields(Provider)}
    known |= {("panel.led", field.name) for field in fields(Led)}
    assert set(documented()) == known


def test_the_manuals_defaults_are_the_defaults(tmp_path):
    text = COMMENTED.sub("", EXAMPLE.sub("", sample()))
    (tmp_path / "all.toml").write_text(text)
    defaults = Config()
    assert load(tmp_path / "all.toml", {"data": "data"}) == load(None, {"data": "data"})
    assert tomllib.loads(text)["limits"]["queue_octets_per_node"] == "8 GiB"
    assert defaults.limits.queue_octets_per_node == 8 << 30


def test_the_sample_as_it_is_changes_nothing(tmp_path):
    (tmp_path / "pocket.toml").write_text(sample())
    assert load(tmp_path / "pocket.toml") == Config()


def test_the_manuals_provider_works_and_shows_every_option(tmp_path):
    (tmp_path / "pocket.toml").write_text(COMMENTED.sub("", sample()))
    (provider,) = load(tmp_path / "pocket.toml").auth.provider
    assert provider.can_verify
    raw = tomllib.loads(COMMENTED.sub("", sample()))["auth"]["provider"][0]
    assert set(raw) == {field.name for field in fields(Provider)}
    assert set(raw["login"]) == {field.name for field in fields(AuthUrl)}


def test_the_manuals_led_works_and_shows_every_option(tmp_path):
    (tmp_path / "pocket.toml").write_text(COMMENTED.sub("", sample()))
    (led,) = load(tmp_path / "pocket.toml").panel.led
    assert (led.pin, led.green_pin, led.blue_pin) == (17, 27, 22)
    raw = tomllib.loads(COMMENTED.sub("", sample()))["panel"]["led"][0]
    assert set(raw) == {field.name for field in fields(Led)}
    comment = sample().partition("#[[panel.led]]")[0].rpartition("\n\n")[2].replace("\n# ", " ")
    for field in fields(Led):
        assert field.metadata["kind"].span.replace("-1 to 27", "") in comment


def test_what_is_shown_loads_to_the_same_configuration(tmp_path):
    provider: dict[str, object] = {
        "label": 'Q"\\ ☃',
        "login": {"url": "https://a.example/l", "params": "x=1&y=%20"},
    }
    provider |= {"token": {"url": "https://a.example/t", "params": {"a b": '"', "ö": ""}}, "optional": True}
    changed = load(
        None,
        {
            "data": tmp_path / "d",
            "listen": "[::1]:0",
            "name": 'Fam. "Ö" \\',
            "registration": "closed",
            "tls.cert": "/etc/c.pem",
            "tls.key": "/etc/k.pem",
            "delivery.window_octets": "65537",
            "delivery.resend_after_s": 3599.123456789,
            "limits.message_octets": "1.5 MiB",
            "metrics.listen": "127.0.0.1:9464",
            "auth.provider": [provider],
            "panel.led": [{"pin": 4, "role": "mail", "brightness": 0.25}, {"board": "ACT"}],
            "panel.night_from": "22:00",
            "panel.night_to": "06:30",
            "panel.button.pin": 23,
        },
    )
    shown = tmp_path / "shown.toml"
    shown.write_text(render(changed))
    assert load(shown) == changed
    assert changed != Config()


def test_what_is_shown_has_every_option_in_force_and_uncommented():
    tree = tomllib.loads(render(Config()))
    for table, name, _ in options():
        assert name in at(tree, table)
    assert tree["delivery"] == {"window_messages": 64, "window_octets": "4 MiB", "resend_after_s": 30}


def test_lines_of_the_manual_fit_a_terminal():
    assert max(len(line) for line in sample().splitlines()) <= 100


def test_the_default_data_folder_is_relative():
    assert Config().data == Path("data")
