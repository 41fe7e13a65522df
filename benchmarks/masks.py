"""How many illegal actions policies ask for in environments with action masks: it has to be none.

python -m benchmarks.masks --steps 1000000

A third of the steps each is sampled as in training, played greedily as in evaluation, and played by
the random policy. The network's weights are large, so that it prefers many actions that it may not
take.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import torch
from pettingzoo import ParallelEnv
from pettingzoo.utils.wrappers import BaseParallelWrapper
from ray.rllib.core.rl_module.torch import TorchRLModule

from empo_rllib.acting.actor import Actor
from empo_rllib.acting.play import play_episodes
from empo_rllib.acting.policies import ActingPolicy
from empo_rllib.acting.teams import ActingPolicies, random_team
from empo_rllib.acting.view import policy_views
from empo_rllib.envs.multi_agent_env import ParallelMultiAgentEnv
from empo_rllib.envs.python_envs import PythonEnvs
from empo_rllib.envs.registry import make_env
from empo_rllib.rl_modules.actor_critic import ActorCritic
from empo_rllib.sampling.rollout import Rollout

ENVS = (
    "pettingzoo.classic.connect_four_v3",
    "pettingzoo.classic.tictactoe_v3",
    "examples.masked:Couriers",
)
_NUM_ENVS = 16
_SIZES = {"hidden_sizes": [64, 64], "conv_filters": None, "shared_trunk": False}


class Watched(BaseParallelWrapper):
    """Counts the actions that an environment is asked for, and those that its masks forbid."""

    def __init__(self, env: ParallelEnv) -> None:
        super().__init__(env)
        self.possible_agents = list(env.possible_agents)
        self.asked = self.illegal = 0

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Starts an episode."""
        self._seen, infos = self.env.reset(seed=seed, options=options)
        return self._seen, infos

    def step(self, actions: dict[str, Any]) -> Any:
        """Counts, and plays one step."""
        for agent, action in actions.items():
            self.asked += 1
            self.illegal += not self._seen[agent]["action_mask"][action]
        self._seen, *rest = self.env.step(actions)
        return self._seen, *rest


def illegal_actions(env_id: str, steps: int) -> tuple[int, int]:
    """Returns how many actions were asked for, at least `steps`, and how many were illegal."""
    watched: list[Watched] = []

    def make() -> ParallelMultiAgentEnv:
        watched.append(Watched(make_env(env_id)))
        return ParallelMultiAgentEnv(watched[-1])

    def asked() -> int:
        return sum(one.asked for one in watched)

    with closing(PythonEnvs(make, _NUM_ENVS)) as envs:
        module = _network(envs)
        envs.reset(seed=0)
        (policy,) = policy_views({"all": envs.agents}, (), envs)
        actor = Actor(module, policy, envs.groups[0], _NUM_ENVS, True, torch.device("cpu"))
        error_file = Path("env_error.txt")
        rollout = Rollout(envs, [actor], lambda actions, space: actions, error_file)
        while asked() < steps / 3:
            rollout.sample(20, 0)
    with contextlib.ExitStack() as opened:
        played = [opened.enter_context(closing(make())) for _ in range(_NUM_ENVS)]
        greedy = ActingPolicy(
            module, envs.groups[0].action_space, normalize_actions=True, env_steps=0
        )
        players = ActingPolicies({"all": greedy}, dict.fromkeys(envs.agents, "all"))
        seeds = itertools.count()
        for team, share in ((players, 2 / 3), (random_team(played[0].env, 0), 1.0)):
            while asked() < steps * share:
                some = itertools.islice(seeds, _NUM_ENVS)
                play_episodes(team, played, some, greedy=team is players)
    return asked(), sum(one.illegal for one in watched)


def _network(envs: PythonEnvs) -> TorchRLModule:
    torch.manual_seed(0)
    group = envs.groups[0]
    module = ActorCritic(
        observation_space=group.observation_space,
        action_space=group.action_space,
        model_config=_SIZES,
    )
    torch.nn.init.normal_(module.actor.weight, std=1.0)
    return module


def main() -> None:
    """Prints a row for each environment."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=1_000_000, help="actions in all, about")
    steps = parser.parse_args().steps
    for row in _rows(steps):
        print(row, flush=True)


def _rows(steps: int) -> Iterator[str]:
    total = wrong = 0
    for env_id in ENVS:
        asked, illegal = illegal_actions(env_id, -(-steps // len(ENVS)))
        total, wrong = total + asked, wrong + illegal
        yield f"{env_id}: {illegal:,} illegal of {asked:,} actions"
    yield f"all: {wrong:,} illegal of {total:,} actions"


if __name__ == "__main__":
    main()
