"""Texts in observations: numbers where it is known which there are, left out on demand."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from pettingzoo import ParallelEnv
from pettingzoo.utils.wrappers import BaseParallelWrapper

from empo_rllib.envs.vector_env import space_leaves
from empo_rllib.errors import EnvError

# With more of them a number is no help, and a network of the user's own has to read them.
_MOST_TEXTS = 1000

#: Makes of an observation the one without texts; None: the part is left out.
_Read = Callable[[Any], Any] | None


class ReadableTexts(BaseParallelWrapper):
    """A `ParallelEnv` whose observations have numbers in place of texts of a known set.

    MiniGrid's missions tell which there are. Other texts are left as they are, or left out.

    Args:
        env: the environment to wrap.
        drop: leave out the others.

    Raises:
        EnvError: an observation would have nothing left.
    """

    def __init__(self, env: ParallelEnv, drop: bool) -> None:
        super().__init__(env)
        self.possible_agents = list(env.possible_agents)
        self._spaces: dict[str, gym.Space] = {}
        self._read: dict[str, Callable[[Any], Any]] = {}
        for agent in self.possible_agents:
            space, read = _readable(env.observation_space(agent), drop)
            if space is None or read is None:
                raise EnvError(f"the observation of {agent} has nothing but texts.")
            self._spaces[agent], self._read[agent] = space, read

    def observation_space(self, agent: str) -> gym.Space:
        """Returns the observation space of an agent, without texts."""
        return self._spaces[agent]

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        """Starts an episode."""
        observations, infos = self.env.reset(seed=seed, options=options)
        return self._all(observations), infos

    def step(self, actions: dict[str, Any]) -> tuple[dict, dict, dict, dict, dict]:
        """Plays one step."""
        observations, *others = self.env.step(actions)
        return self._all(observations), *others

    def _all(self, observations: dict[str, Any]) -> dict[str, Any]:
        return {agent: self._read[agent](seen) for agent, seen in observations.items()}


def with_readable_texts(env: ParallelEnv, drop: bool = False) -> ParallelEnv:
    """Returns `env`, with `ReadableTexts` where that changes an observation."""
    try:
        spaces = [env.observation_space(agent) for agent in env.possible_agents]
        texts = [leaf for space in spaces for _, leaf in space_leaves(space) if _is_text(leaf)]
    except Exception:  # a space is missing, which is told where it is needed
        return env
    if not (texts if drop else any(_known_texts(text) for text in texts)):
        return env
    return ReadableTexts(env, drop)


def text_parts(space: gym.Space) -> list[str]:
    """Returns where in an observation texts are, such as `['mission']`."""
    return [
        "".join(f"[{key!r}]" for key in path)
        for path, leaf in space_leaves(space)
        if _is_text(leaf)
    ]


def _is_text(space: gym.Space) -> bool:
    """Whether it is Gymnasium's Text or, as missions, declares texts."""
    declares = space.dtype is not None and np.dtype(space.dtype).kind == "U"
    return declares or isinstance(space, gym.spaces.Text) or hasattr(space, "mission_func")


def _known_texts(space: gym.Space) -> list[str]:
    """Returns all texts of a `MissionSpace`; none of what does not tell.

    MiniGrid's has `ordered_placeholders`, those of its multi-agent relatives `arg_groups`.
    """
    make: Any = getattr(space, "mission_func", None)
    if make is None:
        return []
    words = getattr(space, "ordered_placeholders", None) or getattr(space, "arg_groups", None) or []
    some = itertools.islice(itertools.product(*words), _MOST_TEXTS + 1)
    found = sorted({str(make(*chosen)) for chosen in some})
    return found if len(found) <= _MOST_TEXTS else []


def _readable(space: gym.Space, drop: bool) -> tuple[gym.Space | None, _Read]:
    if isinstance(space, gym.spaces.Dict):
        parts = {key: _readable(part, drop) for key, part in space.items()}
        kept = {key: read for key, (part, read) in parts.items() if part is not None and read}
        of = {key: part for key, (part, _) in parts.items() if part is not None}
        return gym.spaces.Dict(of) if of else None, lambda seen: {
            key: read(seen[key]) for key, read in kept.items()
        }
    if isinstance(space, gym.spaces.Tuple):
        found = [_readable(part, drop) for part in space.spaces]
        read = [(n, one) for n, (part, one) in enumerate(found) if part is not None and one]
        of_tuple = [part for part, _ in found if part is not None]
        return gym.spaces.Tuple(of_tuple) if of_tuple else None, lambda seen: tuple(
            one(seen[n]) for n, one in read
        )
    if not _is_text(space):
        return space, lambda seen: seen
    if texts := _known_texts(space):
        return gym.spaces.Discrete(len(texts)), _Numbered(texts)
    return (None, None) if drop else (space, lambda seen: seen)


class _Numbered:
    """The position of a text among those that there are."""

    def __init__(self, texts: list[str]) -> None:
        self._number = {text: number for number, text in enumerate(texts)}

    def __call__(self, mission: Any) -> int:
        text = str(mission)
        if text not in self._number:
            raise EnvError(f"an observation has the text {text!r:.80}, which its space has not.")
        return self._number[text]
