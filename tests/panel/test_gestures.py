"""Gestures: what a press means, however the contacts bounce."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.panel.gestures import Gesture, Gestures, Stage
from appliance.panel.settings import Button

BUTTON = Button(pin=3)
G = Gesture


def play(*contacts, until=1000.0, began_pressed=False, button=BUTTON):
    """The gestures, with times, of contacts (time, closed), ticking exactly when asked to."""
    gestures = Gestures(button, began_pressed, 0.0)
    found: list[tuple[Gesture, float]] = []

    def wait(end):
        while (due := gestures.next_look()) < end:
            found.extend((g, due) for g in gestures.tick(due))

    for at, closed in contacts:
        wait(at)
        found.extend((g, at) for g in gestures.feed(at, closed))
    wait(until)
    found.extend((g, until) for g in gestures.tick(until))
    return found


def names(found):
    return [gesture for gesture, _ in found]


def press(start, seconds):
    return (start, True), (start + seconds, False)


@pytest.mark.parametrize(
    ("seconds", "meaning"),
    [
        (0.001, []),
        (0.029, []),
        (0.03, [G.PAIR]),
        (0.3, [G.PAIR]),
        (4.999, [G.PAIR]),
        (5.0, [G.SHUTDOWN]),
        (7.0, [G.SHUTDOWN]),
        (9.999, [G.SHUTDOWN]),
        (10.0, [G.ASK_RESET, G.CALLED_OFF]),
        (29.999, [G.ASK_RESET, G.CALLED_OFF]),
        (30.0, [G.STUCK, G.FREED]),
        (300.0, [G.STUCK, G.FREED]),
    ],
)
@pytest.mark.parametrize("start", [0.5, 100.1])
def test_the_length_of_a_press_is_its_meaning(start, seconds, meaning):
    assert names(play(*press(start, seconds))) == meaning


def test_a_press_is_heard_when_it_ends_and_was_quiet():
    ((gesture, at),) = play(*press(1.0, 0.3))
    assert (gesture, at) == (G.PAIR, pytest.approx(1.3 + BUTTON.debounce_s))


@pytest.mark.parametrize(
    ("later", "seconds", "meaning"),
    [
        (0.5, 0.2, [G.ASK_RESET, G.RESET]),
        (9.99, 0.2, [G.ASK_RESET, G.RESET]),
        (9.99, 4.99, [G.ASK_RESET, G.RESET]),
        (10.0, 0.2, [G.ASK_RESET, G.CALLED_OFF, G.PAIR]),
        (60.0, 0.2, [G.ASK_RESET, G.CALLED_OFF, G.PAIR]),
        (2.0, 5.0, [G.ASK_RESET, G.CALLED_OFF]),
        (2.0, 12.0, [G.ASK_RESET, G.CALLED_OFF]),
        (2.0, 40.0, [G.ASK_RESET, G.CALLED_OFF, G.STUCK, G.FREED]),
        (2.0, 0.01, [G.ASK_RESET, G.CALLED_OFF]),
    ],
)
def test_a_factory_reset_needs_a_short_press_in_time(later, seconds, meaning):
    assert names(play(*press(1, 11), *press(12 + later, seconds))) == meaning


def test_after_a_called_off_reset_presses_mean_what_they_did():
    assert names(play(*press(1, 11), *press(13, 6), *press(30, 6))) == [G.ASK_RESET, G.CALLED_OFF, G.SHUTDOWN]


def test_a_stuck_button_says_so_once_and_then_works_again():
    found = play(*press(1, 5000), *press(5010, 0.2), until=6000)
    assert names(found) == [G.STUCK, G.FREED, G.PAIR]
    assert found[0][1] == pytest.approx(31)


def test_a_button_held_from_the_beginning_means_nothing():
    assert play((2.0, False), began_pressed=True) == []
    assert play((7.0, False), began_pressed=True) == []
    assert play((12.0, False), began_pressed=True) == []
    assert names(play((50.0, False), *press(60, 0.2), began_pressed=True)) == [G.STUCK, G.FREED, G.PAIR]


BOUNCE = [0.0, 0.002, 0.005, 0.006, 0.011]


def bounced(*contacts):
    """Each contact flutters for 11 ms before it settles."""
    return [
        (at + later, closed if i % 2 == 0 else not closed)
        for at, closed in contacts
        for i, later in enumerate(BOUNCE)
    ]


@pytest.mark.parametrize("seconds", [0.3, 4.995, 5.0, 9.995, 10.0, 29.995, 30.0])
def test_bouncing_changes_no_meaning_also_at_the_boundaries(seconds):
    assert names(play(*bounced(*press(1, seconds)))) == names(play(*press(1, seconds)))


def test_a_press_is_measured_from_the_first_contact_to_the_first_opening():
    assert names(play(*bounced((1, True)), (6, False))) == [G.SHUTDOWN]
    assert names(play((1, True), *bounced((5.999, False)))) == [G.PAIR]


def test_a_dropout_while_held_is_no_release():
    assert names(play((1, True), (4, False), (4.01, True), (7, False))) == [G.SHUTDOWN]


def test_noise_that_never_settles_is_nothing():
    assert play(*[(1 + i * 0.01, i % 2 == 0) for i in range(4000)]) == []


def test_hearing_the_same_twice_does_no_harm():
    assert names(play((1, True), (2, True), (3, True), (7, False), (8, False))) == [G.SHUTDOWN]


def test_a_clock_that_stands_does_no_harm():
    gestures = Gestures(BUTTON, False, 10.0)
    assert gestures.feed(5.0, True) == []
    assert gestures.tick(10.1) == []
    assert gestures.feed(4.0, False) == []
    assert gestures.tick(11.0) == [G.PAIR]


def test_a_clock_that_goes_back_makes_no_press_shorter():
    gestures = Gestures(BUTTON, False, 0.0)
    gestures.feed(10, True)
    gestures.tick(16)
    gestures.feed(9, False)
    assert gestures.tick(17) == [G.SHUTDOWN]


def test_without_debouncing_every_contact_counts_at_once():
    sharp = Button(pin=3, debounce_s=0)
    assert play((1, True), (1.2, False), button=sharp, until=1.2) == [(G.PAIR, 1.2)]


def test_the_lights_are_told_what_a_release_would_do():
    gestures = Gestures(BUTTON, False, 0.0)
    stages = [(0.0, gestures.stage(0.0))]

    def at(now, closed=None):
        if closed is None:
            gestures.tick(now)
        else:
            gestures.feed(now, closed)
        gestures.tick(now + 0.05)
        stages.append((now, gestures.stage(now + 0.05)))

    at(1, True)
    for now in (5.9, 6.0, 10.9, 11.0):
        at(now)
    at(12, False)
    at(15, True)
    at(15.3, False)
    assert [stage for _, stage in stages] == [
        Stage.IDLE,
        Stage.HELD,
        Stage.HELD,
        Stage.HELD_LONG,
        Stage.HELD_LONG,
        Stage.HELD_LONGEST,
        Stage.CONFIRM,
        Stage.CONFIRM,
        Stage.IDLE,
    ]


def test_a_stuck_button_leaves_the_lights_alone():
    gestures = Gestures(BUTTON, False, 0.0)
    gestures.feed(1, True)
    gestures.tick(1.1)
    assert gestures.stage(30.9) is Stage.HELD_LONGEST
    gestures.tick(31)
    assert gestures.stage(31) is Stage.IDLE


@given(
    st.lists(st.tuples(st.floats(0.2, 60), st.floats(0.04, 60)), max_size=6),
    st.lists(st.floats(0.0001, 0.02), max_size=8),
)
def test_any_bouncing_means_what_clean_contacts_mean(presses, flutter):
    """Any number of flutters, each quieter than the debouncing, after any contact."""
    clean, noisy, now = [], [], 0.0
    for gap, seconds in presses:
        for wait, closed in ((gap + 0.2, True), (max(seconds, 0.25), False)):
            now += wait
            clean.append((now, closed))
            noisy.append((now, closed))
            later = now
            for i, step in enumerate(flutter[: len(flutter) // 2 * 2]):
                later += step
                noisy.append((later, closed == (i % 2 == 1)))
    assert names(play(*noisy)) == names(play(*clean))


@given(st.lists(st.tuples(st.floats(0, 20), st.booleans()), max_size=40))
def test_whatever_the_contacts_do_no_reset_comes_without_being_asked_for(contacts):
    now, timed = 0.0, []
    for wait, closed in contacts:
        now += wait
        timed.append((now, closed))
    found = names(play(*timed, until=now + 100))
    for i, gesture in enumerate(found):
        if gesture is G.RESET:
            assert found[i - 1] is G.ASK_RESET
    assert found.count(G.STUCK) - found.count(G.FREED) in (0, 1)
