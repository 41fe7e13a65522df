"""Finds NaN and infinity in what an environment returns."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping
from operator import getitem
from typing import Any

import gymnasium as gym
import numpy as np

from empo_rllib.envs.vector_env import space_leaves


class ObservationCheck:
    """Looks at the float leaves of one agent's observations.

    Args:
        space: of the observations; only its float Boxes can hold NaN or infinity.
        allow_infinite: look for NaN only.
    """

    def __init__(self, space: gym.Space, allow_infinite: bool) -> None:
        self._paths = [
            path
            for path, leaf in space_leaves(space)
            if isinstance(leaf, gym.spaces.Box) and np.issubdtype(leaf.dtype, np.floating)
        ]
        self._allow_infinite = allow_infinite

    def find(self, observation: Any) -> str | None:
        """Returns a sentence about the first wrong number; None if there is none."""
        for path in self._paths:
            leaf = functools.reduce(getitem, path, observation)
            # A sum of squares is one fast pass, and finite only if all numbers are. It may
            # overflow where they are.
            if not math.isfinite(np.vdot(leaf, leaf)):
                found = self._describe(path, np.asarray(leaf))
                if found is not None:
                    return found
        return None

    def _describe(self, path: tuple[Any, ...], leaf: np.ndarray) -> str | None:
        wrong = np.isnan(leaf) if self._allow_infinite else ~np.isfinite(leaf)
        if not wrong.any():
            return None
        position = tuple(np.argwhere(wrong)[0].tolist())
        place = "".join(f"[{key!r}]" for key in path)
        place += str(list(position)) if position else ""
        text = f"the observation is {_name_of(leaf[position])}{f' at {place}' if place else ''}"
        if wrong.sum() > 1:
            text += f", and in {wrong.sum() - 1} more places"
        if np.isnan(leaf).any():
            return f"{text}."
        return f"{text}. Set env.allow_infinite_observations: true to allow that."


def wrong_rewards(rewards: Mapping[str, float]) -> Iterator[tuple[str, str]]:
    """Yields each agent whose reward is not finite, with a sentence about it."""
    for agent, reward in rewards.items():
        if not math.isfinite(reward):
            yield agent, f"the reward is {_name_of(reward)}."


def _name_of(number: float) -> str:
    if math.isnan(number):
        return "NaN"
    return "infinite" if number > 0 else "minus infinite"
