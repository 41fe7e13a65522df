"""What callbacks log becomes columns, in the row of the iteration in which it is logged."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from ray.rllib.utils.metrics.metrics_logger import MetricsLogger

from empo_rllib.experiment.custom_metrics import custom_metrics

# Of a result of RLlib's own: none of it is the user's.
OF_RLLIB = {
    "env_runners": {
        "num_env_steps_sampled_lifetime": 200.0,
        "num_env_steps_sampled_lifetime_throughput": {"throughput_since_last_reduce": 3.3},
        "env_to_module_connector": {"timers": {"connectors": {"numpy_to_tensor": 0.1}}},
        "agent_episode_returns_mean": {"agent_0": 0.5},
        "env_step_timer": 0.1,
        "sample": 1.5,
        "sampled_episodes": [object()],
    },
    "learners": {"agent_0": {"entropy": 1.9}},
    "evaluation": {"num_healthy_workers": 0, "env_runners": {"episode_return_mean": 0.4}},
    "fault_tolerance": {"num_healthy_workers": 0},
    "env_runner_group": {"actor_manager_num_outstanding_async_reqs": 0},
    "timers": {"training_iteration": 1.0},
    "num_training_step_calls_per_iteration": 1,
    "num_env_steps_sampled_lifetime": 200.0,
    "perf": {"cpu_util_percent": 90.0},
    "config": {"lr": 1.0},
    "done": False,
    "trial_id": "default",
    "time_this_iter_s": 8.8,
    "timestamp": 1796034837,
    "pid": 10959,
}


@pytest.fixture
def logger():
    """The algorithm's metrics logger, as RLlib makes it."""
    return MetricsLogger(root=True)


def columns_of(logger, env_runners=None, evaluated=None, **own):
    result = {
        **OF_RLLIB,
        "env_runners": {**OF_RLLIB["env_runners"], **(env_runners or {})},
        "evaluation": {**OF_RLLIB["evaluation"], "env_runners": evaluated or {}},
        **own,
    }
    return custom_metrics(result, logger)


def test_nothing_of_rllib_or_tune_is_taken_for_the_users(logger):
    logger.log_value(("timers", "synch_weights"), 0.1)
    assert columns_of(logger) == ({}, [])
    assert logger.peek(("timers", "synch_weights")) == 0.1


def test_what_env_runners_the_algorithm_and_evaluations_log_has_columns_of_its_own(logger):
    found, ignored = columns_of(
        logger, {"mine": 1.0, "deep": {"er": 2}}, {"mine": 3.0}, direct=4, both=5.0
    )
    assert found == {
        "custom/mine": 1.0,
        "custom/deep/er": 2.0,
        "custom/direct": 4.0,
        "custom/both": 5.0,
        "evaluation/custom/mine": 3.0,
    }
    assert ignored == []
    assert all(type(value) is float for value in found.values())


def test_of_two_values_of_one_name_the_algorithms_counts(logger):
    assert columns_of(logger, {"mine": 1.0}, mine=2.0)[0] == {"custom/mine": 2.0}


@pytest.mark.parametrize("reduce", ["mean", "sum", "max", "min"])
def test_what_on_train_result_logs_is_in_the_row_of_that_iteration_and_in_no_other(logger, reduce):
    rows = []
    for iteration in range(4):
        result = logger.compile()  # as `Algorithm.step` does
        if iteration != 2:
            logger.log_value("mine", iteration, reduce=reduce)
        rows.append(custom_metrics(result, logger)[0])
    assert rows == [{"custom/mine": 0.0}, {"custom/mine": 1.0}, {}, {"custom/mine": 3.0}]


def test_a_sum_over_the_trials_life_continues(logger):
    rows = []
    for _ in range(3):
        result = logger.compile()
        logger.log_value("mine", 1, reduce="lifetime_sum")
        rows.append(custom_metrics(result, logger)[0]["custom/mine"])
    assert rows == [1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    "value", [True, 1, np.float32(1), np.int64(1), np.ones(()), torch.ones(())]
)
def test_numbers_of_every_kind_are_recorded(logger, value):
    assert columns_of(logger, {"mine": value}) == ({"custom/mine": 1.0}, [])


@pytest.mark.parametrize(
    "value", ["1", [1.0, 2.0], [[1.0], [2.0, 3.0]], np.ones(1), torch.ones(2), object()]
)
def test_what_is_no_number_is_ignored_by_name(logger, value):
    assert columns_of(logger, {"mine": value}, {"mine": value}) == (
        {},
        ["custom/mine", "evaluation/custom/mine"],
    )


@pytest.mark.parametrize("value", [math.nan, math.inf, None, []])
def test_what_was_not_logged_in_this_iteration_leaves_its_cell_empty(logger, value):
    assert columns_of(logger, {"mine": value}) == ({}, [])


def test_a_nan_of_the_algorithm_does_not_hide_the_env_runners_value(logger):
    assert columns_of(logger, {"mine": 1.0}, mine=math.nan)[0] == {"custom/mine": 1.0}


def test_names_are_as_tensorboard_has_them(logger):
    found, _ = columns_of(logger, {"my metric\n(%)": 1.0, "pct": {50: 2.0}})
    assert found == {"custom/my_metric____": 1.0, "custom/pct/50": 2.0}


def test_what_an_evaluation_logged_is_not_repeated_in_the_next_row(logger):
    repeated = {"evaluation": {"env_runners": {"mine": 3.0}}}
    assert custom_metrics({**OF_RLLIB, **repeated}, logger) == ({}, [])
