"""`empo_rllib.accelerate` on configs that know nothing of this package."""

from __future__ import annotations

import random

import gymnasium as gym
import numpy as np
import pytest
from pettingzoo import ParallelEnv
from ray.rllib.algorithms.dqn import DQNConfig
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.callbacks.callbacks import RLlibCallback
from ray.rllib.connectors.env_to_module import FlattenObservations
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
from ray.rllib.env.multi_agent_env import MultiAgentEnv
from ray.rllib.env.multi_agent_env_runner import MultiAgentEnvRunner
from ray.rllib.policy.policy import PolicySpec
from ray.rllib.utils.metrics import EPISODE_RETURN_MEAN

import empo_rllib
from empo_rllib.errors import ConfigError
from empo_rllib.learning.ppo.learner import FragmentPPOLearner
from empo_rllib.sampling.accelerated import AcceleratedEnvRunner

pytestmark = pytest.mark.filterwarnings("ignore")  # RLlib warns about its own parts


class Count(MultiAgentEnv):
    """Two agents with numbers for ids; an episode has three steps, each of which pays the agent."""

    made: list = []

    def __init__(self, config):
        super().__init__()
        self.made.append(config)
        self.possible_agents = self.agents = [0, 1]
        box = gym.spaces.Box(-1.0, 10.0, (config.get("size", 2),), np.float32)
        self.observation_spaces = dict.fromkeys(self.agents, box)
        self.action_spaces = dict.fromkeys(self.agents, gym.spaces.Discrete(2))

    def reset(self, *, seed=None, options=None):
        self._step = 0
        return self._seen(), {}

    def step(self, actions):
        self._step += 1
        over = {"__all__": self._step == 3}
        return self._seen(), {0: 1.0, 1: 2.0}, over, {"__all__": False}, {}

    def _seen(self):
        space = self.observation_spaces[0]
        return {agent: np.full(space.shape, self._step, np.float32) for agent in self.agents}


class EachEpisode(RLlibCallback):
    def on_episode_end(self, **kwargs):
        """Reads the episode."""


class Single(ParallelEnv):
    pass


def by_number(agent, episode, **kwargs):
    return f"p{agent}"


def config_of(env=Count, policies=("p0", "p1"), mapping=by_number):
    return (
        PPOConfig()
        .environment(env, env_config={"size": 3})
        .env_runners(num_env_runners=0, num_envs_per_env_runner=2, rollout_fragment_length=7)
        .multi_agent(policies=set(policies), policy_mapping_fn=mapping)
        .rl_module(model_config=DefaultModelConfig(fcnet_hiddens=[4]))
        .debugging(seed=0)
    )


def test_samples_are_of_the_users_environment_and_metrics_are_rllibs():
    config = config_of()
    Count.made.clear()
    fast = empo_rllib.accelerate(config)
    runner = AcceleratedEnvRunner(config=fast, worker_index=0)
    (fragment,) = runner.sample()
    metrics = runner.metrics.reduce()
    evaluated = runner.sample(num_episodes=3)
    runner.stop()

    assert config.env is Count  # which `accelerate` leaves as it was
    assert all(dict(made) == {"size": 3} for made in Count.made)
    assert [made.vector_index for made in Count.made[-4:]] == [0, 1, 0, 1]
    assert fragment.rewards.shape == (7, 2, 2)
    np.testing.assert_array_equal(fragment.rewards, np.broadcast_to([1.0, 2.0], (7, 2, 2)))
    assert [policy.policy for policy in fragment.policies] == ["p0", "p1"]
    value = metrics[EPISODE_RETURN_MEAN]
    assert float(value.peek() if hasattr(value, "peek") else value) == 9.0
    assert set(metrics["agent_episode_returns_mean"]) == {"0", "1"}
    assert set(metrics["module_episode_returns_mean"]) == {"p0", "p1"}
    assert [episode.episode_return for episode in evaluated] == [9.0] * 3


def drawn(agent, episode, **kwargs):
    return random.choice(["p0", "p1"])


def by_episode(agent, episode, **kwargs):
    return f"p{hash(episode.id_) % 2}"


def changed(method, **settings):
    return getattr(config_of(), method)(**settings)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: DQNConfig(), "takes a PPOConfig, and this is one of DQN"),
        (lambda: PPOConfig().environment(Count), "there are no policies"),
        (lambda: config_of(env="nowhere"), "no environment is registered as 'nowhere'"),
        (lambda: config_of(env=lambda config: Single()), "Wrap it: .*ParallelPettingZooEnv"),
        (lambda: config_of(mapping=drawn), "gives 0 p0 or p1"),
        (lambda: config_of(mapping=by_episode), r"reads the episode \(id_\)"),
        (lambda: config_of(policies=("p0", "p2")), "'p1', which config.multi_agent does not name"),
        (
            lambda: changed("learners", num_learners=2),
            "num_learners = 2: the fast learner is one process",
        ),
        (
            lambda: changed("env_runners", env_runner_cls=MultiAgentEnvRunner),
            "an env runner of its own",
        ),
        (
            lambda: changed("env_runners", batch_mode="complete_episodes"),
            "batch_mode = 'complete_episodes' asks for RLlib's own way",
        ),
        (
            lambda: changed("env_runners", env_to_module_connector=FlattenObservations),
            "env_to_module_connector: the fast path has no connectors",
        ),
        (
            lambda: changed("callbacks", callbacks_class=EachEpisode),
            "the callback EachEpisode.on_episode_end gets RLlib's envs or episodes",
        ),
        (
            lambda: changed("callbacks", on_sample_end=print),
            "the callback on_sample_end gets RLlib's envs or episodes",
        ),
        (
            lambda: changed(
                "multi_agent",
                policies={"p0": (None, None, gym.spaces.Discrete(5), {}), "p1": PolicySpec()},
            ),
            r"'p0' is given the space Discrete\(5\), and its agents have Discrete\(2\)",
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason(build, message):
    with pytest.raises(ConfigError, match=f"empo_rllib.accelerate: .*{message}"):
        empo_rllib.accelerate(build())


def test_a_recurrent_network_is_taken():
    config = changed("rl_module", model_config=DefaultModelConfig(use_lstm=True))
    assert empo_rllib.accelerate(config).learner_class is FragmentPPOLearner
