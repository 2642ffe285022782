"""What a box is called, and the next name when that is taken."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.discovery import DiscoverySettings
from appliance.discovery.names import NUMBER_MAX, clean, first_names, host_label, instance_label

BOX = "k7d2m9qa"


@pytest.mark.parametrize(
    ("site", "instance", "host"),
    [
        ("Home", "Home", "home.local."),
        ("Müller & <Söhne>", "Müller & <Söhne>", "muller-sohne.local."),
        ("home.example.org", "home example org", "home-example-org.local."),
        ("  our   box\n", "our box", "our-box.local."),
        ("家", "家", "pocket.local."),
        ("\x1b[31m", "[31m", "31m.local."),
        ("", "Pocket", "pocket.local."),
        ("O'Neill", "O'Neill", "oneill.local."),
    ],
)
def test_names_are_made_from_the_sites(site, instance, host):
    names = first_names(site, "", BOX)
    assert (names.instance, names.host) == (instance, host)


def test_the_next_names_are_numbered_and_the_last_has_the_id():
    names = first_names("Home", "", BOX)
    seen = [names]
    while not seen[-1].exhausted:
        seen.append(seen[-1].after(instance=True, host=False))
    assert [each.instance for each in seen[:3]] == ["Home", "Home (2)", "Home (3)"]
    assert seen[-2].instance == f"Home ({BOX})"
    assert len(seen) == NUMBER_MAX + 2
    assert {each.host for each in seen} == {"home.local."}
    assert names.after(instance=False, host=True).host == "home-2.local."


@given(st.text(max_size=200), st.integers(1, NUMBER_MAX + 1), st.integers(1, NUMBER_MAX + 1))
def test_whatever_the_site_is_called_the_names_are_fit_for_dns(site, number, host_number):
    names = first_names(site, "", BOX)
    for _ in range(number - 1):
        names = names.after(instance=True, host=False)
    for _ in range(host_number - 1):
        names = names.after(instance=False, host=True)
    assert 0 < len(names.instance.encode()) <= 63
    assert "." not in names.instance
    assert names.instance.isprintable()
    label = names.host.removesuffix(".local.")
    assert 0 < len(label) <= 63
    assert label.strip("-") == label
    assert all(c in "abcdefghijklmnopqrstuvwxyz0123456789-" for c in label)


@given(st.text(), st.integers(0, 70))
def test_what_is_shown_plays_no_tricks(text, characters):
    shown = clean(text, characters)
    assert len(shown) <= characters
    assert shown.isprintable()


def test_labels_are_cut_between_characters():
    assert instance_label("ü" * 60) == "ü" * 31
    assert len(host_label("x" * 200)) == 54


@pytest.mark.parametrize(
    "wrong",
    [{"box_id": "short"}, {"box_id": "TOOLOUD1"}, {"port": 0}, {"port": 65536}, {"listen": ("home",)}],
)
def test_what_cannot_be_announced_is_refused(wrong):
    right: dict[str, Any] = {"site": "Home", "box_id": BOX, "version": "1", "port": 4433}
    DiscoverySettings(**right)
    with pytest.raises(ValueError, match=r"no box id|no port|does not appear"):
        DiscoverySettings(**right | wrong)
