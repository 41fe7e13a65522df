"""Tune's scheduler of a population: who runs, who waits, and when a round is decided.

Tune only shares the processors out. Members come to a round by their own checkpoint and wait there;
where there are more members than room, one that waits makes room for one that does not. The process
is kept and becomes the next member (`ExperimentTrial.reset_config`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler

from empo_rllib.config.population_settings import PbtScheduler, settings_of
from empo_rllib.config.schema import ExperimentConfig
from empo_rllib.config.search_settings import SEED
from empo_rllib.config.search_space import open_values
from empo_rllib.experiment import interrupt
from empo_rllib.experiment.metrics import score_of
from empo_rllib.experiment.population import (
    Explore,
    Member,
    Round,
    decide,
    perturbing,
    read_rounds,
    schedule_of,
    write_rounds,
)
from empo_rllib.experiment.progress_file import read_progress
from empo_rllib.experiment.summary import ExperimentResult
from empo_rllib.experiment.trial import TrialTask

_WAITING_FOR_ROOM = (Trial.PENDING, Trial.PAUSED)


class PopulationScheduler(FIFOScheduler):
    """Runs the members of a population from round to round.

    Args:
        config: The experiment, with `tune.scheduler: pbt` or `pb2`.
        result: The run; its rounds so far are in its folder.
        notice: Prints a line for the user.
    """

    def __init__(
        self, config: ExperimentConfig, result: ExperimentResult, notice: Callable[[str], None]
    ) -> None:
        super().__init__()
        settings = settings_of(config.tune.scheduler)
        assert settings is not None
        self._settings = settings
        self._explore = build_explore(config)
        self._metric, self._mode = config.tune.objective
        self._seed = config.seed if isinstance(config.seed, int) else 0
        self._result = result
        self._notice = notice
        self._run = Path(result.folder)
        self._rounds = read_rounds(self._run)
        self._arrived: dict[str, Member] = {}
        self._update_schedules()

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles its scheduler to restore experiments; ours are never restored.
        return {}

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Lets a member train on; one that waits for the next round makes room for another."""
        trial_id = _trial_id(trial)
        if result["env_steps"] < self._next_round_at():
            return self.CONTINUE
        if trial_id not in self._arrived:
            self._arrived[trial_id] = self._member(trial_id, result)
        others = tune_controller.get_trials()
        if not any(one.status in _WAITING_FOR_ROOM and self._may_train(one) for one in others):
            return self.CONTINUE
        tune_controller.pause_trial(trial, should_checkpoint=False)
        interrupt.running_trials.discard(trial_id)
        return self.NOOP

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        """Returns a member that may train; first decides the round if all have come to it."""
        if interrupt.current.asked.is_set():
            return None
        going = [trial for trial in tune_controller.get_trials() if not trial.is_finished()]
        if going and all(_trial_id(trial) in self._arrived for trial in going):
            self._decide()
        # Tune asks for one at a time, and again when that one waits for room.
        waiting = sorted(going, key=lambda trial: trial.status != Trial.PAUSED)
        ready = (one for one in waiting if one.status in _WAITING_FOR_ROOM)
        return next((trial for trial in ready if self._may_train(trial)), None)

    def debug_string(self) -> str:
        """Returns a line for Tune's status."""
        return f"population, {len(self._rounds)} rounds decided"

    def _may_train(self, trial: Trial) -> bool:
        return _trial_id(trial) not in self._arrived

    def _next_round_at(self) -> int:
        return (len(self._rounds) + 1) * self._settings.perturbation_interval

    def _member(self, trial_id: str, row: Mapping[str, Any]) -> Member:
        """Returns a member that has come to the next round."""
        iteration = row["training_iteration"]
        before = self._rounds[-1].find(trial_id) if self._rounds else None
        return Member(
            trial_id=trial_id,
            env_steps=row["env_steps"],
            training_iteration=iteration,
            score=self._newest_score(trial_id, before, iteration),
            params=self._result.trial(trial_id).schedule[-1].params,
        )

    def _newest_score(self, trial_id: str, before: Member | None, last: int) -> float | None:
        """Returns the newest settled metric since the round before.

        It is read from the trial's own rows: `tune.metric` may be of an evaluation, which not every
        iteration has, and an earlier session may have reported it.
        """
        first = before.training_iteration if before else 0
        for row in reversed(read_progress(self._run / trial_id)):
            is_new = first < row["training_iteration"] <= last
            if is_new and (score := score_of(row, self._metric)) is not None:
                return score
        return None

    def _decide(self) -> None:
        """Decides the round. Its file goes before all that acts on it."""
        members = [self._arrived[key] for key in sorted(self._arrived)]
        decided = decide(
            members, self._rounds, self._settings, self._explore, self._mode, self._seed
        )
        self._rounds.append(decided)
        write_rounds(self._run, self._rounds)
        self._arrived.clear()
        self._update_schedules()
        with contextlib.suppress(OSError):  # the rounds are written, and go before the summary
            self._result.write()
        self._notice(describe_round(len(self._rounds), decided))

    def _update_schedules(self) -> None:
        for trial in self._result.trials:
            trial.schedule = schedule_of(self._rounds, trial.trial_id, trial.params)


def build_explore(config: ExperimentConfig) -> Explore:
    """Returns how those that copy choose their values."""
    spaces = {
        ".".join(path): space
        for path, space in open_values(config.to_dict()).items()
        if path != SEED
    }
    if isinstance(config.tune.scheduler, PbtScheduler):
        return perturbing(config.tune.scheduler.pbt, spaces)
    from empo_rllib.experiment.bandit import bandit  # imports scikit-learn: half a second

    return bandit(spaces, config.tune.objective.mode)


def describe_round(number: int, decided: Round) -> str:
    """Returns a round in one line: who copies whom."""
    env_steps = max(member.env_steps for member in decided.members)
    copies = [f"{one.trial_id} copies {one.copies}" for one in decided.members if one.copies]
    return f"round {number} at {env_steps:,} env steps: {', '.join(copies) or 'nobody copies'}"


def _trial_id(trial: Trial) -> str:
    return TrialTask.of(trial.config).trial_id
