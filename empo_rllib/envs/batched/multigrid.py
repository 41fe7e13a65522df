"""Many copies of a MultiGrid environment as one `VectorEnv`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
from gymnasium.spaces import Dict

from empo_rllib.envs.batched.layouts import NativeLayout, native_layout
from empo_rllib.envs.batched.random import first_states
from empo_rllib.envs.batched.rules import read_rule, rule_of
from empo_rllib.envs.batched.state import (
    UnsupportedLayoutError,
    Worlds,
    allocate,
    read_layout,
    write_things,
)
from empo_rllib.envs.batched.step import Outcome, play
from empo_rllib.envs.batched.support import class_problem
from empo_rllib.envs.batched.view import observe_chosen
from empo_rllib.envs.multigrid import MultiGridParallelEnv
from empo_rllib.envs.vector_env import VectorEnv, group_agents
from empo_rllib.errors import EnvError

_LOG = logging.getLogger(__name__)


class BatchedMultiGrid(VectorEnv):
    """N copies of a `MultiGridParallelEnv`, stepped by kernels, equal to it step by step.

    First states of upstream's own environments are drawn by kernels too, from the same
    distribution. Those of other classes come from their own `_gen_grid`: each copy has a Python
    environment for that, which is reset as if it were played, and then only read. Where such a
    layout has something that kernels do not know, its Python environment plays the episode.

    Args:
        make: Makes the Python environment.
        num_envs: N.

    Raises:
        EnvError: `class_problem` has something against the environment, or its layout has no
            room for what it asks for.
    """

    def __init__(self, make: Callable[[], MultiGridParallelEnv], num_envs: int) -> None:
        template = make()
        if problem := class_problem(template):
            raise EnvError(f"{problem}. Set `resources.sampler: python`.")
        template.lay_out()
        agents = template.possible_agents
        (group,) = group_agents(
            agents,
            {agent: template.observation_space(agent) for agent in agents},
            {agent: template.action_space(agent) for agent in agents},
        )
        self._allocate(num_envs, agents, [group])
        parts = cast("Dict", group.observation_space).spaces
        leaves = dict(zip(parts, self.observations[0], strict=True))
        missions = leaves.get("mission", np.zeros((num_envs, len(agents), 0), np.int64))
        self._worlds = allocate(template, num_envs, missions)
        self._views = leaves["image"], leaves["direction"]
        self._outcome = Outcome(
            self.present,
            self.rewards,
            self.terminated,
            self.truncated,
            self.episode_over,
            self.success,
        )
        self._rule = rule_of(template.env)
        self._templates = [template]
        self._told = False
        self._in_python: dict[int, MultiGridParallelEnv] = {}  # by copy, who plays its episode
        self._native: NativeLayout | None = None
        self._prepare_layouts(make)
        self._compile()

    def reset(self, seed: int | None = None) -> None:
        streams = first_states(seed, self.num_envs)
        self._worlds.episodes["stream"] = streams
        self._worlds.orders[:] = np.arange(len(self.agents))
        self._start(np.ones(self.num_envs, bool), [int(s % 2**31) for s in streams])

    def step(self, actions: Sequence[np.ndarray]) -> None:
        self._play(actions, draw_order=True)

    def close(self) -> None:
        for template in self._templates:
            template.close()

    def _prepare_layouts(self, make: Callable[[], MultiGridParallelEnv]) -> None:
        self._native = native_layout(self._templates[0])
        if self._native is None:
            self._templates += [make() for _ in range(1, self.num_envs)]
        else:
            self._worlds = self._native.prepare(self._worlds)

    def _play(self, actions: Sequence[np.ndarray], draw_order: bool) -> None:
        played = np.ascontiguousarray(actions[0], np.int64)
        self.present[list(self._in_python)] = False
        play(self._worlds, self._rule, played, draw_order, self._outcome, *self._views)
        for n in list(self._in_python):
            self._play_in_python(n, played[n])
        if self.episode_over.any():
            for final, seen in zip(self.final_observations[0], self.observations[0], strict=True):
                np.copyto(final, seen)
            self._start(self.episode_over)

    def _start(self, chosen: np.ndarray, seeds: Sequence[int] | None = None) -> None:
        """Starts an episode in the `chosen` copies, bool [N]."""
        if self._native is not None:
            self._native.draw(self._worlds, chosen)
        else:
            for n in np.flatnonzero(chosen).tolist():
                self._templates[n].lay_out(seeds[n] if seeds else None)
                self._load(n, self._templates[n])
        self._look(chosen)

    def _look(self, chosen: np.ndarray) -> None:
        """Lets all agents of the `chosen` copies, bool [N], be there and see."""
        self.present[chosen] = True
        seen = chosen.copy()
        seen[list(self._in_python)] = False
        observe_chosen(self._worlds, seen, self.present, *self._views)

    def _load(self, n: int, template: MultiGridParallelEnv) -> None:
        """Copies the state of a Python environment, just laid out, into copy `n`."""
        self._in_python.pop(n, None)
        try:
            catalogue = read_layout(self._worlds, n, template)
            read_rule(self._worlds.episodes[n], template.env, catalogue)
        except UnsupportedLayoutError as error:
            self._leave_to_python(n, template, error)
            return
        self._worlds = write_things(self._worlds, n, catalogue)
        if self._worlds.missions.shape[-1]:
            self._worlds.missions[n] = template.mission

    def _leave_to_python(
        self, n: int, env: MultiGridParallelEnv, reason: UnsupportedLayoutError
    ) -> None:
        """Lets `env`, which has been laid out, play the episode of copy `n`."""
        if not self._told:
            self._told = True
            _LOG.warning(
                "%s: %s. Episodes with such a layout are played in Python. If there are many, "
                "`resources.sampler: python` is faster.",
                env.metadata["name"],
                reason,
            )
        self._in_python[n] = env
        self._worlds.agents[n]["terminated"] = True  # kernels then neither move nor draw them
        self._write(n, env.look())

    def _play_in_python(self, n: int, actions: np.ndarray) -> None:
        """Plays one step of copy `n` in its Python environment."""
        env = self._in_python[n]
        chosen = {agent: actions[self.agents.index(agent)] for agent in env.agents}
        observations, *results, infos = env.step(chosen)
        self._write(n, observations)
        for target, found in zip(
            (self.rewards, self.terminated, self.truncated), results, strict=True
        ):
            target[n] = [found.get(agent, 0) for agent in self.agents]
        self._worlds.agents[n]["reward"] = [results[0].get(agent, 0.0) for agent in self.agents]
        self.present[n] = [agent in env.agents for agent in self.agents]
        self.episode_over[n] = over = not env.agents
        self.success[n] = next(iter(infos.values()))["success"] if over else -1
        if over:
            del self._in_python[n]

    def _write(self, n: int, observations: dict[str, dict[str, Any]]) -> None:
        for agent, observation in observations.items():
            values = self.groups[0].leaves.flatten(observation)
            for leaf, value in zip(self.observations[0], values, strict=True):
                leaf[n, self.agents.index(agent)] = value

    def _compile(self) -> None:
        """Calls the kernels without copies, lest the first step take seconds."""
        worlds = Worlds(*(array[:0] for array in self._worlds))
        outcome = Outcome(*(array[:0] for array in self._outcome))
        views = [view[:0] for view in self._views]
        none, actions = np.zeros(0, bool), np.zeros((0, len(self.agents)), np.int64)
        play(worlds, self._rule, actions, True, outcome, *views)
        observe_chosen(worlds, none, outcome.present, *views)
        if self._native is not None:
            self._native.draw(worlds, none)
