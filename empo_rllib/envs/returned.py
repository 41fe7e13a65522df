"""What an environment returns is checked at every step: observations against their space, numbers.

Refused is what would be learned from as something else: another structure or shape, `None`, text,
fractions where the space has whole numbers, categories that there are not, NaN and infinity.
Numbers beyond the bounds of a Box are as good as others; `doctor` tells of them.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping
from operator import getitem
from typing import Any

import gymnasium as gym
import numpy as np

from empo_rllib.envs.encoding import grid_channels
from empo_rllib.envs.observations import observation_problems, short
from empo_rllib.envs.vector_env import ARRAY_SPACES, space_leaves

Path = tuple[Any, ...]


class ObservationCheck:
    """Looks at one agent's observations.

    Args:
        space: of the observations; its parts that are no arrays are not looked at.
        allow_infinite: infinity is a number like others.
    """

    def __init__(self, space: gym.Space, allow_infinite: bool) -> None:
        self._space = space
        self._allow_infinite = allow_infinite
        self._leaves = [
            (path, leaf, _Leaf(leaf))
            for path, leaf in space_leaves(space)
            if isinstance(leaf, ARRAY_SPACES)
        ]

    def find(self, observation: Any) -> str | None:
        """Returns a sentence about the first thing that is wrong; None if there is none."""
        for path, space, leaf in self._leaves:
            try:
                value = functools.reduce(getitem, path, observation)
            except (LookupError, TypeError):
                return _first_problem(self._space, observation, ())
            if not leaf.fits(value):
                return _first_problem(space, value, path)
            # A sum of squares is one fast pass, and finite only if all numbers are. It may
            # overflow where they are.
            if leaf.floats and not math.isfinite(np.vdot(value, value)):
                found = self._describe(path, np.asarray(value))
                if found is not None:
                    return found
        return None

    def _describe(self, path: Path, leaf: np.ndarray) -> str | None:
        wrong = np.isnan(leaf) if self._allow_infinite else ~np.isfinite(leaf)
        if not wrong.any():
            return None
        position = tuple(np.argwhere(wrong)[0].tolist())
        place = _place(path)
        place += str(list(position)) if position else ""
        text = f"the observation is {_name_of(leaf[position])}{f' at {place}' if place else ''}"
        if wrong.sum() > 1:
            text += f", and in {wrong.sum() - 1} more places"
        if np.isnan(leaf).any():
            return f"{text}."
        return f"{text}. Set env.allow_infinite_observations: true to allow that."


class _Leaf:
    """What an array of one space must be like.

    Attributes:
        floats: whether it may hold NaN and infinity.
    """

    def __init__(self, space: gym.Space) -> None:
        dtype = np.dtype(space.dtype)
        self.floats = dtype.kind == "f"
        self._shape = space.shape or ()
        self._kinds = "biuf" if self.floats else "biu"
        self._bounds = _category_bounds(space)

    def fits(self, value: Any) -> bool:
        """Whether structure, shape, kind of numbers and categories are the space's."""
        if not isinstance(value, np.ndarray):
            if self._shape or not isinstance(value, int | float | np.generic):
                return False
            value = np.asarray(value)
        if value.shape != self._shape or value.dtype.kind not in self._kinds:
            return False
        if self._bounds is None:
            return True
        low, high = self._bounds
        return bool(((value >= low) & (value <= high)).all())


def _category_bounds(space: gym.Space) -> tuple[Any, Any] | None:
    """Returns the lowest and highest category; None where numbers are no categories."""
    if isinstance(space, gym.spaces.Discrete):
        return int(space.start), int(space.start) + int(space.n) - 1
    if isinstance(space, gym.spaces.MultiDiscrete):
        return space.start, space.start + space.nvec - 1
    if isinstance(space, gym.spaces.MultiBinary):
        return 0, 1
    if isinstance(space, gym.spaces.Box) and grid_channels(space) is not None:
        return space.low, space.high
    return None


def _first_problem(space: gym.Space, value: Any, path: Path) -> str:
    unimportant = ("observation-wrong-dtype", "observation-not-finite")
    problems = observation_problems(space, value, _place(path))
    text = next(text for name, text in problems if name not in unimportant)
    return f"{text}. `python -m empo_rllib doctor` shows the line."


def _place(path: Path) -> str:
    return "".join(f"[{key!r}]" for key in path)


def wrong_rewards(rewards: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yields each agent whose reward is no finite number, with a sentence about it."""
    for agent, reward in rewards.items():
        if not is_number(reward):
            yield agent, f"the reward is {short(reward)}, where one number is expected."
        elif not math.isfinite(reward):
            yield agent, f"the reward is {_name_of(reward)}."


def is_number(value: Any) -> bool:
    """Tells whether `value` is one real number."""
    if isinstance(value, np.ndarray):
        return value.shape == () and value.dtype.kind in "biuf"
    return isinstance(value, int | float | np.number | np.bool_) and not np.iscomplexobj(value)


def _name_of(number: float) -> str:
    if math.isnan(number):
        return "NaN"
    return "infinite" if number > 0 else "minus infinite"
