"""A conversation that is recorded through the box equals the one at the site itself, frame for frame."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from tests.kit import Client, settle
from tests.kit.place import Place
from tests.kit.upstream import Upstream

from .conversation import Cast, play
from .house import House, remote

MAKES = ("our own", "another make")
ALIAS = "Ann at the club"


@contextmanager
def site_of(make: str) -> Iterator[Any]:
    with Upstream("The club") if make == "another make" else remote("The club") as site:
        yield site


def cast_of(site: Place, ann: Client, tablet: Client) -> Cast:
    bob = Client.register(site, alias="Bob at the club")
    carol = Client.register(site, alias="Carol at the club")
    phone = bob.add_node("phone")
    phone.login()
    settle(ann, tablet, bob, phone, carol)
    return Cast(ann, tablet, bob, phone, carol)


def played_directly(make: str) -> Any:
    with site_of(make) as site:
        ann = Client.register(site, alias=ALIAS)
        tablet = ann.add_node("tablet")
        tablet.login()
        return play(cast_of(site, ann, tablet))


def played_through_the_box(make: str) -> Any:
    with ExitStack() as stack:
        site = stack.enter_context(site_of(make))
        house = House()
        stack.callback(house.close)
        membership = house.add(house.member(), site, "club", ALIAS)
        return play(cast_of(site, *membership.devices("laptop", "tablet")))


@pytest.fixture(scope="module")
def direct() -> dict[str, Any]:
    """The conversation at the site itself, by the site's make."""
    return {make: played_directly(make) for make in MAKES}


@pytest.mark.parametrize("make", MAKES)
def test_a_conversation_through_the_box_has_the_same_frames_as_at_the_site(
    make: str, direct: dict[str, Any]
) -> None:
    compare(direct[make], played_through_the_box(make))


def test_a_site_of_another_make_says_the_same_but_in_its_refusals(direct: dict[str, Any]) -> None:
    ours, other = (direct[make] for make in ("our own", "another make"))
    compare(*(without_words(heard) for heard in (ours, other)))


def without_words(heard: Any) -> Any:
    def plain(frame: dict[str, Any]) -> dict[str, Any]:
        return {**frame, "error": "why"} if "error" in frame else frame

    return [
        (step, {who: [plain(frame) for frame in frames] for who, frames in told.items()})
        for step, told in heard
    ]


def compare(expected: Any, found: Any) -> None:
    for (step, there), (_, here) in zip(expected, found, strict=True):
        for who in there:
            assert here[who] == there[who], f"{step}: {who}"
