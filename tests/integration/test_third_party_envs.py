"""Environments of different kinds, through RLlib's own env runner."""

from __future__ import annotations

import pytest
from gymnasium import spaces
from pettingzoo import ParallelEnv
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.env.multi_agent_env_runner import MultiAgentEnvRunner
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner
from ray.tune import register_env

from empo_rllib.envs.multi_agent_env import ParallelMultiAgentEnv
from empo_rllib.envs.registry import env_creator
from empo_rllib.errors import EnvError

pytestmark = pytest.mark.filterwarnings("ignore")  # RLlib warns about its own parts


class RelayEnv(ParallelEnv):
    """The runner leaves after 2 steps, the catcher joins after 3, all is cut off after 6."""

    metadata = {"name": "relay", "render_modes": []}
    render_mode = None
    possible_agents = ["catcher", "runner", "watcher"]
    spaces_of = {
        "catcher": (spaces.Dict({"x": spaces.Box(-1.0, 1.0, (2,))}), spaces.Discrete(5)),
        "runner": (spaces.Box(-1.0, 1.0, (3,)), spaces.Discrete(2)),
        "watcher": (spaces.Discrete(4), spaces.Box(-1.0, 1.0, (2,))),
    }

    def observation_space(self, agent):
        return self.spaces_of[agent][0]

    def action_space(self, agent):
        return self.spaces_of[agent][1]

    def reset(self, seed=None, options=None):
        self.t = 0
        self.agents = ["runner", "watcher"]
        return self._look(self.agents), {agent: {} for agent in self.agents}

    def step(self, actions):
        assert set(actions) == set(self.agents)
        self.t += 1
        acted = self.agents
        terminations = {agent: agent == "runner" and self.t == 2 for agent in acted}
        truncations = dict.fromkeys(acted, self.t == 6)
        self.agents = [a for a in acted if not (terminations[a] or truncations[a])]
        if self.t == 3:
            self.agents.append("catcher")
        seen = {*acted, *self.agents}
        rewards = dict.fromkeys(acted, 1.0)
        return self._look(seen), rewards, terminations, truncations, {a: {} for a in seen}

    def _look(self, agents):
        return {agent: self.observation_space(agent).sample() for agent in agents}


def sample_episodes(env_name, env_config, num_episodes, random_actions):
    """Samples whole episodes in this process, each agent with a module of its own."""
    agents = set(make(env_name, env_config).possible_agents)
    config = (
        PPOConfig()
        .environment(env_name, env_config=env_config)
        .env_runners(num_env_runners=0, num_envs_per_env_runner=2)
        .multi_agent(policies=agents, policy_mapping_fn=lambda agent, episode, **kwargs: agent)
        .rl_module(model_config={"fcnet_hiddens": [8]})
    )
    runner = MultiAgentEnvRunner(config=config, worker_index=0)
    try:
        return runner.sample(num_episodes=num_episodes, random_actions=random_actions)
    finally:
        runner.stop()


def make(env_name, env_config):
    if env_name == "relay":
        return RelayEnv()
    return env_creator(env_name)(env_config)


@pytest.fixture(autouse=True)
def registered():
    register_env("relay", lambda config: ParallelMultiAgentEnv(RelayEnv(), flat=True))
    for env_id in ENVS:
        if env_id != "relay":
            register_env(env_id, env_creator(env_id))


ENVS = {
    "pettingzoo.sisl.pursuit_v5": {"max_cycles": 8, "n_pursuers": 3},  # discrete actions, an image
    "mpe2.simple_spread_v3": {"continuous_actions": True},  # a continuous action space
    "butterfly/knights_archers_zombies-v11": {  # agents die one after the other
        "max_cycles": 150,
        "spawn_delay": 1,
        "line_death": True,
    },
    "CartPole-v1": {},  # one agent
    "relay": {},  # an agent joins late; different spaces
    "MultiGrid-BlockedUnlockPickup-v0": {"num_agents": 2, "max_steps": 15},  # a mission
}


@pytest.mark.parametrize("random_actions", [True, False])
@pytest.mark.parametrize("env_name", ENVS)
def test_rllibs_env_runner_samples_whole_episodes(env_name, random_actions):
    episodes = sample_episodes(env_name, ENVS[env_name], 2, random_actions)
    assert len(episodes) >= 2
    for episode in episodes:
        assert episode.is_terminated != episode.is_truncated
        for one in episode.agent_episodes.values():
            assert len(one) > 0
            assert one.is_done
            assert len(one.get_observations()) == len(one.get_rewards()) + 1


def test_agents_that_die_have_shorter_episodes_of_their_own():
    name = "butterfly/knights_archers_zombies-v11"
    episodes = sample_episodes(name, ENVS[name], 4, random_actions=True)
    lengths = [{len(one) for one in e.agent_episodes.values()} for e in episodes]
    assert any(len(different) > 1 for different in lengths)
    for episode in episodes:
        assert max(len(one) for one in episode.agent_episodes.values()) == len(episode)


def test_an_agent_that_joins_late_has_the_steps_it_was_there_for():
    for episode in sample_episodes("relay", {}, 2, random_actions=True):
        ends = {
            agent: (len(one), one.is_terminated, one.is_truncated)
            for agent, one in episode.agent_episodes.items()
        }
        assert ends == {
            "catcher": (3, False, True),
            "runner": (2, True, False),
            "watcher": (6, False, True),
        }


def test_a_config_without_multi_agent_is_told_what_it_lacks():
    config = PPOConfig().environment("CartPole-v1").env_runners(num_env_runners=0)
    with pytest.raises(EnvError, match=r"add \.multi_agent\("):
        SingleAgentEnvRunner(config=config, worker_index=0)
