from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from gymnasium import spaces

from empo_rllib.acting.actor import Actor
from empo_rllib.acting.view import policy_views
from empo_rllib.envs.vector_env import VectorEnv, group_agents
from empo_rllib.rl_modules.actor_critic import ActorCritic
from empo_rllib.sampling.rollout import Rollout

sys.path.insert(0, str(Path(__file__).parent))  # for `wanderers`

AGENTS = ("a", "b", "c")
ENDS = {"a": 2, "b": 3, "c": 3}  # steps that each agent plays; the others' end is the episode's


class CountingEnvs(VectorEnv):
    """Agents see (env, moment); a leaves after 2 steps, b terminates and c is cut off after 3.

    Rewards are the moment, so that every number in a fragment tells where it belongs.
    """

    def __init__(self, num_envs):
        seen = spaces.Box(0.0, 100.0, (2,))
        actions = {"a": spaces.Discrete(3), "b": spaces.Box(-1.0, 1.0, (2,)), "c": None}
        actions["c"] = actions["a"]
        groups = group_agents(AGENTS, dict.fromkeys(AGENTS, seen), actions)
        self._allocate(num_envs, AGENTS, groups)
        self.played = []

    def reset(self, seed=None):
        self.moment = np.zeros(self.num_envs, int)
        self.moment[1:] = np.arange(self.num_envs - 1) % 3  # not all in step
        for n in range(self.num_envs):
            self._look(n)

    def step(self, actions):
        self.played.append([part.copy() for part in actions])
        self.rewards[:] = np.where(self.present, self.moment[:, None], 0)
        acted = self.present.copy()
        self.moment += 1
        ends = np.array([ENDS[agent] for agent in AGENTS])
        ended = acted & (self.moment[:, None] >= ends)
        self.terminated[:] = ended & [True, True, False]
        self.truncated[:] = ended & [False, False, True]
        self.episode_over[:] = self.moment == 3
        self.success[:] = np.where(self.episode_over, np.arange(self.num_envs) % 2, -1)
        for n in np.flatnonzero(self.episode_over):
            self._look(n, self.final_observations)
            self.moment[n] = 0
        for n in range(self.num_envs):
            self._look(n)

    def close(self):
        pass

    def _look(self, n, where=None):
        for leaves in self.observations if where is None else where:
            leaves[0][n] = (n, self.moment[n])
        self.present[n] = [self.moment[n] < ENDS[agent] for agent in AGENTS]


@pytest.fixture
def rollout(tmp_path):
    """Makes a rollout in CountingEnvs: policies ac (agents a and c) and b."""

    def make(num_envs=4, explore=True, with_agent_id=()):
        envs = CountingEnvs(num_envs)
        envs.reset()
        actors = []
        for policy in policy_views({"ac": ("a", "c"), "b": ("b",)}, with_agent_id, envs):
            group = envs.groups[policy.group]
            seen = group.observation_space
            if policy.with_agent_id:
                one_hot = spaces.Box(0.0, 1.0, (3,))
                seen = spaces.Dict({"agent_id": one_hot, "observation": seen})
            module = ActorCritic(
                observation_space=seen,
                action_space=group.action_space,
                model_config={"hidden_sizes": [8], "conv_filters": None, "shared_trunk": False},
            )
            actors.append(Actor(module, policy, group, num_envs, explore, torch.device("cpu")))
        return Rollout(envs, actors, lambda actions, space: actions, tmp_path / "env_error.txt")

    return make
