"""The time of nested calls, by phase."""

from __future__ import annotations

import threading

import pytest

from empo_rllib.profiling.phases import PHASES
from empo_rllib.profiling.stopwatch import (
    PhaseClock,
    ProcessTimes,
    Stopwatch,
    find,
    mean_times,
)


class Time:
    """Goes on when it is told to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def clock(time: Time) -> PhaseClock:
    return PhaseClock(time)


def work(time: Time, seconds: float) -> None:
    time.now += seconds


def test_an_inner_phase_is_not_part_of_its_outer_one(time, clock):
    inner = clock.counting("inner", work)

    def outer() -> str:
        work(time, 1)
        inner(time, 10)
        work(time, 2)
        inner(time, 20)
        return "done"

    assert clock.counting("outer", outer)() == "done"
    work(time, 100)
    assert clock.seconds == {"outer": 3, "inner": 30}


def test_a_call_of_the_same_phase_counts_once(time, clock):
    def down(depth: int) -> None:
        work(time, 1)
        if depth:
            again(depth - 1)

    again = clock.counting("same", down)
    again(3)
    assert clock.seconds == {"same": 4}


def test_a_call_that_raises_is_counted_and_left(time, clock):
    def fail() -> None:
        work(time, 5)
        raise KeyError

    def outer() -> None:
        with pytest.raises(KeyError):
            clock.counting("inner", fail)()
        work(time, 1)

    clock.counting("outer", outer)()
    assert clock.seconds == {"outer": 1, "inner": 5}


def test_each_thread_counts_its_own(time, clock):
    def outer() -> None:
        thread = threading.Thread(target=clock.counting("other", work), args=(time, 7))
        thread.start()
        thread.join()

    clock.counting("outer", outer)()
    assert clock.seconds == {"outer": 7, "other": 7}


def test_all_functions_are_put_back():
    places = [find(function) for functions in PHASES.values() for function in functions]
    before = [(name in vars(holder), getattr(holder, name)) for holder, name in places]
    watch = Stopwatch()
    during = [getattr(holder, name) for holder, name in places]
    watch.stop()
    assert [(name in vars(holder), getattr(holder, name)) for holder, name in places] == before
    assert all(new is not old for new, (_, old) in zip(during, before, strict=True))


def test_means_are_over_processes_and_iterations():
    first = ProcessTimes(8.0, 4.0, {"acting": 2.0})
    second = ProcessTimes(8.0, 6.0, {"acting": 1.0, "storing": 4.0})
    mean = mean_times([first, second], iterations=2)
    assert (mean.wall_s, mean.cpu_s) == (4.0, 2.5)
    assert {name: seconds for name, seconds in mean.phases.items() if seconds} == {
        "acting": 0.75,
        "storing": 1.0,
    }
