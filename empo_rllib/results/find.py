"""From what a command line names to the checkpoints that are played."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from empo_rllib.config.load import load_config
from empo_rllib.errors import CheckpointError
from empo_rllib.experiment.checkpoints import Which
from empo_rllib.experiment.run_folder import (
    CONFIG_FILE,
    TrainedTrial,
    choose_checkpoint,
    locate,
    read_trial,
)
from empo_rllib.experiment.summary import SUMMARY_FILE, ExperimentResult, best_of, read_summary
from empo_rllib.trials import has_values


@dataclass(frozen=True)
class TrainedRun:
    """The checkpoints that one path stands for.

    Attributes:
        trials: at least one, each with the checkpoint that was asked for.
        is_whole: whether the path is a run folder with several trials.
        best_trial: for such a folder, the id of the best of `trials` by `tune.metric`; None where
            none has reported the metric.
        left_out: the ids of the folder's other trials, which have no checkpoint.
    """

    trials: tuple[TrainedTrial, ...]
    is_whole: bool = False
    best_trial: str | None = None
    left_out: tuple[str, ...] = ()

    @property
    def main(self) -> TrainedTrial:
        """The best trial, or the first where none is known to be."""
        return next((one for one in self.trials if self.is_best(one)), self.trials[0])

    def is_best(self, trained: TrainedTrial) -> bool:
        """Whether this is the best of the folder's trials."""
        return trained.trial.trial_id == self.best_trial


def find_run(source: str | Path | TrainedTrial | TrainedRun, which: Which = "last") -> TrainedRun:
    """Finds the checkpoints that `source` stands for.

    Args:
        source: A run folder (each of its trials), a trial's folder or a checkpoint. What has been
            found already is returned as it is.
        which: Which checkpoint of a trial is taken.

    Raises:
        RunError: as in `locate`.
        CheckpointError: there is no readable checkpoint.
    """
    if isinstance(source, TrainedRun):
        return source
    if isinstance(source, TrainedTrial):
        return TrainedRun((source,))
    folder = Path(os.path.abspath(Path(source).expanduser()))
    if (folder / SUMMARY_FILE).is_file():
        summary = read_summary(folder)
        if len(summary.trials) > 1:
            return _find_trials(folder, summary, which)
    return TrainedRun((locate(source, which),))


def find_trained(
    run_or_checkpoint: str | Path | TrainedTrial, which: Which = "last"
) -> TrainedTrial:
    """Returns what `locate` finds; a `TrainedTrial` is returned as it is."""
    if isinstance(run_or_checkpoint, TrainedTrial):
        return run_or_checkpoint
    return locate(run_or_checkpoint, which)


@dataclass(frozen=True)
class TrialNames:
    """What tables call the trials of several runs.

    Attributes:
        played: of all trials, run by run.
        best: of the best trials.
        left_out: of those without a checkpoint.
    """

    played: list[str]
    best: tuple[str, ...]
    left_out: tuple[str, ...]


def trial_names(runs: Sequence[TrainedRun]) -> TrialNames:
    """Names all trials: by their ids alone where there is only one run folder."""
    trained = [(run, one) for run in runs for one in run.trials]
    if len(runs) == 1 and runs[0].is_whole:
        played = [one.trial.trial_id for _, one in trained]
        left_out = runs[0].left_out
    else:
        played = run_names([one for _, one in trained])
        left_out = tuple(f"{run.main.run.name}/{name}" for run in runs for name in run.left_out)
    best = [name for name, (run, one) in zip(played, trained, strict=True) if run.is_best(one)]
    return TrialNames(played, tuple(best), left_out)


def run_names(runs: Sequence[TrainedTrial]) -> list[str]:
    """Returns a name for each, with as much of its path as it takes to tell them apart."""
    choices: list[Callable[[TrainedTrial], str]] = [
        lambda run: run.run.name,
        lambda run: f"{run.run.name}/{run.trial.trial_id}",
        lambda run: f"{run.run.name}/{run.trial.trial_id}/{run.checkpoint.name}",
    ]
    for choose in choices:
        names = [choose(run) for run in runs]
        if len(set(names)) == len(names):
            return names
    return [f"{number} {name}" for number, name in enumerate(names, start=1)]


def _find_trials(run: Path, summary: ExperimentResult, which: Which) -> TrainedRun:
    experiment = load_config(run / CONFIG_FILE)
    found: list[TrainedTrial] = []
    left_out: list[str] = []
    for trial in summary.trials:
        if not has_values(experiment, trial.spec):
            left_out.append(trial.trial_id)
            continue
        config = read_trial(run, experiment, trial)
        checkpoint = choose_checkpoint(run / trial.trial_id, which, summary.mode)
        if checkpoint is None:
            left_out.append(trial.trial_id)
        else:
            found.append(TrainedTrial(run, summary, trial, config, checkpoint))
    if not found:
        raise CheckpointError(f"{run}: no trial has saved a checkpoint yet.")
    best = best_of([one.trial for one in found], summary.mode)
    return TrainedRun(
        trials=tuple(found),
        is_whole=True,
        best_trial=None if best is None else best.trial_id,
        left_out=tuple(left_out),
    )
