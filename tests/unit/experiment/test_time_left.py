"""How long trials and runs still take."""

from __future__ import annotations

import pytest

from empo_rllib.experiment.time_left import (
    duration,
    may_end_earlier,
    rough_duration,
    run_time_left,
    time_left,
)

ROW = {"env_steps": 50_000, "episodes": 400, "time_s": 25.0}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, ""),
        (0.0, "0s"),
        (0.4, "0s"),
        (45.0, "45s"),
        (59.4, "59s"),
        (59.6, "1m00s"),
        (185.0, "3m05s"),
        (3599.6, "1h00m"),
        (7800.0, "2h10m"),
        (360_000.0, "100h00m"),
    ],
)
def test_durations_are_short(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "10 s"), (52.0, "50 s"), (100.0, "2 min"), (725.0, "12 min"), (9000.0, "2.5 h")],
)
def test_estimates_are_round(seconds, text):
    assert rough_duration(seconds) == text


@pytest.mark.parametrize(
    ("stop", "seconds"),
    [
        ({"env_steps": 200_000}, 75.0),
        ({"env_steps": 200_000, "time_s": 60.0}, 35.0),
        ({"env_steps": 200_000, "episodes": 800}, 25.0),
        ({"env_steps": 40_000}, 0.0),
        ({"env_steps": None, "episode_return_mean": 0.9}, None),
    ],
)
def test_the_time_left_is_that_until_the_nearest_limit(experiment, stop, seconds):
    assert time_left(experiment(stop=stop), ROW) == (seconds and pytest.approx(seconds))


def test_the_time_left_is_unknown_before_the_first_step(experiment):
    row = {"env_steps": 0, "episodes": 0, "time_s": 0.0}
    assert time_left(experiment(stop={"env_steps": 100}), row) is None


@pytest.mark.parametrize(
    ("sections", "expected"),
    [
        ({}, False),
        ({"stop": {"env_steps": 100, "episode_return_mean": 0.9}}, True),
        ({"tune": {"scheduler": "fifo"}}, False),
        ({"tune": {"scheduler": {"asha": {"grace_period": 10, "max_t": 100}}}}, True),
    ],
)
def test_a_return_target_and_asha_may_end_trials_earlier(experiment, sections, expected):
    assert may_end_earlier(experiment(**sections)) is expected


def test_a_run_takes_as_long_as_its_trials_one_after_the_other(experiment, result, trial):
    trials = [
        trial(0, status="finished", env_steps=200_000, time_s=100.0),
        trial(1, status="running", env_steps=50_000, time_s=25.0),
        *(trial(number) for number in range(2, 5)),
    ]
    config = experiment(stop={"env_steps": 200_000})
    assert run_time_left(config, result(*trials)) == pytest.approx(75 + 3 * 100)
    trials[2].status = "running"  # before its first row; it takes as long as the others
    assert run_time_left(config, result(*trials)) == pytest.approx((75 + 3 * 100) / 2)


def test_a_run_ends_no_earlier_than_its_slowest_trial(experiment, result, trial):
    trials = [
        trial(0, status="running", env_steps=190_000, time_s=190.0),
        trial(1, status="running", env_steps=10_000, time_s=50.0),
    ]
    config = experiment(stop={"env_steps": 200_000})
    assert run_time_left(config, result(*trials)) == pytest.approx(950)


def test_a_run_of_which_nothing_is_known_has_no_time_left(experiment, result, trial):
    config = experiment(stop={"env_steps": 200_000})
    assert run_time_left(config, result(trial(0, status="running"), trial(1))) is None
    assert run_time_left(config, result(trial(0, status="finished", time_s=9.0))) is None
