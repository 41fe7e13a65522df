"""The schedule of a trial: with which values it trains from when on, and from whose weights.

A trial restarts in its process where its schedule changes: RLlib's config is frozen and copied to
env runners and learners, and a new algorithm is the one place where every value acts for certain.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from empo_rllib.algorithms.setup import TrialSetup
from empo_rllib.config.algorithms import ALGORITHMS
from empo_rllib.config.load import validate_config
from empo_rllib.config.population_settings import PARAMS, ReplayScheduler, settings_of
from empo_rllib.config.schema import ExperimentConfig
from empo_rllib.config.search_space import is_search_space
from empo_rllib.errors import ConfigError, RunError, nearest
from empo_rllib.experiment.checkpoints import check_intact, checkpoint_path
from empo_rllib.experiment.population import Change, Round, lineage, read_rounds, schedule_of
from empo_rllib.experiment.summary import TrialSummary, read_summary

_LOOK_EVERY_S = 0.1


class Schedule(Protocol):
    """What a trial's process asks its schedule."""

    def changes(self) -> Sequence[Change]:
        """Returns the changes that are known now, the start first."""

    def may_change(self, before: int, after: int) -> bool:
        """Whether a change may come between these env steps, so that a checkpoint is due."""

    def is_open(self, env_steps: int, wait_s: float) -> bool:
        """Whether it is not decided yet how to continue at `env_steps`, also after `wait_s`."""

    def kept(self) -> set[int]:
        """Returns the training iterations whose checkpoints others may still need."""


class Replay:
    """A schedule that is known from the start.

    Args:
        changes: Those of a population's member; whose weights they copied does not count.
    """

    def __init__(self, changes: Sequence[Change]) -> None:
        self._changes = changes

    def changes(self) -> Sequence[Change]:
        """See `Schedule`."""
        return self._changes

    def may_change(self, before: int, after: int) -> bool:
        """See `Schedule`."""
        return any(before < change.env_steps <= after for change in self._changes)

    def is_open(self, env_steps: int, wait_s: float) -> bool:
        """See `Schedule`."""
        return False

    def kept(self) -> set[int]:
        """See `Schedule`."""
        return set()


class Membership:
    """The schedule of a member, which the rounds of its population extend.

    Args:
        run: The run folder.
        trial_id: The member.
        interval: Env steps between rounds.
        start: Its values at the start, by dotted key.
    """

    def __init__(self, run: Path, trial_id: str, interval: int, start: Mapping[str, Any]) -> None:
        self._run = run
        self._trial_id = trial_id
        self._interval = interval
        self._start = start
        self._rounds: list[Round] = []

    def changes(self) -> Sequence[Change]:
        """See `Schedule`."""
        self._rounds = self._rounds or read_rounds(self._run)
        return schedule_of(self._rounds, self._trial_id, self._start)

    def may_change(self, before: int, after: int) -> bool:
        """See `Schedule`."""
        return before // self._interval < after // self._interval

    def is_open(self, env_steps: int, wait_s: float) -> bool:
        """See `Schedule`."""
        until = time.monotonic() + wait_s
        while self._is_ahead(env_steps):
            self._rounds = read_rounds(self._run)
            if not self._is_ahead(env_steps) or time.monotonic() > until:
                break
            time.sleep(_LOOK_EVERY_S)
        return self._is_ahead(env_steps)

    def kept(self) -> set[int]:
        """See `Schedule`.

        Whoever copies this member in the newest round has done so when the next one is decided.
        """
        newest = self._rounds[-1].find(self._trial_id) if self._rounds else None
        return {newest.training_iteration} if newest else set()

    def _is_ahead(self, env_steps: int) -> bool:
        return env_steps >= (len(self._rounds) + 1) * self._interval


def build_schedule(config: ExperimentConfig, trial: TrialSummary, run: Path) -> Schedule | None:
    """Returns the schedule of a trial; None where its values never change."""
    if settings := settings_of(config.tune.scheduler):
        return Membership(run, trial.trial_id, settings.perturbation_interval, trial.params)
    return Replay(trial.schedule) if trial.schedule else None


def change_at(changes: Sequence[Change], env_steps: int) -> Change:
    """Returns the change that a trial with so many env steps trains with."""
    return [change for change in changes if change.env_steps <= env_steps][-1]


def copied_checkpoint(change: Change, run: Path, env_steps: int) -> Path | None:
    """Returns the checkpoint of another that a trial is to continue from.

    It is None once the trial has trained on since the change, or where it copies nobody.

    Raises:
        CheckpointError: it is damaged.
    """
    if change.copied_from is None or change.env_steps != env_steps:
        return None
    assert change.copied_iteration is not None
    source = checkpoint_path(run / change.copied_from, change.copied_iteration)
    check_intact(source)
    return source


def with_values(setup: TrialSetup, values: Mapping[str, Any]) -> TrialSetup:
    """Returns the setup of a trial with other values of mutable keys."""
    return replace(setup, config=_with_params(setup.config, values))


def _with_params(config: ExperimentConfig, values: Mapping[str, Any]) -> ExperimentConfig:
    params = config.algorithm.params | {key.split(".")[-1]: value for key, value in values.items()}
    algorithm = config.algorithm.model_copy(update={"params": params})
    return config.model_copy(update={"algorithm": algorithm})


def read_replayed(config: ExperimentConfig) -> list[Change]:
    """Returns the schedule that `tune.scheduler: {replay: ..}` names; none without one.

    It is what led to the newest weights of the member: up to a copy, the schedule of whom it
    copied.

    Raises:
        RunError: there is no such run, trial or schedule.
        ConfigError: the experiment cannot follow it.
    """
    if not isinstance(config.tune.scheduler, ReplayScheduler):
        return []
    source = config.tune.scheduler.replay
    path, _, trial_id = source.partition("#")
    summary = read_summary(Path(path).expanduser())
    schedules = {trial.trial_id: trial.schedule for trial in summary.trials if trial.schedule}
    if not schedules:
        raise RunError(f"tune.scheduler.replay = {source!r}: no trial of this run has a schedule.")
    name = trial_id or summary.best_trial or ""
    if name not in schedules:
        raise RunError(
            f"tune.scheduler.replay = {source!r}: {name!r} is no trial with a schedule. There are "
            f"{', '.join(schedules)}.{nearest(name, schedules)}"
        )
    changes = [
        Change(round=change.round, env_steps=change.env_steps, params=change.params)
        for _, change in lineage(schedules, name)
    ]
    _check_replay(config, changes, source)
    return changes


def _check_replay(config: ExperimentConfig, changes: Sequence[Change], source: str) -> None:
    names = {key.rpartition(".")[2] for change in changes for key in change.params}
    for algorithm in config.algorithm.names:
        if foreign := sorted(names - ALGORITHMS[algorithm].mutable):
            raise ConfigError(
                f"tune.scheduler.replay = {source!r}: {algorithm} cannot change "
                f"{', '.join(foreign)} during training."
            )
    open_ones = [name for name in names if is_search_space(config.algorithm.params.get(name))]
    if open_ones:
        keys = ", ".join(".".join((*PARAMS, name)) for name in sorted(open_ones))
        raise ConfigError(
            f"tune.scheduler.replay = {source!r} gives the values of {keys}: drop their search "
            "spaces."
        )
    for change in changes:
        validate_config(
            _with_params(config, change.params).to_dict(),
            source=f"tune.scheduler.replay = {source!r}, from {change.env_steps} env steps on",
        )
