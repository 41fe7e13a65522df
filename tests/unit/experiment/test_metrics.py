"""From RLlib's results to rows of numbers, and when a trial is done."""

from __future__ import annotations

import math

import pytest

from empo_rllib.config.sections import StopConfig
from empo_rllib.experiment.metrics import (
    Counters,
    build_row,
    is_settled,
    score_column,
    score_of,
    stop_reason,
    time_iterations,
)
from empo_rllib.sampling.episode_window import EpisodeNumbers, EpisodeWindow, SampledEpisodes

NAN = math.nan
# What the trial's own window knows; RLlib's means, below, are of one iteration.
WINDOW = EpisodeWindow(
    100,
    [
        {
            "length": 59,
            "agent_returns": {"agent_1": 0.5, "agent_0": 0.25},
            "policy_returns": {"agent_1": 0.5, "agent_0": 0.25},
            "success": 1.0,
        }
    ],
)
EVALUATED = [
    EpisodeNumbers(60, {"agent_0": 0.5, "agent_1": 0.0}, {}, 1.0),
    EpisodeNumbers(100, {"agent_0": 0.0, "agent_1": 0.0}, {}, 0.0),
]

# What `PPO.train()` of Ray 2.60 returned for two agents, without its connectors' timers.
PPO_RESULT = {
    "timers": {
        "training_iteration": 2.467,
        "env_runner_sampling_timer": 1.5165,
        "learner_update_timer": 0.9455,
        "synch_weights": 0.0043,
    },
    "env_runners": {
        "num_env_steps_sampled": 502.0,
        "num_env_steps_sampled_lifetime": 1005.0,
        "sampled_episodes": [
            SampledEpisodes(1, 0, 0, 251, 1, 502, []),
            SampledEpisodes(2, 0, 0, 251, 1, 480, []),
        ],
        "num_agent_steps_sampled": {"agent_1": 502.0, "agent_0": 500.0},
        "num_agent_steps_sampled_lifetime": {"agent_1": 1005.0, "agent_0": 1005.0},
        "num_module_steps_sampled": {"agent_1": 502.0, "agent_0": 480.0},
        "num_episodes": 6.0,
        "num_episodes_lifetime": 11.0,
        "episode_return_mean": 0.4508,
        "episode_return_min": 0.0,
        "episode_return_max": 0.694,
        "episode_len_mean": 59.17,
        "episode_len_min": 34.0,
        "episode_len_max": 100.0,
        "success_rate": 0.8333,
        "module_episode_returns_mean": {"agent_1": 0.4117, "agent_0": 0.0392},
        "agent_episode_returns_mean": {"agent_1": 0.4117, "agent_0": 0.0392},
        "agent_steps": {"agent_1": 59.8, "agent_0": 59.8},
        "weights_seq_no": 1.0,
        "sample": 1.5067,
    },
    "learners": {
        "__all_modules__": {"num_env_steps_trained": 2510.0, "num_trainable_parameters": NAN},
        "agent_1": {
            "total_loss": -1.1319,
            "policy_loss": -1.5036,
            "vf_loss": 0.3718,
            "vf_loss_unclipped": 0.3718,
            "vf_explained_var": -0.0705,
            "entropy": 1.9459,
            "mean_kl_loss": 1.2e-08,
            "curr_kl_coeff": 0.05,
            "curr_entropy_coeff": 0.0,
            "default_optimizer_learning_rate": 5e-05,
            "num_trainable_parameters": NAN,
            "weights_seq_no": 2.0,
        },
        "agent_0": {"total_loss": 0.9220, "vf_explained_var": NAN},
    },
    "evaluation": {
        "num_healthy_workers": 0,
        "env_runners": {
            "episode_return_mean": 0.9,
            # RLlib unpacks a list of one.
            "sampled_episodes": SampledEpisodes(
                0, 0, 0, 0, 1, 0, [(0, 0, one) for one in EVALUATED]
            ),
        },
    },
}

SAC_STATISTICS = {
    "total_loss": -0.4113,
    "policy_loss": -2.1506,
    "qf_loss": 0.8559,
    "qf_mean": 0.3147,
    "td_error_mean": 1.566,
    "alpha_value": 0.9925,
    "alpha_loss": -0.022,
    "last_target_update_ts": 203.0,
}


def row_of(result, seconds=2.0, new_env_steps=502):
    counters = Counters()
    counters.advance(result, seconds)
    return build_row(result, counters, WINDOW, seconds, new_env_steps)


def test_the_row_of_a_training_result_has_readable_names():
    assert row_of(PPO_RESULT) == pytest.approx(
        {
            "training_iteration": 1,
            "env_steps": 502,
            "agent_steps": 982,
            "episodes": 6,
            "time_s": 2.0,
            "env_steps_per_s": 251.0,
            "episode_return_mean": 0.75,
            "episode_return_min": 0.75,
            "episode_return_max": 0.75,
            "episode_length_mean": 59.0,
            "success_rate": 1.0,
            "policy_return_mean/agent_0": 0.25,
            "policy_return_mean/agent_1": 0.5,
            "agent_return_mean/agent_0": 0.25,
            "agent_return_mean/agent_1": 0.5,
            "window_is_full": 0,
            "evaluation/episode_return_mean": 0.25,
            "evaluation/episode_return_min": 0.0,
            "evaluation/episode_return_max": 0.5,
            "evaluation/success_rate": 0.5,
            "evaluation/episode_length_mean": 80.0,
            "evaluation/agent_return_mean/agent_0": 0.25,
            "evaluation/agent_return_mean/agent_1": 0.0,
            "learner/agent_0/total_loss": 0.9220,
            "learner/agent_1/total_loss": -1.1319,
            "learner/agent_1/policy_loss": -1.5036,
            "learner/agent_1/value_loss": 0.3718,
            "learner/agent_1/value_explained_variance": -0.0705,
            "learner/agent_1/entropy": 1.9459,
            "learner/agent_1/kl": 1.2e-08,
            "learner/agent_1/kl_coefficient": 0.05,
            "learner/agent_1/entropy_coefficient": 0.0,
            "learner/agent_1/learning_rate": 5e-05,
            "time/sample_s": 1.5165,
            "time/learn_s": 0.9455,
        }
    )


def test_the_columns_do_not_depend_on_the_order_in_which_rllib_reports_agents():
    keys = [key for key in row_of(PPO_RESULT) if key.startswith("policy_return_mean/")]
    assert keys == sorted(keys)


def test_the_statistics_of_q_learning_have_names_too():
    row = row_of({"learners": {"shared": SAC_STATISTICS}})
    assert {key.rpartition("/")[2] for key in row if key.startswith("learner/shared/")} == {
        "total_loss",
        "policy_loss",
        "q_loss",
        "q_mean",
        "td_error",
        "alpha",
        "alpha_loss",
    }


def test_what_was_not_measured_is_left_out():
    result = {
        "env_runners": {"episode_return_mean": 1.0, "num_env_steps_sampled": 10},
        "learners": {"shared": {"entropy": NAN}},
    }
    counters = Counters()
    counters.advance(result, 2.0)
    row = build_row(result, counters, EpisodeWindow(100), 2.0, 10)
    assert "episode_return_mean" not in row  # no episode is in the window
    assert "window_is_full" not in row
    assert "learner/shared/entropy" not in row
    assert not any(math.isnan(value) for value in row.values())


@pytest.mark.parametrize(
    ("metric", "full", "expected"),
    [
        ("episode_return_mean", 1, True),
        ("episode_return_mean", 0, False),
        ("policy_return_mean/walker", 0, False),
        ("success_rate", None, True),  # an older version's
        ("evaluation/episode_return_mean", 0, True),
        ("env_steps_per_s", 0, True),
    ],
)
def test_a_mean_is_settled_when_its_window_is_full(metric, full, expected):
    assert is_settled(metric, {} if full is None else {"window_is_full": full}) is expected


@pytest.mark.parametrize(
    ("metric", "interval", "column"),
    [
        ("success_rate", 0, "success_rate"),
        ("success_rate", 5, "evaluation/success_rate"),
        ("episode_return_mean", 5, "evaluation/episode_return_mean"),
        ("evaluation/success_rate", 5, "evaluation/success_rate"),
        ("agent_return_mean/agent_0", 5, "agent_return_mean/agent_0"),  # evaluation has none
    ],
)
def test_checkpoints_are_scored_by_evaluation_where_there_is_one(
    experiment, metric, interval, column
):
    config = experiment(tune={"metric": metric}, evaluation={"interval": interval})
    assert score_column(config) == column


@pytest.mark.parametrize(
    ("row", "score"),
    [
        ({"success_rate": 0.5, "window_is_full": 1}, 0.5),
        ({"success_rate": 0.5}, 0.5),
        ({"success_rate": 1.0, "window_is_full": 0}, None),  # few episodes may be luck
        ({"window_is_full": 1}, None),
        ({"success_rate": NAN, "window_is_full": 1}, None),
        ({}, None),
    ],
)
def test_a_row_has_a_score_when_its_window_is_full(row, score):
    assert score_of(row, "success_rate") == score


def test_counters_add_up_over_iterations_and_sessions():
    counters = Counters(
        training_iteration=7, env_steps=1000, agent_steps=2000, episodes=20, time_s=10.0
    )
    counters.advance(PPO_RESULT, seconds=2.5)
    counters.advance(PPO_RESULT, seconds=1.0)
    assert counters == Counters(
        training_iteration=9, env_steps=2004, agent_steps=3964, episodes=32, time_s=13.5
    )


def test_an_iteration_without_an_episode_counts_none():
    counters = Counters(episodes=5)
    sampled = {
        "num_env_steps_sampled": NAN,
        "sampled_episodes": SampledEpisodes(0, 0, 0, 3, 1, 3, []),
        "num_episodes": NAN,
    }
    counters.advance({"env_runners": sampled}, seconds=1.0)
    counters.advance({}, seconds=1.0)
    assert counters == Counters(training_iteration=2, agent_steps=3, episodes=5, time_s=2.0)


ROW = {"env_steps": 1000, "episodes": 50, "episode_return_mean": 0.9, "time_s": 60.0}
NEVER = {"env_steps": None}


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"env_steps": 1000}, "env_steps 1,000 >= 1,000"),
        ({"env_steps": 999}, "env_steps 1,000 >= 999"),
        ({"env_steps": 1001}, None),
        ({**NEVER, "episodes": 50}, "episodes 50 >= 50"),
        ({**NEVER, "episodes": 51}, None),
        ({**NEVER, "episode_return_mean": 0.85}, "episode_return_mean 0.9 >= 0.85"),
        ({**NEVER, "episode_return_mean": 0.95}, None),
        ({**NEVER, "time_s": 59.5}, "time_s 60 >= 59.5"),
        ({**NEVER, "time_s": 61.0}, None),
        ({"env_steps": 2000, "episodes": 100, "time_s": 10.0}, "time_s 60 >= 10"),
    ],
)
def test_a_trial_ends_at_whichever_limit_comes_first(limits, reason):
    assert stop_reason(StopConfig(**limits), ROW, 0.9) == reason


@pytest.mark.parametrize("kind", [int, float])
def test_a_reason_gives_counts_to_the_last_digit(kind):
    row = {"env_steps": kind(1_234_567), "episodes": kind(2_000_001)}
    assert (
        stop_reason(StopConfig(env_steps=1_200_000), row, 0.9) == "env_steps 1,234,567 >= 1,200,000"
    )
    stop = StopConfig(env_steps=None, episodes=2_000_000)
    assert stop_reason(stop, row, 0.9) == "episodes 2,000,001 >= 2,000,000"


def test_a_return_of_zero_is_a_limit_like_any_other():
    stop = StopConfig(env_steps=None, episode_return_mean=0.0)
    assert stop_reason(stop, {"episode_return_mean": -0.1}, 0.9) is None
    assert stop_reason(stop, {"episode_return_mean": 0.0}, 0.9) == "episode_return_mean 0 >= 0"


@pytest.mark.parametrize("earlier", [None, 0.84])
def test_a_return_that_the_window_before_did_not_reach_ends_nothing(earlier):
    stop = StopConfig(env_steps=None, episode_return_mean=0.85)
    assert stop_reason(stop, ROW, earlier) is None
    assert stop_reason(stop, ROW, 0.85) == "episode_return_mean 0.9 >= 0.85"


def test_a_return_that_was_not_measured_ends_nothing():
    stop = StopConfig(env_steps=None, episode_return_mean=-100.0)
    assert stop_reason(stop, {"env_steps": 10}, 0.9) is None
    assert stop_reason(stop, {}, 0.9) is None


@pytest.fixture
def rllib_metrics():
    """RLlib's own logger of an algorithm, whose timers come from an older checkpoint."""
    from ray.rllib.utils.metrics.metrics_logger import MetricsLogger

    metrics = MetricsLogger(root=True)
    metrics.log_value(("timers", "env_runner_sampling_timer"), 100.0)
    time_iterations(metrics)
    return metrics


def times_of(metrics, *sampling_s: float) -> dict[str, float]:
    for seconds in sampling_s:
        metrics.log_value(("timers", "env_runner_sampling_timer"), seconds)
    row = row_of(metrics.compile())
    return {key: value for key, value in row.items() if key.startswith("time/")}


def test_times_are_those_of_the_last_iteration_however_many_steps_it_had(rllib_metrics):
    assert times_of(rllib_metrics, 1.0, 2.0) == {"time/sample_s": 3.0}
    assert times_of(rllib_metrics, 0.5) == {"time/sample_s": 0.5}


def test_what_did_not_happen_has_no_time(rllib_metrics):
    assert times_of(rllib_metrics) == {}


def test_an_evaluation_is_in_the_row_of_its_own_iteration_only():
    """RLlib repeats its numbers in the next one."""
    repeated = {"env_runners": PPO_RESULT["evaluation"]["env_runners"]}
    row = row_of({**PPO_RESULT, "evaluation": repeated})
    assert not [key for key in row if key.startswith("evaluation/")]
