"""A population: rounds in which its members are compared, and what each took from another.

All members train up to the same number of env steps, then a round decides for all of them at once:
which of the worst copy which of the best, and with which values they continue. A round depends on
the scores, the rounds before it and the seed, and on nothing else.

`population.json` in the run folder holds the rounds. The driver writes it before anybody acts on
it; the members' processes read it and act by themselves, from each other's checkpoints.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from empo_rllib.config.population_settings import PbtConfig, PopulationConfig
from empo_rllib.config.search_space import kind_and_options
from empo_rllib.errors import RunError
from empo_rllib.files import write_whole
from empo_rllib.json_text import read_json
from empo_rllib.trials import draw

POPULATION_FILE = "population.json"
Spaces = Mapping[str, Mapping[str, Any]]


class Member(BaseModel):
    """A member in one round.

    Attributes:
        trial_id: Ours.
        env_steps: Of its own training so far, those of members that it copied not included.
        training_iteration: Its own; names the checkpoint that the round is about.
        score: The newest settled `tune.metric` since the round before; None if there was none.
        copies: The member whose weights, optimiser and normalisation it takes; None: its own.
        params: The values from here on, by dotted key.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    trial_id: str
    env_steps: int
    training_iteration: int
    score: float | None
    copies: str | None = None
    params: dict[str, Any]


class Round(BaseModel):
    """All members at the same number of env steps, at most one training iteration apart."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    members: list[Member]

    def find(self, trial_id: str | None) -> Member | None:
        """Returns a member; None if it took no part."""
        return next((one for one in self.members if one.trial_id == trial_id), None)


class Change(BaseModel):
    """A step of a schedule: from `env_steps` on a trial trains with `params`.

    Attributes:
        round: The population's; 0 is the start.
        copied_from: The trial whose checkpoint it continues from; None: its own.
        copied_iteration: The training iteration of that checkpoint.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    round: int
    env_steps: int
    params: dict[str, Any]
    copied_from: str | None = None
    copied_iteration: int | None = None


def read_rounds(run: Path) -> list[Round]:
    """Returns the rounds that a run has decided; none where it has no file of them.

    Raises:
        RunError: the file is damaged.
    """
    path = run / POPULATION_FILE
    try:
        return [Round.model_validate(one) for one in read_json(path)["rounds"]]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError, ValidationError) as error:
        raise RunError(f"{path}: damaged: {error}") from error


def write_rounds(run: Path, rounds: Sequence[Round]) -> None:
    """Writes all rounds of a run."""
    lines = ",\n".join(one.model_dump_json() for one in rounds)
    write_whole(run / POPULATION_FILE, f'{{"rounds": [\n{lines}\n]}}\n')


def schedule_of(rounds: Sequence[Round], trial_id: str, start: Mapping[str, Any]) -> list[Change]:
    """Returns the schedule of one member: its start, then a change for each copy.

    Args:
        rounds: Those of the run.
        trial_id: The member.
        start: Its values at the start.
    """
    changes = [Change(round=0, env_steps=0, params=dict(start))]
    for number, one in enumerate(rounds, start=1):
        member = one.find(trial_id)
        donor = one.find(member.copies) if member else None
        if member and donor:
            changes.append(
                Change(
                    round=number,
                    env_steps=member.env_steps,
                    params=member.params,
                    copied_from=donor.trial_id,
                    copied_iteration=donor.training_iteration,
                )
            )
    return changes


def lineage(schedules: Mapping[str, Sequence[Change]], trial_id: str) -> list[tuple[str, Change]]:
    """Returns the changes that led to the newest weights of a member, the first one first.

    Each comes with the trial in which it happened: that of the start is the ancestor.
    """
    found: list[tuple[str, Change]] = []
    before = math.inf
    while True:
        change = [one for one in schedules[trial_id] if one.round < before][-1]
        found.insert(0, (trial_id, change))
        if change.copied_from is None:
            return found
        trial_id, before = change.copied_from, change.round


class Explore(Protocol):
    """Chooses the values of a member that has just copied another."""

    def __call__(
        self,
        donor: Member,
        rounds: Sequence[Round],
        chosen: Sequence[Mapping[str, Any]],
        rng: np.random.Generator,
    ) -> dict[str, Any]:
        """Returns values by dotted key.

        Args:
            donor: Who is copied.
            rounds: All so far; the last is this one, before its decisions.
            chosen: Those of this round's earlier copies.
            rng: For all random numbers.
        """


def decide(
    members: Sequence[Member],
    rounds: Sequence[Round],
    settings: PopulationConfig,
    explore: Explore,
    mode: Literal["max", "min"],
    seed: int,
) -> Round:
    """Decides a round: truncation selection (Jaderberg et al. 2017, section 4.1.2).

    Of the members with a score the worst share each copy one of the best share, drawn at random, if
    that one's score is better.

    Args:
        members: Those that have come to the round, each with the values that it trained with.
        rounds: Those before.
        settings: Of the population.
        explore: Chooses the values of those that copy.
        mode: Whether a larger score is better.
        seed: Of the experiment.
    """
    rng = np.random.default_rng([seed, len(rounds)])
    sign = 1 if mode == "max" else -1
    ranked = sorted(
        (one for one in members if one.score is not None), key=lambda one: sign * (one.score or 0.0)
    )
    share = min(math.ceil(len(ranked) * settings.quantile_fraction), len(ranked) // 2)
    past = [*rounds, Round(members=list(members))]
    copies: dict[str, Member] = {}
    for worse in ranked[:share]:
        donor = ranked[len(ranked) - 1 - int(rng.integers(share))]
        if donor.score != worse.score:
            chosen = [one.params for one in copies.values()]
            params = explore(donor, past, chosen, rng)
            changed = {"copies": donor.trial_id, "params": params}
            copies[worse.trial_id] = worse.model_copy(update=changed)
    return Round(members=[copies.get(one.trial_id, one) for one in members])


def perturbing(settings: PbtConfig, spaces: Spaces) -> Explore:
    """Returns the explore step of PBT (Jaderberg et al. 2017, section 4.1.3)."""

    def explore(
        donor: Member,
        rounds: Sequence[Round],
        chosen: Sequence[Mapping[str, Any]],
        rng: np.random.Generator,
    ) -> dict[str, Any]:
        return {
            key: draw(space, rng)
            if rng.random() < settings.resample_probability
            else perturb(donor.params[key], space, settings.perturbation_factors, rng)
            for key, space in spaces.items()
        }

    return explore


def perturb(
    value: Any, space: Mapping[str, Any], factors: Sequence[float], rng: np.random.Generator
) -> Any:
    """Returns a value near another of a search space, within its bounds."""
    kind, options = kind_and_options(space)
    if kind == "choice":
        place = options.index(value) + int(rng.choice([-1, 1]))
        return options[min(max(place, 0), len(options) - 1)]
    factor = float(rng.choice(factors))
    low, high = options
    if kind != "randint":
        return float(min(max(value * factor, low), high))
    rounded = round(value * factor)
    if rounded == value:  # small integers would never change
        rounded += 1 if factor > 1 else -1
    return int(min(max(rounded, low), high - 1))
