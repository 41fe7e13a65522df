"""Every action of every policy, in every way of playing, lies in the environment's space."""

from __future__ import annotations

import pytest
from gymnasium import spaces
from ray.rllib.env.multi_agent_env_runner import MultiAgentEnvRunner
from spaces_env import ACTION_SPACES, Acted

from empo_rllib.acting.play import play_episodes
from empo_rllib.acting.policies import ActingPolicy
from empo_rllib.acting.teams import ActingPolicies, random_team
from empo_rllib.algorithms.builder import build_algorithm_config
from empo_rllib.algorithms.networks import build_rl_modules
from empo_rllib.algorithms.policies import adapt
from empo_rllib.algorithms.setup import set_up_trial
from empo_rllib.config.load import validate_config
from empo_rllib.envs.actions import adapt_action
from empo_rllib.envs.multi_agent_env import ParallelMultiAgentEnv

pytestmark = pytest.mark.filterwarnings("ignore")  # RLlib warns about its own parts

DISCRETE = [name for name, space in ACTION_SPACES.items() if isinstance(space, spaces.Discrete)]
BOXES = [
    name for name, space in ACTION_SPACES.items() if isinstance(adapt_action(space)[0], spaces.Box)
]
CASES = [
    *[("PPO", name) for name in ACTION_SPACES],
    *[("DQN", name) for name in DISCRETE],
    *[("SAC", name) for name in [*DISCRETE, *BOXES]],
]


def set_up(action, algorithm, resources=None):
    config = validate_config(
        {
            "name": "run",
            "seed": 0,
            "env": {"id": "spaces_env:Acted", "kwargs": {"action": action}},
            "policies": "shared",
            "algorithm": {"name": algorithm},
            "resources": resources or {},
        }
    )
    return set_up_trial(config)


def team_of(setup, algorithm):
    modules = build_rl_modules(algorithm, setup.policies)
    policy = ActingPolicy(
        modules["shared"],
        setup.policies["shared"].action_space,
        normalize_actions=algorithm.normalize_actions,
        env_steps=0,
    )
    return ActingPolicies({"shared": policy}, {"a": "shared", "b": "shared"})


@pytest.mark.parametrize(("algorithm", "action"), CASES)
def test_episodes_of_policies(algorithm, action):
    setup = set_up(action, algorithm)
    team = team_of(setup, build_algorithm_config(setup))
    env = adapt(setup.config, setup.policies, Acted(action))
    for greedy in (True, False):
        played = play_episodes(team, [env], range(3), greedy)
        assert [episode.length for episode in played] == [4, 4, 4]


@pytest.mark.parametrize("action", ACTION_SPACES)
def test_episodes_of_the_random_policy(action):
    env = ParallelMultiAgentEnv(Acted(action))
    played = play_episodes(random_team(env.env, 0), [env], range(3), greedy=False)
    assert [episode.length for episode in played] == [4, 4, 4]


@pytest.mark.parametrize("sampler", ["python", "rllib"])
@pytest.mark.parametrize("action", ACTION_SPACES)
def test_training(action, sampler, tmp_path):
    setup = set_up(action, "PPO", resources={"sampler": sampler, "num_envs_per_env_runner": 2})
    built = build_algorithm_config(setup, env_error_file=tmp_path / "env_error.txt")
    runner = (built.env_runner_cls or MultiAgentEnvRunner)(config=built, worker_index=0)
    runner.sample(num_timesteps=20)
    assert not (tmp_path / "env_error.txt").exists()
    runner.stop()
