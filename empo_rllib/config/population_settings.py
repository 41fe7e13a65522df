"""The settings of populations, `tune.scheduler: pbt | pb2 | replay`: what their members mutate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field

from empo_rllib.config.algorithms import ALGORITHMS
from empo_rllib.config.fields import Number, Positive, Section, Text
from empo_rllib.config.problems import Problem
from empo_rllib.config.search_settings import SEED
from empo_rllib.config.search_space import WHEN, Path, is_number, kind_and_options

PARAMS = ("algorithm", "params")
Probability = Annotated[Number, Field(ge=0, le=1)]
Factor = Annotated[Number, Field(gt=0)]


class PopulationConfig(Section):
    """When members are compared, and how many copy how many."""

    perturbation_interval: Positive = Field(
        default=20_000,
        description="env steps between rounds: all members wait there for each other",
    )
    quantile_fraction: Annotated[Number, Field(gt=0, le=0.5)] = Field(
        default=0.25,
        description="in each round this share of the members, the worst, copy one of the best such "
        "share",
    )


class PbtConfig(PopulationConfig):
    """Population-based training: who copies also changes the values at random."""

    resample_probability: Probability = Field(
        default=0.25,
        description="probability that a value is drawn anew from its search space; otherwise it is "
        "multiplied, or becomes a neighbour among the options of a choice",
    )
    perturbation_factors: Annotated[list[Factor], Field(min_length=1)] = Field(
        default=[0.8, 1.2], description="what a number is multiplied by: one of these"
    )


class PbtScheduler(Section):
    """PBT with its options; `pbt` alone is short for `{pbt: {}}`."""

    pbt: PbtConfig = Field(
        description="population-based training (arXiv:1711.09846); its members are the trials"
    )


class Pb2Scheduler(Section):
    """PB2 with its options; `pb2` alone is short for `{pb2: {}}`."""

    pb2: PopulationConfig = Field(
        description="population-based bandits (arXiv:2002.02518): as pbt, and a Gaussian process "
        "chooses the values from all that the population has gained so far"
    )


class ReplayScheduler(Section):
    """The schedule of one member of a population, for trials of their own."""

    replay: Text = Field(
        description="run folder#trial whose schedule of values every trial follows; without "
        "#trial the best one's"
    )


def settings_of(scheduler: Any) -> PopulationConfig | None:
    """Returns the settings of the population that `tune.scheduler` asks for, or None."""
    if isinstance(scheduler, PbtScheduler):
        return scheduler.pbt
    return scheduler.pb2 if isinstance(scheduler, Pb2Scheduler) else None


def population_problems(
    tune: Any,
    algorithms: Sequence[str],
    params: Mapping[str, Any],
    spaces: Mapping[Path, Mapping[str, Any]],
    env_steps: int | None,
) -> list[Problem]:
    """Returns what keeps the trials of an experiment from being a population.

    Args:
        tune: The section `tune`.
        algorithms: What `algorithm.name` may be.
        params: `algorithm.params`.
        spaces: Every search space of the experiment by path.
        env_steps: `stop.env_steps`.
    """
    settings = settings_of(tune.scheduler)
    if settings is None:
        return []
    word = "pbt" if isinstance(tune.scheduler, PbtScheduler) else "pb2"
    mutated = {path: space for path, space in spaces.items() if path != SEED}
    return [
        *_tune_problems(tune, word, settings, env_steps),
        *_key_problems(word, algorithms, mutated),
        *(p for path, space in mutated.items() for p in _space_problem(word, path, space)),
        *_fragment_problems(word, params, mutated),
    ]


def _tune_problems(
    tune: Any, word: str, settings: PopulationConfig, env_steps: int | None
) -> Iterator[Problem]:
    if tune.num_samples < 2:
        rule = f" is the size of the population with {word}, which needs at least 2."
        yield Problem(("num_samples",), tune.num_samples, rule)
    if tune.max_concurrent is not None:
        rule = f" must be null with {word}: members take turns where they are too many to run."
        yield Problem(("max_concurrent",), tune.max_concurrent, rule)
    if tune.search is not None:
        rule = f" must be null with {word}, which chooses values itself."
        yield Problem(("search",), "optuna", rule)
    if env_steps is not None and settings.perturbation_interval >= env_steps:
        place = ("scheduler", word, "perturbation_interval")
        rule = f" must be below stop.env_steps = {env_steps}, or no member ever copies another."
        yield Problem(place, settings.perturbation_interval, rule)


def _key_problems(
    word: str, algorithms: Sequence[str], mutated: Mapping[Path, Any]
) -> Iterator[Problem]:
    able = [name for name, row in ALGORITHMS.items() if row.mutable]
    if unable := [name for name in algorithms if name not in able]:
        rule = f" cannot train {', '.join(unable)}. It trains {', '.join(able)}."
        yield Problem(("scheduler",), word, rule)
    elif len(algorithms) > 1:
        rule = " needs one algorithm: weights of another cannot be copied. Set algorithm.name."
        yield Problem(("scheduler",), word, rule)
    else:
        mutable = ALGORITHMS[algorithms[0]].mutable
        listed = ", ".join(sorted(mutable))
        fixed = [
            path for path in mutated if path[:2] != PARAMS or ".".join(path[2:]) not in mutable
        ]
        for path in fixed:
            rule = (
                f" cannot mutate {'.'.join(path)} during training. Give it one value. "
                f"Of algorithm.params it mutates {listed}."
            )
            yield Problem(("scheduler",), word, rule)
        if not mutated:
            rule = (
                f" has nothing to mutate: give one of algorithm.params a search space ({listed})."
            )
            yield Problem(("scheduler",), word, rule)


def _space_problem(word: str, path: Path, space: Mapping[str, Any]) -> Iterator[Problem]:
    kind, options = kind_and_options(space)
    if WHEN in space:
        rule = f" has all its values in every member: {'.'.join(path)} cannot have {WHEN}."
    elif kind == "grid_search":
        rule = f" cannot mutate a grid: {'.'.join(path)}. Make it choice."
    elif kind == "choice" and word == "pb2":
        rule = f" models numbers, no choices: {'.'.join(path)}. Give it a range, or use pbt."
    elif kind == "choice" and not all(map(is_number, options)):
        rule = f" mutates numbers only: {'.'.join(path)} has other options."
    else:
        return
    yield Problem(("scheduler",), word, rule)


def _fragment_problems(
    word: str, params: Mapping[str, Any], mutated: Mapping[Path, Any]
) -> Iterator[Problem]:
    """Refuses fragments of a fixed length, which RLlib does not take with every batch size."""
    length = params.get("rollout_fragment_length", "auto")
    if length != "auto" and (*PARAMS, "train_batch_size_per_learner") in mutated:
        rule = (
            " cannot mutate algorithm.params.train_batch_size_per_learner while "
            f"rollout_fragment_length = {length}. Set that to auto."
        )
        yield Problem(("scheduler",), word, rule)
