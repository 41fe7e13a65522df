"""Settings that follow from what was measured; nothing is suggested without a number."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np

from empo_rllib.config.params import known_params
from empo_rllib.config.schema import ExperimentConfig
from empo_rllib.doctor.play import Played
from empo_rllib.doctor.times import Times

_SLOW_S = 2.0
_LONG_START_S = 5.0
_MANY_AGENTS = 4
_CLIPPED_SHARE = 0.1
_MIN_EPISODES = 2


@dataclass(frozen=True)
class Suggestion:
    """A setting of the experiment, and the measurement that speaks for it."""

    key: str
    value: Any
    reason: str

    @property
    def option(self) -> str:
        """The option to paste."""
        value = f"{self.value:g}" if isinstance(self.value, float) else self.value
        return f"--set {self.key}={value}"


@dataclass(frozen=True)
class Measured:
    """What suggestions follow from.

    Attributes:
        config: the experiment as it is.
        sampler: that samples it.
        played: by a random policy.
        times: of its steps.
        same_spaces: whether all agents have the same.
        cpus: of this machine.
    """

    config: ExperimentConfig
    sampler: str
    played: Played
    times: Times
    same_spaces: bool
    cpus: int


def suggest(measured: Measured) -> list[Suggestion]:
    """Returns settings other than those that the experiment has already."""
    return [*_env_runners(measured), *_envs(measured), *_shared(measured), *_value_clip(measured)]


def available_cpus() -> int:
    """Returns how many CPUs this process may use."""
    return len(os.sched_getaffinity(0))


def _env_runners(measured: Measured) -> Iterator[Suggestion]:
    """Python environments that take long to fill a batch are stepped in several processes."""
    if measured.sampler != "python":
        return
    batch, step_s = _batch_size(measured.config), _env_step_s(measured)
    wanted = min(measured.cpus, math.ceil(batch * step_s))
    if batch * step_s < _SLOW_S or wanted < 2:
        return
    if measured.config.resources.num_env_runners < wanted:
        yield Suggestion(
            "resources.num_env_runners",
            wanted,
            f"a batch of {batch:,} env steps takes {batch * step_s:.1f} s in one process, at "
            f"{step_s * 1000:.2g} ms each; this machine has {measured.cpus} CPUs",
        )


def _envs(measured: Measured) -> Iterator[Suggestion]:
    """Fewer Python environments, where batches would cut episodes short or take long to start."""
    if measured.sampler != "python":
        return
    candidates = [*_envs_for_whole_episodes(measured), *_envs_for_a_quick_start(measured)]
    if candidates:
        yield min(candidates, key=lambda suggestion: suggestion.value)


def _envs_for_whole_episodes(measured: Measured) -> Iterator[Suggestion]:
    config, episodes = measured.config, measured.played.episodes
    batch, envs = _batch_size(config), config.resources.num_envs_per_env_runner
    runners = max([config.resources.num_env_runners, *(s.value for s in _env_runners(measured))])
    steps = batch // (envs * max(1, runners))
    if len(episodes) < _MIN_EPISODES:
        return
    length = fmean(episode.length for episode in episodes)
    whole = max(1, int(batch / length / max(1, runners)))
    if steps < length and whole <= envs / 2:
        where = f"{envs} envs" if runners < 2 else f"{runners} x {envs} envs"
        yield Suggestion(
            "resources.num_envs_per_env_runner",
            whole,
            f"a batch of {batch:,} env steps from {where} holds {max(1, steps)} steps of each, "
            f"episodes have {length:.0f}; Python envs step in turn, so fewer are hardly slower",
        )


def _envs_for_a_quick_start(measured: Measured) -> Iterator[Suggestion]:
    envs, make_s = measured.config.resources.num_envs_per_env_runner, measured.times.make_us / 1e6
    if envs * make_s > _LONG_START_S:
        yield Suggestion(
            "resources.num_envs_per_env_runner",
            max(1, int(_LONG_START_S / make_s)),
            f"making {envs} envs takes {envs * make_s:.0f} s, at {make_s:.2g} s each",
        )


def _shared(measured: Measured) -> Iterator[Suggestion]:
    agents = len(measured.played.seen_agents)
    if (
        measured.config.policies == "independent"
        and measured.same_spaces
        and agents >= _MANY_AGENTS
    ):
        yield Suggestion(
            "policies",
            "shared",
            f"all {agents} agents have the same spaces: one network learns from {agents} times as "
            "many steps (it is told which agent it is)",
        )


def _value_clip(measured: Measured) -> Iterator[Suggestion]:
    """Value targets beyond `vf_clip_param` have no gradient while the network says about 0."""
    limit = _param(measured.config, "vf_clip_param")
    gamma = _param(measured.config, "gamma")
    if not isinstance(limit, int | float) or not isinstance(gamma, int | float):
        return
    squares = np.square(_returns_to_go(measured.played, gamma))
    if len(squares) == 0 or (share := float(np.mean(squares > limit))) < _CLIPPED_SHARE:
        return
    yield Suggestion(
        "algorithm.params.vf_clip_param",
        _round_up(float(np.quantile(squares, 0.99))),
        f"{share:.0%} of the discounted returns are larger than {math.sqrt(limit):.1f}: the "
        f"critic's squared error is cut off at {limit:g}, and what is cut off teaches nothing",
    )


def _returns_to_go(played: Played, gamma: float) -> np.ndarray:
    """Returns the discounted return from every agent step on, of episodes that ended."""
    found = []
    for episode in played.episodes:
        for rewards in episode.rewards.values():
            total = 0.0
            for reward in reversed(rewards):
                total = reward + gamma * total
                found.append(total)
    return np.array(found)


def _round_up(value: float) -> float:
    """Returns `value` rounded up to one digit."""
    unit = 10.0 ** math.floor(math.log10(value))
    return math.ceil(value / unit) * unit


def _env_step_s(measured: Measured) -> float:
    return ((measured.times.env_step_us or 0.0) + (measured.times.arrays_us or 0.0)) / 1e6


def _batch_size(config: ExperimentConfig) -> int:
    return int(_param(config, "train_batch_size_per_learner"))


def _param(config: ExperimentConfig, name: str) -> Any:
    """Returns the experiment's value of a parameter, or RLlib's own default."""
    known = known_params(config.algorithm.name).get(name)
    return config.algorithm.params.get(name, None if known is None else known.default)
