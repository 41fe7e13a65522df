"""What an environment returns is checked at every step: observations against their space, numbers.

Refused is what would be learned from as something else: another structure or shape, `None`, text,
fractions where the space has whole numbers, categories that there are not, NaN and infinity.
Numbers beyond the bounds of a Box are as good as others; `doctor` tells of them.
"""

from __future__ import annotations

import functools
import math
from operator import getitem
from typing import Any

import gymnasium as gym
import numpy as np

from empo_rllib.envs.encoding import grid_channels
from empo_rllib.envs.observations import observation_problems, short
from empo_rllib.envs.vector_env import ARRAY_SPACES, space_leaves

#: Of which finite ones are rewards at first sight; `wrong_reward` knows the others.
PLAIN_NUMBERS = frozenset({float, int, np.float32, np.float64})

Path = tuple[Any, ...]


class ObservationCheck:
    """Looks at one agent's observations.

    Args:
        space: of the observations; its parts that are no arrays are not looked at.
        allow_infinite: infinity is a number like others.

    Attributes:
        passes: takes an observation. True: `find` finds nothing in it. False: ask `find`. It is
            what a step can afford, and knows the usual forms of what is right.
    """

    def __init__(self, space: gym.Space, allow_infinite: bool) -> None:
        self._space = space
        self._allow_infinite = allow_infinite
        self._leaves = [
            (path, leaf, _array_of(leaf))
            for path, leaf in space_leaves(space)
            if isinstance(leaf, ARRAY_SPACES)
        ]
        alone = len(self._leaves) == 1 and self._leaves[0][0] == ()
        self.passes = self._leaves[0][2].passes if alone else self._all_pass

    def find(self, observation: Any) -> str | None:
        """Returns a sentence about the first thing that is wrong; None if there is none."""
        for path, space, leaf in self._leaves:
            try:
                value = functools.reduce(getitem, path, observation)
            except (LookupError, TypeError):
                return _first_problem(self._space, observation, ())
            if not leaf.fits(value):
                return _first_problem(space, value, path)
            if isinstance(leaf, _Floats):
                found = self._describe(path, np.asarray(value))
                if found is not None:
                    return found
        return None

    def _all_pass(self, observation: Any) -> bool:
        for path, _, leaf in self._leaves:
            value = observation
            try:
                for key in path:
                    value = value[key]
            except (LookupError, TypeError):
                return False
            if not leaf.passes(value):
                return False
        return True

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


class _Array:
    """Whole numbers of any size, in an array of one shape."""

    kinds = "biu"

    def __init__(self, space: gym.Space) -> None:
        self._shape = space.shape or ()

    def fits(self, value: Any) -> bool:
        """Whether structure, shape, kind of numbers and categories are the space's."""
        if not isinstance(value, np.ndarray):
            if self._shape or not isinstance(value, int | float | np.generic):
                return False
            value = np.asarray(value)
        return value.shape == self._shape and value.dtype.kind in self.kinds

    def passes(self, value: Any) -> bool:
        """See `ObservationCheck.passes`."""
        return (
            value.__class__ is np.ndarray
            and value.shape == self._shape
            and value.dtype.kind in self.kinds
        )


class _Floats(_Array):
    """Numbers that may be NaN and infinite, which `fits` does not look at."""

    kinds = "biuf"

    def __init__(self, space: gym.Space) -> None:
        super().__init__(space)
        self._product = np.ndarray.dot if len(self._shape) == 1 else np.vdot

    def passes(self, value: Any) -> bool:
        """See `ObservationCheck.passes`."""
        # A sum of squares is one fast pass, and finite only if all numbers are. It may overflow
        # where they are.
        return (
            value.__class__ is np.ndarray
            and value.shape == self._shape
            and value.dtype.kind in "biuf"
            and math.isfinite(self._product(value, value))
        )


class _Categories(_Array):
    """Numbers of categories."""

    def __init__(self, space: gym.Space, low: Any, high: Any) -> None:
        super().__init__(space)
        self._low: Any = np.array(low, order="C")
        self._high: Any = np.array(high, order="C")
        self._from_0 = not self._low.any()

    def fits(self, value: Any) -> bool:
        """See `_Array.fits`."""
        return super().fits(value) and bool(np.all((value >= self._low) & (value <= self._high)))

    def passes(self, value: Any) -> bool:
        """See `ObservationCheck.passes`."""
        # A search in bytes takes half the time of `any()`, and a call of `super()` as long as it.
        return (
            value.__class__ is np.ndarray
            and value.shape == self._shape
            and value.dtype.kind in "biu"
            and 1 not in (value > self._high).tobytes()
            and (
                (self._from_0 and value.dtype.kind == "u") or 1 not in (value < self._low).tobytes()
            )
        )


class _Category(_Categories):
    """The number of one category, which is often no array."""

    def __init__(self, space: gym.Space, low: Any, high: Any) -> None:
        super().__init__(space, low, high)
        self._low, self._high = int(low), int(high)

    def passes(self, value: Any) -> bool:
        """See `ObservationCheck.passes`."""
        whole = value.__class__ is int or value.__class__ is np.int64
        return whole and self._low <= value <= self._high


def _array_of(space: gym.Space) -> _Array:
    bounds = _category_bounds(space)
    if bounds is None:
        return _Floats(space) if np.dtype(space.dtype).kind == "f" else _Array(space)
    return (_Categories if space.shape else _Category)(space, *bounds)


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


def wrong_reward(reward: Any) -> str | None:
    """Returns a sentence about a reward that is no finite number; None if it is one."""
    if not is_number(reward):
        return f"the reward is {short(reward)}, where one number is expected."
    return None if math.isfinite(reward) else f"the reward is {_name_of(reward)}."


def is_number(value: Any) -> bool:
    """Tells whether `value` is one real number."""
    if isinstance(value, np.ndarray):
        return value.shape == () and value.dtype.kind in "biuf"
    return isinstance(value, int | float | np.number | np.bool_) and not np.iscomplexobj(value)


def _name_of(number: float) -> str:
    if math.isnan(number):
        return "NaN"
    return "infinite" if number > 0 else "minus infinite"
