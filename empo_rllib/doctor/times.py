"""Where the time of an env step goes."""

from __future__ import annotations

import cProfile
import os
import pstats
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from empo_rllib.doctor.episode import CheckedEpisode, RandomActions
from empo_rllib.doctor.places import render_place
from empo_rllib.doctor.play import Played
from empo_rllib.doctor.subject import Subject
from empo_rllib.envs.encoding import flattener
from empo_rllib.envs.vector_env import ObservationLeaves
from empo_rllib.errors import EnvError

_MICRO = 1e6
_SHOWN = 5
_PROFILED_STEPS = 300
_PROFILED_S = 2.0


@dataclass(frozen=True)
class Times:
    """Medians in microseconds; None where it could not be measured.

    Attributes:
        make_us: making one copy of the environment.
        reset_us: one `reset`.
        env_step_us: one `step` of all agents.
        arrays_us: writing what all agents see into the arrays of the sampler `python`.
        flat_us: one-hot and flat, as DQN and SAC see it.
    """

    make_us: float
    reset_us: float | None
    env_step_us: float | None
    arrays_us: float | None
    flat_us: float | None


@dataclass(frozen=True)
class Hotspot:
    """A function that steps spend their time in.

    Attributes:
        share: of a step's time, without what the function calls.
        function: its name.
        place: `file:line`, or "" for one of Python's own.
    """

    share: float
    function: str
    place: str


def measure_times(make_s: float, played: Played, subject: Subject) -> Times:
    """Sums up what was measured while playing, and measures what is done with observations."""
    return Times(
        make_us=make_s * _MICRO,
        reset_us=_median_us(played.reset_s),
        env_step_us=_median_us(played.step_s),
        arrays_us=_observation_us(subject, played, _array_writer),
        flat_us=_observation_us(subject, played, flattener),
    )


def find_hotspots(subject: Subject) -> list[Hotspot]:
    """Plays with the profiler on; returns where the time of steps goes, most of it first.

    Raises:
        GaveUp: the environment cannot be played on.
    """
    subject.profile = cProfile.Profile()
    actions = RandomActions(subject, seed=1)
    ends_at = time.monotonic() + _PROFILED_S
    episode = CheckedEpisode(subject)
    for _ in range(_PROFILED_STEPS):
        if time.monotonic() > ends_at:
            break
        if not episode.present:
            episode = CheckedEpisode(subject)
        episode.step(actions.draw(episode))
    return _hotspots(subject.profile)


def _hotspots(profile: cProfile.Profile) -> list[Hotspot]:
    stats: Any = pstats.Stats(profile)
    own = {place: row[2] for place, row in stats.stats.items()}
    total = sum(own.values()) or 1.0
    slowest = sorted(own, key=lambda place: own[place], reverse=True)[:_SHOWN]
    return [
        Hotspot(own[(file, line, name)] / total, _name(name), _place(file, line))
        for file, line, name in slowest
    ]


def _name(name: str) -> str:
    """Returns a function's name; those written in C are called `<built-in method numpy.array>`."""
    return name.removeprefix("<built-in method ").removesuffix(">") if " " in name else name


def _place(file: str, line: int) -> str:
    return render_place(file, line) if os.path.isfile(file) else ""


def _array_writer(space: Any) -> Callable[[Any], None]:
    """Returns what `PythonEnvs` does with one observation."""
    leaves = ObservationLeaves(space)
    rows = leaves.blank(1)

    def write(seen: Any) -> None:
        for row, value in zip(rows, leaves.flatten(seen), strict=True):
            row[0] = value

    return write


def _observation_us(
    subject: Subject, played: Played, prepare: Callable[[Any], Callable[[Any], Any]]
) -> float | None:
    """Returns the median time for what all agents see after one step."""
    agents = subject.env.possible_agents
    try:
        convert = {agent: prepare(subject.env.observation_space(agent)) for agent in agents}
        return _median_us([_time_one(convert, seen) for seen in played.observations])
    except (EnvError, ValueError, TypeError, KeyError, IndexError):
        return None  # not in their space, or the space has no such form: a finding says so


def _time_one(convert: dict[str, Callable[[Any], Any]], observations: dict[str, Any]) -> float:
    started = time.perf_counter()
    for agent, seen in observations.items():
        convert[agent](seen)
    return time.perf_counter() - started


def _median_us(seconds: list[float]) -> float | None:
    return float(np.round(median(seconds) * _MICRO, 1)) if seconds else None
