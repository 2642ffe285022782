"""When everything has been seen that was there at a login."""

from __future__ import annotations

from appliance.relay.barrier import BUSY_S, QUIET_S, SILENT_S, Barrier


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
