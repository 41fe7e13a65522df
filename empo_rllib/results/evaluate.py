"""How well trained policies do: episodes played anew, and statistics of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from empo_rllib.console import Tell
from empo_rllib.errors import ConfigError
from empo_rllib.experiment.checkpoints import Which
from empo_rllib.experiment.run_folder import TrainedTrial
from empo_rllib.results.evaluation import EvaluationResult
from empo_rllib.results.evaluator import Evaluator
from empo_rllib.results.find import TrainedRun, find_run, trial_names
from empo_rllib.results.runs import RunEvaluation, RunsEvaluation, group_results, share_a_seed
from empo_rllib.results.settings import with_settings

_MAX_SEED = 2**32


def evaluate(
    run_or_checkpoint: str | Path | TrainedTrial | TrainedRun,
    episodes: int = 100,
    seed: int = 0,
    greedy: bool | None = None,
    settings: Iterable[str] = (),
    references: bool = True,
    checkpoint: Which = "last",
    tell: Tell = lambda text: None,
) -> EvaluationResult:
    """Plays episodes with trained policies and measures them.

    The same arguments give the same numbers. Neither starts Ray nor runs code of the checkpoint.

    Args:
        run_or_checkpoint: A run folder (each of its trials), a trial or a checkpoint.
        episodes: How many to play, each to its end.
        seed: Episode i is played on an environment reset with `seed + i`.
        greedy: Take the most likely actions; otherwise draw them as in training. None: draw them
            where the policies are stochastic; DQN takes the best.
        settings: `env.key=value` texts that change the environment that was trained in.
        references: Also play the random policy, and search for the optimum.
        checkpoint: Which checkpoint of a trial plays.
        tell: Is told which of several trials plays.

    Returns:
        The result. For a run folder with several trials it is a `RunEvaluation`: the numbers of the
        best trial, with `trials` and `groups` beside them.

    Raises:
        ConfigError: an argument has an impossible value, the policies do not fit the settings, or
            what the experiment needs is gone.
        RunError: there is no run folder, trial or checkpoint.
        CheckpointError: the checkpoint is damaged.
    """
    check_protocol(episodes, seed)
    found = find_run(run_or_checkpoint, checkpoint)
    settings = tuple(settings)
    evaluator = Evaluator(episodes, seed, greedy, references)
    if found.is_whole:
        return _evaluate_whole(found, evaluator, settings, tell)
    (trained,) = found.trials
    return evaluator.evaluate(trained, with_settings(trained.config, settings), settings)


def evaluate_runs(
    runs: Iterable[str | Path | TrainedTrial | TrainedRun],
    episodes: int = 100,
    seed: int = 0,
    greedy: bool | None = None,
    settings: Iterable[str] = (),
    references: bool = True,
    checkpoint: Which = "last",
    tell: Tell = lambda text: None,
) -> RunsEvaluation:
    """Evaluates several runs as `evaluate` does one, and groups those that differ in the seed."""
    check_protocol(episodes, seed)
    found = [find_run(run, checkpoint) for run in runs]
    evaluator = Evaluator(episodes, seed, greedy, references)
    return _evaluate_all(found, evaluator, tuple(settings), tell)


def check_protocol(episodes: int, seed: int) -> None:
    """Refuses impossible numbers.

    Raises:
        ConfigError: as said.
    """
    if episodes < 1:
        raise ConfigError(f"episodes = {episodes} must be at least 1.")
    if not 0 <= seed < _MAX_SEED:
        raise ConfigError(f"seed = {seed} must be at least 0 and less than 2**32.")


def _evaluate_whole(
    run: TrainedRun, evaluator: Evaluator, settings: tuple[str, ...], tell: Tell
) -> RunEvaluation:
    every = _evaluate_all([run], evaluator, settings, tell)
    main = every.runs[run.trials.index(run.main)]
    # The numbers beside the trials are those that the trial alone has.
    source = replace(main.source, name=run.main.config.name, params=None)
    return RunEvaluation(**{**vars(main), "source": source}, every_trial=every)


def _evaluate_all(
    runs: Sequence[TrainedRun], evaluator: Evaluator, settings: tuple[str, ...], tell: Tell
) -> RunsEvaluation:
    trained = [(run, one) for run in runs for one in run.trials]
    played_in = [with_settings(one.config, settings) for _, one in trained]
    names = trial_names(runs)
    results: list[EvaluationResult] = []
    for (run, one), config, name in zip(trained, played_in, names.played, strict=True):
        tell(f"Playing trial {len(results) + 1} of {len(trained)}: {name}")
        result = evaluator.evaluate(one, config, settings, name)
        if run.is_whole:
            result = replace(result, source=replace(result.source, params=one.trial.params))
        results.append(result)
    configs = [one.config for _, one in trained]
    return RunsEvaluation(
        runs=results,
        groups=group_results(results, configs),
        same_seed=share_a_seed(configs),
        best=names.best,
        left_out=names.left_out,
    )
