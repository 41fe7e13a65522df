"""Every algorithm learns from agents that join late, or refuses them before Ray starts."""

from __future__ import annotations

import pytest

from empo_rllib.algorithms.joining import check_joining
from empo_rllib.algorithms.setup import open_env, set_up_trial
from empo_rllib.config.algorithms import ALGORITHMS
from empo_rllib.errors import ConfigError

#: Those that were seen to train with an agent that joins in step 1 (Ray 2.60); DQN, SAC and TQC
#: were seen to fail.
LEARN_FROM_LATE_AGENTS = {"PPO", "APPO", "IMPALA"}


@pytest.fixture
def late_env(walk_env):
    class LateEnv(walk_env):
        def reset(self, seed=None, options=None):
            observations, _ = super().reset(seed, options)
            self.agents.remove("agent_1")
            return {a: observations[a] for a in self.agents}, {a: {} for a in self.agents}

        def step(self, actions):
            self.agents = list(self.possible_agents)
            return super().step(actions)

    return LateEnv


def check(config):
    env = open_env(config.env)
    check_joining(set_up_trial(config, env), env)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_an_agent_that_joins_late_is_learned_from_or_refused(
    algorithm, experiment, own_code, late_env
):
    own_code.WalkEnv = late_env
    if algorithm in LEARN_FROM_LATE_AGENTS:
        check(experiment(algorithm))
        return
    message = f"'{algorithm}' needs every agent from the first step: 'agent_1' gets no observation"
    with pytest.raises(ConfigError, match=f"{message}.*Take one of PPO, APPO, IMPALA"):
        check(experiment(algorithm))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_agents_that_are_there_from_the_start_pass(algorithm, experiment):
    check(experiment(algorithm))


def test_an_environment_that_cannot_be_reset_is_left_to_its_trial(experiment):
    check(experiment("DQN", env={"raises_in": "reset"}))
