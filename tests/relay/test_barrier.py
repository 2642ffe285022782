"""When everything has been seen that was there at a login, or at another moment."""

from __future__ import annotations

from appliance.relay.barrier import BUSY_S, NUMBERS, QUIET_S, SILENT_S, Barrier


def test_our_login_and_a_quiet_moment_are_enough():
    barrier = Barrier()
    barrier.began(0.0)
    assert not barrier.passed(QUIET_S + 1)
    barrier.came(5.0)
    assert barrier.login(5.0, upid=1)
    assert not barrier.passed(5.0 + QUIET_S - 0.1)
    assert barrier.passed(5.0 + QUIET_S)


def test_what_comes_after_a_login_makes_us_wait_on_because_the_login_may_be_of_another_node():
    barrier = Barrier()
    barrier.began(0.0)
    barrier.login(1.0, upid=1)
    barrier.came(2.5)
    assert not barrier.passed(1.0 + QUIET_S)
    assert barrier.passed(2.5 + QUIET_S)


def test_a_login_message_that_was_seen_on_a_link_before_does_not_tell_of_this_login():
    barrier = Barrier()
    barrier.began(0.0)
    assert barrier.login(1.0, upid=1)
    barrier.began(10.0)
    barrier.came(11.0)
    assert not barrier.login(11.0, upid=1)
    assert not barrier.passed(11.0 + QUIET_S)
    barrier.came(14.0)
    assert barrier.login(14.0, upid=2)
    assert barrier.passed(14.0 + QUIET_S)


def test_a_login_message_of_a_link_before_may_come_on_this_one():
    barrier = Barrier()
    barrier.began(0.0)
    barrier.began(10.0)
    assert barrier.login(11.0, upid=1) and barrier.login(12.0, upid=2)
    barrier.came(12.0)
    assert barrier.passed(12.0 + QUIET_S)


def test_more_logins_than_we_made_are_somebody_elses():
    barrier = Barrier()
    barrier.began(0.0)
    assert barrier.login(1.0, upid=1) and not barrier.login(2.0, upid=2)


def test_what_was_noted_before_may_be_of_a_life_before():
    barrier = Barrier()
    barrier.began(0.0)
    assert not barrier.login(1.0, upid=1, counts=False)
    assert barrier.login(2.0, upid=2)


def test_a_site_that_is_silent_has_nothing_more():
    barrier = Barrier()
    barrier.began(0.0)
    assert not barrier.passed(SILENT_S - 1) and barrier.passed(SILENT_S)


def test_where_something_comes_all_the_time_it_is_not_waited_for_ever():
    barrier = Barrier()
    barrier.began(0.0)
    barrier.login(1.0, upid=1)
    barrier.came(BUSY_S)
    assert not barrier.passed(BUSY_S) and barrier.passed(1.0 + BUSY_S)


def marked(slot: int = 0) -> tuple[Barrier, int, list[str]]:
    """One that waits for its mark, how often that names the member, and what it tells."""
    barrier, told = Barrier(), []
    barrier.on_reached = lambda: told.append("reached")
    barrier.began(0.0)
    return barrier, barrier.mark(slot), told


def test_a_mark_that_is_back_and_stored_is_enough():
    barrier, number, told = marked()
    barrier.mark_came(7, number, alone=False)
    barrier.stored(6)
    assert not told, "it is not durable yet: it may come again"
    barrier.stored(7)
    assert told == ["reached"]
    barrier.stored(7)
    assert told == ["reached"]


def test_marks_of_other_boxes_and_of_links_before_are_not_ours():
    barrier, number, told = marked(slot=1)
    earlier = {barrier.mark(1) for _ in range(NUMBERS)} - {number}
    assert len(earlier) == NUMBERS - 1
    barrier.mark(1)
    for other in {Barrier().mark(slot) for slot in (0, 2, 15)} | earlier - {barrier._number}:
        barrier.mark_came(7, other, alone=False)
        barrier.stored(7)
    assert not told


def test_a_mark_that_the_site_has_shortened_is_ours_where_nobody_else_is():
    for alone in (False, True):
        barrier, _, told = marked()
        barrier.mark_came(7, 1, alone)
        barrier.stored(7)
        assert bool(told) == alone


def test_while_a_mark_may_come_back_a_moment_is_not_enough():
    barrier, _, _ = marked()
    barrier.login(1.0, upid=1)
    barrier.came(1.0)
    assert not barrier.passed(1.0 + QUIET_S) and barrier.passed(1.0 + QUIET_S, quiet_s=0.5)
    assert barrier.passed(1.0 + SILENT_S) and barrier.passed(1.0 + BUSY_S)
    barrier.no_mark()
    assert barrier.passed(1.0 + QUIET_S)


def test_a_mark_of_a_link_before_is_not_waited_for_on_the_next():
    barrier, number, told = marked()
    barrier.began(5.0)
    barrier.mark_came(7, number, alone=True)
    barrier.stored(7)
    assert not told
