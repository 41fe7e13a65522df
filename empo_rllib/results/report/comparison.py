"""Which groups of trials can be compared with each other, and their scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from empo_rllib.results.evaluation import EvaluationResult
from empo_rllib.results.report.groups import TrialGroup, drawn_groups, group_trials
from empo_rllib.results.report.play import PlayedTrials
from empo_rllib.results.report.runs import ReportedRun
from empo_rllib.results.runs import env_settings, normalised_return, settings_beside_env

# Fewer seeds have no spread.
MIN_SEEDS = 2


@dataclass(frozen=True)
class ComparedGroup:
    """Trials that differ only in the seed, in one environment or in several.

    Attributes:
        label: what to call it.
        number: which colour and dash it has.
        scores: for each environment one score per trial.
    """

    label: str
    number: int
    scores: Sequence[Sequence[float]]


@dataclass(frozen=True)
class ComparedGroups:
    """Groups that were evaluated in the same environments.

    Attributes:
        groups: in the order of their first trials.
        num_envs: how many environments.
        normalised: whether 0 is the random policy's return and 1 the optimum, and not a return.
        left_out: labels of groups with few seeds, or without an evaluation of each.
    """

    groups: Sequence[ComparedGroup]
    num_envs: int
    normalised: bool
    left_out: Sequence[str]

    @property
    def has_common_scale(self) -> bool:
        """Whether scores of different environments may be pooled."""
        return self.num_envs == 1 or self.normalised


def compare_groups(runs: Sequence[ReportedRun], played: PlayedTrials) -> ComparedGroups:
    """Returns the groups of all runs that have enough seeds in every environment.

    In one environment these are the groups of the learning curves. In several, groups of the same
    settings are joined over environments.
    """
    drawn = drawn_groups(group_trials(runs))
    envs = list(dict.fromkeys(map(_env_of, drawn)))
    found: list[tuple[str, int, list[list[EvaluationResult]]]] = []
    left_out = []
    for number, members in _join(drawn, len(envs) > 1).items():
        label = " + ".join(group.label for group in members)
        by_env = [_results(env, members, played) for env in envs]
        if all(len(of_env) >= MIN_SEEDS for of_env in by_env):
            found.append((label, number, by_env))
        else:
            left_out.append(label)
    every = [result for _, _, by_env in found for of_env in by_env for result in of_env]
    normalised = len(envs) > 1 and all(normalised_return(one) is not None for one in every)
    groups = [
        ComparedGroup(label, number, [_scores(of_env, normalised) for of_env in by_env])
        for label, number, by_env in found
    ]
    return ComparedGroups(groups, len(envs), normalised, left_out)


def _join(groups: Sequence[TrialGroup], over_envs: bool) -> dict[int, list[TrialGroup]]:
    """Returns the groups of the same settings by the number of the first one."""
    numbers: dict[str, int] = {}
    joined: dict[int, list[TrialGroup]] = {}
    for number, group in enumerate(groups):
        key = settings_beside_env(group.trials[0].config) if over_envs else str(number)
        joined.setdefault(numbers.setdefault(key, number), []).append(group)
    return joined


def _results(
    env: str, groups: Sequence[TrialGroup], played: PlayedTrials
) -> list[EvaluationResult]:
    own = (group for group in groups if _env_of(group) == env)
    return [result for group in own for result in played.results_of(group.trials) or []]


def _env_of(group: TrialGroup) -> str:
    return env_settings(group.trials[0].config)


def _scores(results: Sequence[EvaluationResult], normalised: bool) -> list[float]:
    """Returns one score per run: its mean over episodes."""
    if normalised:
        return [value for one in results if (value := normalised_return(one)) is not None]
    return [one.episode_return.mean for one in results]
