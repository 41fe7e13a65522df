"""Several runs by one protocol, and what they say of the settings that they have in common."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from empo_rllib.config.schema import ExperimentConfig
from empo_rllib.experiment.run_folder import TrainedTrial
from empo_rllib.results.evaluate import Evaluator, check_protocol, find_trained
from empo_rllib.results.evaluation import FORMAT, EvaluationResult
from empo_rllib.results.settings import with_settings
from empo_rllib.statistics import Estimate, GroupEstimate, stratified_estimate
from empo_rllib.version import __version__

# What may differ between runs that are seeds of the same settings.
_INCIDENTAL = ("seed", "name", "storage_path", "logging", "tune", "checkpoint")


@dataclass(frozen=True)
class EvaluationGroup:
    """Runs that differ only in the seed, in one environment or in several.

    Each run counts once, with its mean over episodes: what differs between seeds is the training.

    Attributes:
        names: the runs, as tables call them.
        num_envs: how many environments they were played in; these are the strata.
        episode_return: of a run; None for several environments, whose returns have no common
            scale.
        normalised_return: 0 for the random policy, 1 for the optimum; None where that is not known.
        episode_length: of a run; None for several environments.
        success_rate: of a run; None where an environment does not tell.
        policy_return: of a run, for each policy; empty for several environments.
    """

    names: tuple[str, ...]
    num_envs: int
    episode_return: GroupEstimate | None
    normalised_return: GroupEstimate | None
    episode_length: GroupEstimate | None
    success_rate: GroupEstimate | None
    policy_return: dict[str, GroupEstimate]

    def to_dict(self) -> dict[str, Any]:
        """Returns it as plain data."""
        numbers = ("episode_return", "normalised_return", "episode_length", "success_rate")
        found = {name: getattr(self, name) for name in numbers}
        return {
            "runs": list(self.names),
            "num_envs": self.num_envs,
            **{name: value and value.to_dict() for name, value in found.items()},
            "policy_return": {name: e.to_dict() for name, e in self.policy_return.items()},
        }


@dataclass(frozen=True)
class RunsEvaluation:
    """Several runs, each evaluated by the same protocol.

    Attributes:
        runs: one result each.
        groups: of those that differ only in the seed.
        same_seed: whether some differ in nothing, not even the seed, and are in no group.
    """

    runs: list[EvaluationResult]
    groups: list[EvaluationGroup]
    same_seed: bool = False

    def to_json(self) -> str:
        """Returns all of it as JSON text."""
        data = {
            "format": FORMAT,
            "package_version": __version__,
            "runs": [result.to_dict() for result in self.runs],
            "groups": [group.to_dict() for group in self.groups],
        }
        return json.dumps(data, indent=2)


def evaluate_runs(
    runs: Iterable[str | Path | TrainedTrial],
    episodes: int = 100,
    seed: int = 0,
    greedy: bool | None = None,
    settings: Iterable[str] = (),
    references: bool = True,
) -> RunsEvaluation:
    """Evaluates several runs as `evaluate` does one, and groups those that differ in the seed."""
    check_protocol(episodes, seed)
    trained = [find_trained(run) for run in runs]
    settings = tuple(settings)
    configs = [with_settings(one.config, settings) for one in trained]
    evaluator = Evaluator(episodes, seed, greedy, references)
    results = [
        evaluator.evaluate(one, config, settings, name)
        for one, config, name in zip(trained, configs, run_names(trained), strict=True)
    ]
    strata = [runs for family in _families(results, configs) for runs in family]
    same_seed = not all(map(_are_seeds, strata))
    return RunsEvaluation(results, group_results(results, configs), same_seed)


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


def group_results(
    results: Sequence[EvaluationResult], configs: Sequence[ExperimentConfig]
) -> list[EvaluationGroup]:
    """Groups results of runs that differ only in the seed.

    Runs that also differ in the environment form one group more. Runs with the same seed, such as
    two checkpoints of one trial, are no sample of seeds: they are in no group.

    Args:
        results: of each run.
        configs: the experiment of each, with the environment that it was evaluated in.
    """
    groups = []
    for strata in _families(results, configs):
        samples = [runs for runs in strata if _are_seeds(runs)]
        groups += [_group([runs]) for runs in samples if len(runs) > 1]
        if len(samples) > 1 and any(len(runs) > 1 for runs in samples):
            groups.append(_group(samples))
    return groups


def _families(
    results: Sequence[EvaluationResult], configs: Sequence[ExperimentConfig]
) -> list[list[list[EvaluationResult]]]:
    """Returns the runs of the same settings, and of these, those of each environment."""
    families: dict[str, dict[str, list[EvaluationResult]]] = {}
    for result, config in zip(results, configs, strict=True):
        data = {k: v for k, v in config.to_dict().items() if k not in _INCIDENTAL}
        env = data.pop("env")
        strata = families.setdefault(json.dumps(data, sort_keys=True, default=str), {})
        strata.setdefault(json.dumps(env, sort_keys=True, default=str), []).append(result)
    return [list(strata.values()) for strata in families.values()]


def _are_seeds(runs: Sequence[EvaluationResult]) -> bool:
    return len({run.source.training_seed for run in runs}) == len(runs)


def _group(strata: Sequence[Sequence[EvaluationResult]]) -> EvaluationGroup:
    runs = [run for stratum in strata for run in stratum]
    in_one = len(strata) == 1

    def over(score: Callable[[EvaluationResult], float | None]) -> GroupEstimate | None:
        scores = [[score(run) for run in stratum] for stratum in strata]
        known = [[value for value in stratum if value is not None] for stratum in scores]
        return stratified_estimate(known) if known == scores else None

    policies = list(runs[0].policy_return) if in_one else []
    by_policy = {name: over(partial(_policy_mean, name)) for name in policies}
    return EvaluationGroup(
        names=tuple(run.source.name for run in runs),
        num_envs=len(strata),
        episode_return=over(lambda run: run.episode_return.mean) if in_one else None,
        normalised_return=over(normalised_return),
        episode_length=over(lambda run: run.episode_length.mean) if in_one else None,
        success_rate=over(lambda run: run.success_rate),
        policy_return={name: value for name, value in by_policy.items() if value is not None},
    )


def _policy_mean(policy: str, run: EvaluationResult) -> float | None:
    found: Estimate | None = run.policy_return.get(policy)
    return None if found is None else found.mean


def normalised_return(result: EvaluationResult) -> float | None:
    """Returns where a return lies between the random policy's, 0, and the optimum, 1."""
    references = result.references
    if references is None or references.optimum is None:
        return None
    bottom = references.random_policy.episode_return.mean
    reach = references.optimum - bottom
    return (result.episode_return.mean - bottom) / reach if reach > 0 else None
