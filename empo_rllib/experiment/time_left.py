"""How long trials and runs still take, at the rate so far."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean
from typing import Any

from empo_rllib import columns
from empo_rllib.config.schema import ExperimentConfig
from empo_rllib.config.tune_settings import AshaScheduler
from empo_rllib.experiment.summary import ExperimentResult


def share_done(config: ExperimentConfig, row: Mapping[str, Any]) -> float | None:
    """Returns how much of the nearest limit is reached, from 0 to 1; None without such a limit.

    Args:
        config: The experiment.
        row: Env steps, episodes and seconds so far, by the names of their columns.
    """
    limits = (
        (config.stop.env_steps, row[columns.ENV_STEPS]),
        (config.stop.episodes, row[columns.EPISODES]),
        (config.stop.time_s, row[columns.TIME_S]),
    )
    shares = [done / limit for limit, done in limits if limit is not None]
    return min(1.0, max(shares)) if shares else None


def time_left(config: ExperimentConfig, row: Mapping[str, Any]) -> float | None:
    """Returns the seconds until the nearest limit, at the rate of the trial so far.

    `may_end_earlier` says whether that is an upper bound.
    """
    share = share_done(config, row)
    return row[columns.TIME_S] * (1 - share) / share if share else None


def may_end_earlier(config: ExperimentConfig) -> bool:
    """Whether a trial may end before its limits: by its return, or because ASHA stops it."""
    has_return_target = config.stop.episode_return_mean is not None
    return has_return_target or isinstance(config.tune.scheduler, AshaScheduler)


def run_time_left(config: ExperimentConfig, result: ExperimentResult) -> float | None:
    """Returns the seconds until all trials are over; None while no trial lets it be estimated.

    A trial whose end cannot be estimated is taken to last as long as the others do, and as many
    trials as run now are taken to run later.
    """
    running = [trial for trial in result.trials if trial.status == "running"]
    num_pending = sum(trial.status == "pending" for trial in result.trials)
    estimates = {trial.trial_id: time_left(config, vars(trial)) for trial in running}
    durations = [trial.time_s for trial in result.trials if trial.is_over and trial.time_s]
    durations += [t.time_s + left for t in running if (left := estimates[t.trial_id]) is not None]
    if not running or not durations:
        return None
    typical = fmean(durations)
    remaining = [
        max(0.0, typical - trial.time_s) if left is None else left
        for trial in running
        for left in [estimates[trial.trial_id]]
    ]
    return max(*remaining, (sum(remaining) + num_pending * typical) / len(running))


def duration(seconds: float | None) -> str:
    """Formats seconds as `45s`, `3m05s` or `2h10m`."""
    if seconds is None:
        return ""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


def rough_duration(seconds: float) -> str:
    """Formats an estimate in seconds as `50 s`, `12 min` or `2.5 h`."""
    if seconds < 95:
        return f"{max(1, round(seconds / 10)) * 10} s"
    if seconds < 95 * 60:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"
