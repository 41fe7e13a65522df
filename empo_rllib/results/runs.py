"""Results of several runs or trials, and the groups of those that differ only in the seed."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from empo_rllib.config.schema import ExperimentConfig
from empo_rllib.results.evaluation import FORMAT, EvaluationResult
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
        params: the values sampled for the search spaces of the runs, by dotted key; None where they
            are not trials of one run, or not the same.
    """

    names: tuple[str, ...]
    num_envs: int
    episode_return: GroupEstimate | None
    normalised_return: GroupEstimate | None
    episode_length: GroupEstimate | None
    success_rate: GroupEstimate | None
    policy_return: dict[str, GroupEstimate]
    params: dict[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Returns it as plain data."""
        numbers = ("episode_return", "normalised_return", "episode_length", "success_rate")
        found = {name: getattr(self, name) for name in numbers}
        params = {} if self.params is None else {"params": self.params}
        return {
            "runs": list(self.names),
            **params,
            "num_envs": self.num_envs,
            **{name: value and value.to_dict() for name, value in found.items()},
            "policy_return": {name: e.to_dict() for name, e in self.policy_return.items()},
        }


@dataclass(frozen=True)
class RunsEvaluation:
    """Several runs, each evaluated by the same protocol.

    Attributes:
        runs: one result each; of a run folder with several trials, one for each trial.
        groups: of those that differ only in the seed.
        same_seed: whether some differ in nothing, not even the seed, and are in no group.
        best: the names of the best trials of run folders with several, by `tune.metric`.
        left_out: the names of trials of such folders that have no checkpoint.
    """

    runs: list[EvaluationResult]
    groups: list[EvaluationGroup]
    same_seed: bool = False
    best: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    def to_json(self) -> str:
        """Returns all of it as JSON text."""
        data = {
            "format": FORMAT,
            "package_version": __version__,
            "runs": [result.to_dict() for result in self.runs],
            "groups": [group.to_dict() for group in self.groups],
            "best": list(self.best),
            "left_out": list(self.left_out),
        }
        return json.dumps(data, indent=2)


@dataclass(frozen=True, kw_only=True)
class RunEvaluation(EvaluationResult):
    """A run folder with several trials: the numbers of its best trial, and all of its trials.

    Without a best trial the numbers are those of the first one.

    Attributes:
        every_trial: all trials that have a checkpoint, by the same protocol.
    """

    every_trial: RunsEvaluation

    @property
    def trials(self) -> list[EvaluationResult]:
        """The result of each trial, in the order in which they started."""
        return self.every_trial.runs

    @property
    def groups(self) -> list[EvaluationGroup]:
        """The trials that differ only in the seed."""
        return self.every_trial.groups

    @property
    def best_trial(self) -> str | None:
        """The best trial's id; None where no trial has reported `tune.metric`."""
        return next(iter(self.every_trial.best), None)

    def to_dict(self) -> dict[str, Any]:
        """Returns the numbers of the best trial, and beside them all trials."""
        return {
            **super().to_dict(),
            "best_trial": self.best_trial,
            "trials": [trial.to_dict() for trial in self.trials],
            "groups": [group.to_dict() for group in self.groups],
            "left_out": list(self.every_trial.left_out),
        }


def group_results(
    results: Sequence[EvaluationResult], configs: Sequence[ExperimentConfig]
) -> list[EvaluationGroup]:
    """Groups results of runs that differ only in the seed.

    Runs that were trained and evaluated in several environments form one group more. Runs with the
    same seed, such as two checkpoints of one trial, are no sample of seeds: they are in no group.

    Args:
        results: of each run.
        configs: the experiment that each was trained with.
    """
    groups = []
    for strata in _families(configs):
        samples = [[results[i] for i in runs] for runs in strata if _are_seeds(runs, configs)]
        groups += [_group([runs]) for runs in samples if len(runs) > 1]
        envs = {str(runs[0].protocol.env) for runs in samples}
        if len(envs) == len(samples) > 1 and any(len(runs) > 1 for runs in samples):
            groups.append(_group(samples))
    return groups


def seed_groups(configs: Sequence[ExperimentConfig]) -> list[list[int]]:
    """Returns the indices of experiments that differ only in the seed, two or more in each list."""
    strata = [runs for family in _families(configs) for runs in family]
    return [runs for runs in strata if len(runs) > 1 and _are_seeds(runs, configs)]


def share_a_seed(configs: Sequence[ExperimentConfig]) -> bool:
    """Whether experiments of the same settings also have the same seed, and so form no group."""
    return not all(_are_seeds(runs, configs) for family in _families(configs) for runs in family)


def settings_beside_env(config: ExperimentConfig) -> str:
    """Returns a text that experiments share if they differ only in the environment and the seed."""
    left_out = (*_INCIDENTAL, "env")
    data = {key: value for key, value in config.to_dict().items() if key not in left_out}
    return json.dumps(data, sort_keys=True, default=str)


def env_settings(config: ExperimentConfig) -> str:
    """Returns a text that experiments share if they have the same environment."""
    return json.dumps(config.to_dict()["env"], sort_keys=True, default=str)


def _families(configs: Sequence[ExperimentConfig]) -> list[list[list[int]]]:
    """Returns the indices of experiments with the same settings, and of these by environment."""
    families: dict[str, dict[str, list[int]]] = {}
    for index, config in enumerate(configs):
        strata = families.setdefault(settings_beside_env(config), {})
        strata.setdefault(env_settings(config), []).append(index)
    return [list(strata.values()) for strata in families.values()]


def _are_seeds(runs: Sequence[int], configs: Sequence[ExperimentConfig]) -> bool:
    return len({configs[index].seed for index in runs}) == len(runs)


def _group(strata: Sequence[Sequence[EvaluationResult]]) -> EvaluationGroup:
    runs = [run for stratum in strata for run in stratum]
    in_one = len(strata) == 1

    def over(score: Callable[[EvaluationResult], float | None]) -> GroupEstimate | None:
        scores = [[score(run) for run in stratum] for stratum in strata]
        known = [[value for value in stratum if value is not None] for stratum in scores]
        return stratified_estimate(known) if known == scores else None

    params = runs[0].source.params
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
        params=params if all(run.source.params == params for run in runs) else None,
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
