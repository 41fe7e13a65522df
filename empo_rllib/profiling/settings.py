"""Which settings might make an experiment faster: those that are worth a measurement."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from empo_rllib.algorithms.setup import TrialSetup

_FACTORS = (2, 4)


@dataclass(frozen=True)
class Setting:
    """Another value of one key.

    Attributes:
        key: dotted.
        value: the new one.
        before: the one that it has.
        changes: what else it changes than the time; empty: nothing.
    """

    key: str
    value: int | str
    before: int | str
    changes: str = ""

    @property
    def override(self) -> str:
        """What `--set` takes."""
        return f"{self.key}={self.value}"


def settings_to_try(
    setup: TrialSetup,
    minibatch_size: int | None,
    with_torch: bool,
    cpus: int,
    other_gpus: float | None = None,
) -> list[Setting]:
    """Returns settings to measure.

    Args:
        setup: the trial as it is.
        minibatch_size: RLlib's; None where the algorithm has none.
        with_torch: whether torch trains a policy on a CPU.
        cpus: of the machine.
        other_gpus: that a learner might have instead of those it has; None where there are none.
    """
    return [
        *_samplers(setup),
        *_gpus(setup, other_gpus),
        *_envs(setup),
        *_env_runners(setup, cpus),
        *_sizes(minibatch_size),
        *(_threads(setup, cpus) if with_torch else ()),
    ]


def _samplers(setup: TrialSetup) -> Iterator[Setting]:
    asked = setup.config.resources.sampler
    if asked != "auto":
        yield Setting("resources.sampler", "auto", asked)


def _gpus(setup: TrialSetup, other: float | None) -> Iterator[Setting]:
    if other is not None:
        asked = setup.config.resources.num_gpus_per_learner
        yield Setting("resources.num_gpus_per_learner", f"{other:g}", str(asked))


def _envs(setup: TrialSetup) -> Iterator[Setting]:
    count = setup.config.resources.num_envs_per_env_runner
    for factor in _FACTORS:
        yield Setting(
            "resources.num_envs_per_env_runner",
            count * factor,
            count,
            "batches of more and shorter pieces of episodes",
        )


def _env_runners(setup: TrialSetup, cpus: int) -> Iterator[Setting]:
    count = setup.config.resources.num_env_runners
    for other in sorted({0, 1, cpus - 1} - {count}):
        if other < cpus:
            yield Setting(
                "resources.num_env_runners",
                other,
                count,
                "batches of other episodes" if other else "",
            )


def _sizes(minibatch_size: int | None) -> Iterator[Setting]:
    if minibatch_size is None:
        return
    for factor in _FACTORS:
        yield Setting(
            "algorithm.params.minibatch_size",
            minibatch_size * factor,
            minibatch_size,
            "fewer and larger steps of the optimiser",
        )


def _threads(setup: TrialSetup, cpus: int) -> Iterator[Setting]:
    """Ray gives a process as many threads as it has CPUs."""
    has_learners = setup.config.resources.num_learners > 0
    key = "num_cpus_per_learner" if has_learners else "num_cpus_for_main_process"
    count = setup.config.algorithm.params.get(key, 1)
    if count < cpus:
        yield Setting(f"algorithm.params.{key}", cpus, count)
