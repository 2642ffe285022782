"""What presses of the button mean while two boxes are paired, on a clock that jumps."""

from __future__ import annotations

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from appliance.health import ROUND_S, Health
from appliance.pairing import BoxCard
from appliance.session import Buttons, NotNow, Try
from appliance.session.buttons import COMPARE_S, TOLD_S, TOPIC, TWICE_S

CARD = BoxCard(b"\x07" * 32, "kitchen", [])
WINDOW_S = 120.0


class Room:
    def __init__(self) -> None:
        self.health = Health()
        self.health.serving()
        self.is_blank = False
        self.buttons = Buttons(self.health, lambda: self.is_blank)

    @property
    def told(self) -> str:
        return self.health._warnings.get(TOPIC, "")

    def press(self) -> bool:
        """As the box does: what is no answer opens pairing."""
        answered = self.buttons.press()
        if not answered:
            self.buttons.open_for(WINDOW_S)
        return answered


def run(test):
    async def main():
        await test(Room())

    trio.run(main, clock=MockClock(autojump_threshold=0))


async def outcome(one: Try) -> str | None:
    await one.said(here=True, there=True)
    return one.reason


def test_two_presses_say_yes_and_both_have_to_say_so():
    async def test(room):
        room.press()
        with room.buttons.host() as one:
            one.compare(482913)
            assert room.health.comparison.digits == "482 913"
            await trio.sleep(ROUND_S)
            assert room.press() and room.press()
            assert room.health.comparison.yes
            with trio.move_on_after(10) as waited:
                await outcome(one)
            assert waited.cancelled_caught
            one.sent(CARD)
            assert await outcome(one) is None
        assert room.health.comparison is None and not room.told

    run(test)


def test_the_other_box_can_say_yes_first():
    async def test(room):
        room.press()
        with room.buttons.host() as one:
            one.compare(1)
            one.sent(CARD)
            await trio.sleep(ROUND_S)
            room.press()
            await trio.sleep(TWICE_S - 0.1)
            room.press()
            assert await outcome(one) is None

    run(test)


def test_one_press_says_no_and_opens_nothing():
    async def test(room):
        room.press()
        with pytest.raises(NotNow, match="says no"), room.buttons.host() as one:
            one.compare(1)
            one.sent(CARD)
            await trio.sleep(ROUND_S + 5)
            assert room.press()
            raise NotNow(await outcome(one))
        assert "says no" in room.told and not room.buttons.open_s
        with pytest.raises(NotNow, match="one try"), room.buttons.host():
            pass
        room.press()
        assert not room.told and room.buttons.open_s == WINDOW_S

    run(test)


def test_a_no_may_be_said_at_once_and_after_a_yes_too():
    async def test(room):
        for before_s, presses in ((0.0, 1), (ROUND_S, 3)):
            room.press()
            with room.buttons.host() as one:
                one.compare(1)
                await trio.sleep(before_s)
                for press in range(presses):
                    await trio.sleep(TWICE_S + 1 if press == 2 else 0.5)
                    room.press()
                assert "says no" in (await outcome(one) or "")

    run(test)


def test_a_third_press_right_after_two_changes_nothing():
    async def test(room):
        room.press()
        with room.buttons.host() as one:
            one.compare(1)
            await trio.sleep(ROUND_S)
            for _ in range(3):
                await trio.sleep(0.4)
                room.press()
            with trio.move_on_after(TWICE_S + 1):
                await outcome(one)
            assert one.reason is None and room.health.comparison.yes

    run(test)


def test_two_presses_that_are_far_apart_are_no_yes():
    async def test(room):
        room.press()
        with room.buttons.host() as one:
            one.compare(1)
            await trio.sleep(ROUND_S)
            room.press()
            await trio.sleep(TWICE_S + 0.1)
            room.press()
            assert not room.health.comparison.yes

    run(test)


def test_a_yes_before_a_whole_round_was_shown_is_refused_and_is_no_no():
    async def test(room):
        room.press()
        with room.buttons.host() as one:
            one.compare(1)
            one.sent(CARD)
            await trio.sleep(ROUND_S - 0.5)
            room.press()
            await trio.sleep(1)
            with pytest.raises(NotNow, match="a whole round first"):
                room.press()
            await trio.sleep(TWICE_S + 1)
            assert one.reason is None and one.comparing
            room.press()
            room.press()
            assert await outcome(one) is None

    run(test)


def test_it_ends_by_itself():
    async def test(room):
        room.press()
        with room.buttons.host() as one:
            began = trio.current_time()
            one.compare(1)
            one.sent(CARD)
            assert "nobody said yes on both" in (await outcome(one) or "")
            assert trio.current_time() - began == pytest.approx(COMPARE_S)

    run(test)


def test_a_press_allows_one_try_whoever_used_it():
    async def test(room):
        with pytest.raises(NotNow, match="has to be pressed"), room.buttons.host():
            pass
        room.press()
        with pytest.raises(ZeroDivisionError), room.buttons.host():
            raise ZeroDivisionError
        for side in (room.buttons.host, room.buttons.guest):
            with pytest.raises(NotNow, match="one try"), side():
                pass
        await trio.sleep(WINDOW_S)
        with pytest.raises(NotNow, match="has to be pressed"), room.buttons.host():
            pass
        room.press()
        await trio.sleep(WINDOW_S - 0.1)
        with room.buttons.host():
            pass

    run(test)


def test_a_press_while_the_boxes_still_greet_each_other_allows_no_second_try():
    async def test(room):
        room.press()
        with room.buttons.host():
            room.press()
        assert not room.buttons.open_s

    run(test)


def test_two_guests_at_a_time_are_none():
    async def test(room):
        room.press()
        with room.buttons.host() as one:
            one.compare(1)
            one.sent(CARD)
            await trio.sleep(ROUND_S)
            with pytest.raises(NotNow, match="two blank boxes"), room.buttons.host():
                pass
            assert "two blank boxes" in (await outcome(one) or "")
            assert not room.press(), "what is over is not answered"

    run(test)


def test_a_blank_box_lets_nobody_in_and_costs_nobody_a_try():
    async def test(room):
        room.is_blank = True
        room.press()
        with pytest.raises(NotNow, match="blank, too"), room.buttons.host():
            pass
        with room.buttons.guest() as one:
            with pytest.raises(NotNow, match="blank, too"), room.buttons.host():
                pass
            assert one.reason is None

    run(test)


def test_closing_pairing_ends_it():
    async def test(room):
        room.press()
        with room.buttons.host() as one:
            one.compare(1)
            room.buttons.close()
            assert await outcome(one) == "pairing was closed meanwhile"
        assert not room.buttons.open_s and not room.buttons.ran_out

    run(test)


def test_why_it_came_to_nothing_is_told_for_ten_minutes():
    async def test(room):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(room.buttons.opened)
            await trio.sleep(1)
            room.buttons.failed("nobody was there")
            await trio.sleep(TOLD_S - 1)
            assert "nobody was there" in room.told and room.health.state == "warning"
            await trio.sleep(2)
            assert not room.told
            nursery.cancel_scope.cancel()

    run(test)


@given(st.lists(st.floats(0.05, 30), max_size=8))
@settings(max_examples=200, deadline=None)
def test_only_two_presses_in_a_row_after_a_whole_round_say_yes(pauses):
    """Whatever else somebody does with the button."""
    times, now = [], 0.0
    for pause in pauses:
        now += pause
        times.append(now)

    async def test(room):
        room.press()
        with room.buttons.host() as one:
            one.compare(1)
            one.sent(CARD)

            async def hand():
                for pause in pauses:
                    await trio.sleep(pause)
                    try:
                        room.press()
                    except NotNow:
                        continue

            async with trio.open_nursery() as nursery:
                nursery.start_soon(hand)
                reason = await outcome(one)
                said_at = trio.current_time() - one._shown.began
                nursery.cancel_scope.cancel()
        if reason is None:
            last = [at for at in times if at <= said_at + 1e-6][-2:]
            assert len(last) == 2 and last[1] - last[0] <= TWICE_S + 1e-6 and last[0] >= ROUND_S - 1e-6
        elif "says no" in reason:
            assert [at for at in times if at == pytest.approx(said_at - TWICE_S, abs=1e-6)]
        else:
            assert said_at == pytest.approx(COMPARE_S)

    run(test)
