"""Calls that do not return are interrupted, and nobody else's alarm is lost."""

from __future__ import annotations

import signal
import threading
import time

import numba
import pytest
from numba.extending import overload

from empo_rllib.doctor.limits import TimeUp, time_limit


def wait_for_ever():
    while True:
        time.sleep(0.01)


def swallow_exceptions_for_ever():
    while True:
        try:
            time.sleep(1)
        except Exception:
            continue


@pytest.mark.parametrize("work", [wait_for_ever, swallow_exceptions_for_ever])
def test_what_does_not_return_is_interrupted(work):
    with time_limit(0.05), pytest.raises(TimeUp):
        work()


def test_compiling_is_let_come_to_its_end_and_is_no_part_of_the_call():
    def twice(x):
        """Is what `compile_twice` makes of it."""

    @overload(twice)
    def compile_twice(x):
        time.sleep(0.5)
        return lambda x: 2.0 * x

    @numba.njit
    def double(x):
        return twice(x)

    def work():
        results.append(double(1.0))
        wait_for_ever()

    results = []
    with time_limit(0.2), pytest.raises(TimeUp):
        work()
    assert results == [2.0]
    assert double(3.0) == 6.0


def test_a_block_that_returns_leaves_no_alarm():
    before = signal.getitimer(signal.ITIMER_REAL), signal.getsignal(signal.SIGALRM)
    with time_limit(5):
        pass
    (delay_s, interval_s), handler = before
    assert signal.getsignal(signal.SIGALRM) is handler
    assert signal.getitimer(signal.ITIMER_REAL) == pytest.approx((delay_s, interval_s), abs=1)


def test_an_alarm_that_was_set_before_still_rings():
    rung = []
    handler = signal.signal(signal.SIGALRM, lambda *_: rung.append(True))
    old = signal.setitimer(signal.ITIMER_REAL, 0.05)
    try:
        with time_limit(5):
            pass
        time.sleep(0.2)
    finally:
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, *old)
    assert rung == [True]


def test_in_another_thread_there_is_no_limit():
    done = []

    def work():
        with time_limit(0.01):
            time.sleep(0.05)
            done.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [True]
