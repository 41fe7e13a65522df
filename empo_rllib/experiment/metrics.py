"""One training result of RLlib as one row of numbers, under names a person can read.

Rows go to `progress.csv`, TensorBoard, W&B and the terminal alike. A key that is missing in a
row was not measured in that iteration (no episode ended, no evaluation).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from empo_rllib import columns
from empo_rllib.config.schema import ExperimentConfig
from empo_rllib.config.sections import StopConfig
from empo_rllib.config.tune_settings import METRICS
from empo_rllib.sampling.episode_window import (
    SAMPLED_EPISODES,
    EpisodeWindow,
    SampledEpisodes,
    episode_columns,
)

if TYPE_CHECKING:
    from ray.rllib.algorithms.algorithm import Algorithm
    from ray.rllib.utils.metrics.metrics_logger import MetricsLogger

Row = dict[str, float]

# RLlib's names of learner statistics -> ours. An algorithm reports some of them.
_LEARNER_NAMES = {
    "total_loss": "total_loss",
    "policy_loss": "policy_loss",
    "mean_pi_loss": "policy_loss",
    "vf_loss": "value_loss",
    "mean_vf_loss": "value_loss",
    "vf_explained_var": "value_explained_variance",
    "entropy": "entropy",
    "mean_entropy": "entropy",
    "mean_kl_loss": "kl",
    "curr_kl_coeff": "kl_coefficient",
    "curr_entropy_coeff": "entropy_coefficient",
    "qf_loss": "q_loss",
    "qf_mean": "q_mean",
    "td_error_mean": "td_error",
    "alpha_value": "alpha",
    "alpha_loss": "alpha_loss",
    "gradients_default_optimizer_global_norm": "gradient_norm",
    "default_optimizer_learning_rate": "learning_rate",
}
# IMPALA and APPO sample while they learn, and measure only the latter.
_TIMER_NAMES = {
    "env_runner_sampling_timer": columns.SAMPLE_S,
    "learner_update_timer": columns.LEARN_S,
}


@dataclass
class Counters:
    """What a trial has done over its whole life, all its sessions together."""

    training_iteration: int = 0
    env_steps: int = 0
    agent_steps: int = 0
    episodes: int = 0
    time_s: float = 0.0

    def advance(self, result: Mapping[str, Any], seconds: float) -> None:
        """Adds one training iteration that took `seconds`."""
        sampled = result.get("env_runners", {})
        self.training_iteration += 1
        self.env_steps += sampled_env_steps(result)
        self.agent_steps += sum(sample.agent_steps for sample in _sampled_episodes(result))
        self.episodes += _count(sampled.get("num_episodes", 0))
        self.time_s += seconds


def sampled_env_steps(result: Mapping[str, Any]) -> int:
    """Returns how many env steps were sampled in a training iteration."""
    return _count(result.get("env_runners", {}).get("num_env_steps_sampled", 0))


def time_iterations(metrics: MetricsLogger) -> None:
    """Makes RLlib sum up what sampling and learning take in each iteration.

    RLlib's own value is a mean over hundreds of iterations. The first to log under a key decides
    how it is reduced, and a checkpoint brings what was decided before it.
    """
    for timer in _TIMER_NAMES:
        metrics.delete("timers", timer, key_error=False)
        metrics.log_time(("timers", timer), reduce="sum")


def build_row(
    result: Mapping[str, Any],
    counters: Counters,
    window: EpisodeWindow,
    seconds: float,
    new_env_steps: int,
) -> Row:
    """Returns the row of one training iteration.

    Args:
        result: What RLlib's `Algorithm.train` returned.
        counters: The trial's counters, this iteration included.
        window: The trial's newest episodes, those of this iteration included.
        seconds: Duration of this iteration.
        new_env_steps: Env steps sampled in this iteration.
    """
    row: Row = {**asdict(counters), columns.ENV_STEPS_PER_S: new_env_steps / max(seconds, 1e-9)}
    if means := window.columns():
        row |= means | {columns.WINDOW_IS_FULL: int(window.is_full)}
    evaluated = [
        episode
        for sample in _sampled_episodes({"env_runners": evaluation_of(result)})
        for _, _, episode in sample.ended
    ]
    row |= {columns.EVALUATION + key: value for key, value in episode_columns(evaluated).items()}
    for policy, stats in sorted(result.get("learners", {}).items()):
        if policy != "__all_modules__":
            row |= {
                f"{columns.LEARNER}{policy}/{ours}": float(stats[theirs])
                for theirs, ours in _LEARNER_NAMES.items()
                if theirs in stats
            }
    timers = result.get("timers", {})
    row |= {
        ours: float(timers[theirs]) for theirs, ours in _TIMER_NAMES.items() if timers.get(theirs)
    }
    return {key: value for key, value in row.items() if not math.isnan(value)}


def add_episodes(
    window: EpisodeWindow, result: Mapping[str, Any], counters: Counters, algorithm: Algorithm
) -> None:
    """Adds the episodes of an iteration, which `counters` include already, to the window."""
    group = algorithm.env_runner_group
    healthy = group.healthy_env_runner_ids() if group.num_remote_env_runners() else [0]
    window.add(counters.training_iteration, _sampled_episodes(result), healthy)


def evaluation_of(result: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns what env runners measured in an evaluation, if this iteration had one.

    RLlib 2.60 repeats the numbers once, in the next iteration, without the number of env runners.
    """
    evaluation = result.get("evaluation", {})
    evaluated: Mapping[str, Any] = evaluation.get("env_runners", {})
    return evaluated if "num_healthy_workers" in evaluation else {}


def _sampled_episodes(result: Mapping[str, Any]) -> list[SampledEpisodes]:
    sampled = result.get("env_runners", {}).get(SAMPLED_EPISODES, [])
    return sampled if isinstance(sampled, list) else [sampled]  # RLlib unpacks a list of one


def is_settled(metric: str, row: Mapping[str, float]) -> bool:
    """Whether a row's value of `metric` is not a mean over fewer episodes than it is to be.

    Rows of older versions say nothing about it.
    """
    in_window = not metric.startswith(columns.EVALUATION) and metric != columns.ENV_STEPS_PER_S
    return not in_window or bool(row.get(columns.WINDOW_IS_FULL, True))


def score_column(config: ExperimentConfig) -> str:
    """Returns the column that says how good a checkpoint is.

    It is `tune.metric`, the first of several, and of the evaluation where an experiment has one:
    training's means are also over episodes of older weights.
    """
    metric = config.tune.objective.metric
    evaluated = f"{columns.EVALUATION}{metric}"
    return evaluated if config.evaluation.interval and evaluated in METRICS else metric


def score_of(row: Mapping[str, float], column: str) -> float | None:
    """Returns a row's score; None where the iteration has none or too few episodes."""
    value = row.get(column)
    if value is None or not math.isfinite(value) or not is_settled(column, row):
        return None
    return value


def _count(value: float) -> int:
    # RLlib 2.60 reports NaN for what has happened before, but not in this iteration.
    return 0 if math.isnan(value) else int(value)


def stop_reason(
    stop: StopConfig, row: Mapping[str, float], earlier_return_mean: float | None
) -> str | None:
    """Says which limit of `stop` the row has reached, or None.

    Args:
        stop: The limits.
        row: Numbers by column.
        earlier_return_mean: Mean return of the window of episodes before the row's. A mean that
            is reached in one window only may be luck.
    """
    limits = {
        columns.ENV_STEPS: stop.env_steps,
        columns.EPISODES: stop.episodes,
        columns.EPISODE_RETURN_MEAN: stop.episode_return_mean,
        columns.TIME_S: stop.time_s,
    }
    if stop.episode_return_mean is None or (
        earlier_return_mean is None or earlier_return_mean < stop.episode_return_mean
    ):
        del limits[columns.EPISODE_RETURN_MEAN]
    for key, limit in limits.items():
        if limit is not None and row.get(key, -math.inf) >= limit:
            form = ",.0f" if isinstance(limit, int) else "g"
            return f"{key} {row[key]:{form}} >= {limit:{form}}"
    return None
