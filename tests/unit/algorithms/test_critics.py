"""Which critics and networks an experiment gets, and what is refused before anything starts."""

from __future__ import annotations

import numpy as np
import pytest
from gymnasium import spaces

from empo_rllib.algorithms.builder import build_algorithm_config
from empo_rllib.algorithms.networks import build_rl_modules
from empo_rllib.algorithms.setup import set_up_trial
from empo_rllib.config.algorithms import ALGORITHMS
from empo_rllib.config.load import validate_config
from empo_rllib.errors import ConfigError

CENTRAL = {"model": {"critic": "central"}}
STATE = {"model": {"critic": "state"}}
NORMED = {"model": {"value_norm": True}}


@pytest.fixture
def with_state(own_code, walk_env):
    """An environment that has a `state()`."""

    class StateEnv(walk_env):
        state_space = spaces.Box(0.0, 9.0, (4,))

        def state(self):
            return np.full(4, self.moment, np.float32)

    own_code.StateEnv = StateEnv

    def build(**sections):
        env = {"id": "own_code:StateEnv"}
        return validate_config(
            {"name": "run", "env": env, "algorithm": {"name": "PPO"}, **sections}
        )

    return build


def critic_spaces(config):
    return {name: policy.critic_space for name, policy in set_up_trial(config).policies.items()}


def test_a_central_critic_reads_the_observations_of_all_and_who_is_there(experiment):
    config = experiment(env={"wide_agent": "agent_1"}, **CENTRAL)
    narrow, wide = (spaces.Box(0.0, 9.0, (size,)) for size in (2, 3))
    parts = {"observations": spaces.Tuple((narrow, wide, narrow)), "there": spaces.MultiBinary(3)}
    assert critic_spaces(config) == dict.fromkeys(
        ("agent_0", "agent_1", "agent_2"), spaces.Dict(parts)
    )


def test_the_critic_of_a_policy_for_several_agents_is_told_which_one_it_values(experiment):
    policies = {"agent_0": "one", "agent_*": "others"}
    found = critic_spaces(experiment(policies=policies, **CENTRAL))
    assert "agent_id" not in found["one"].spaces
    assert found["others"]["agent_id"] == spaces.MultiBinary(3)


def test_a_critic_of_the_state_reads_it_in_python(with_state):
    setup = set_up_trial(with_state(**STATE))
    assert setup.sampler.name == "python"
    assert setup.policies["agent_0"].critic_space["state"] == spaces.Box(0.0, 9.0, (4,))


def test_a_frozen_policy_has_the_plain_critic(experiment):
    policies = {"agent_0": {"policy": "frozen", "train": False}, "agent_*": "others"}
    model = {"critic": "central", "value_norm": True}
    setup = set_up_trial(experiment(policies=policies, model=model))
    modules = build_rl_modules(build_algorithm_config(setup), setup.policies)
    assert setup.policies["frozen"].critic_space is None
    assert [modules[name].value_norm is None for name in ("frozen", "others")] == [True, False]
    assert [modules[name].critic_sees_more for name in ("frozen", "others")] == [False, True]


@pytest.mark.parametrize("model", [CENTRAL, STATE, NORMED])
@pytest.mark.parametrize("algorithm", sorted(set(ALGORITHMS) - {"PPO"}))
def test_algorithms_without_it_refuse_a_critic(experiment, model, algorithm):
    with pytest.raises(ConfigError, match=rf"^model\.\w+ = .* is for PPO, and .*{algorithm}"):
        set_up_trial(experiment(algorithm, **model))


@pytest.mark.parametrize("model", [CENTRAL, NORMED])
def test_rllibs_own_learner_refuses_a_critic(experiment, model):
    with pytest.raises(ConfigError, match=r"needs the sampler batched or python.*as asked for"):
        set_up_trial(experiment(resources={"sampler": "rllib"}, **model))


def test_what_falls_back_to_rllib_is_told_with_its_reason(experiment):
    with pytest.raises(ConfigError, match=r"gets rllib: num_learners = 2"):
        set_up_trial(experiment(resources={"num_learners": 2}, **CENTRAL))


@pytest.mark.parametrize(
    ("model", "params", "told"),
    [
        ({"class": "own_code:Net"}, {}, "model.class = 'own_code:Net' has a critic of its own"),
        ({"hidden_sizes": []}, {}, "needs a hidden layer"),
        ({"shared_trunk": True}, {}, "does not fit model.shared_trunk = true"),
        ({}, {"use_critic": False}, "use_critic = False trains no critic"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(experiment, model, params, told):
    config = experiment(model={"critic": "central", **model}, params=params)
    with pytest.raises(ConfigError, match=told):
        set_up_trial(config)


def test_an_environment_without_a_state_refuses_its_critic(experiment):
    with pytest.raises(ConfigError, match=r"has no state_space.*Use model\.critic: central"):
        set_up_trial(experiment(**STATE))


def test_a_state_that_raises_is_told(with_state, own_code):
    def state(self):
        raise NotImplementedError("later")

    own_code.StateEnv.state = state
    with pytest.raises(ConfigError, match=r"raised in state\(\): NotImplementedError\('later'\)"):
        set_up_trial(with_state(**STATE))


def test_kernels_refuse_a_critic_of_the_state(with_state):
    with pytest.raises(ConfigError, match=r"'batched' does not fit: .*reads the environment's"):
        set_up_trial(with_state(resources={"sampler": "batched"}, **STATE))


def test_observations_without_a_fixed_size_are_not_put_side_by_side(experiment, walk_env):
    odd = spaces.Sequence(spaces.Discrete(2))
    space = walk_env.observation_space
    env = walk_env()
    env.observation_space = lambda agent: odd if agent == "agent_2" else space(env, agent)
    with pytest.raises(ConfigError, match=r"side by side, and that of 'agent_2' holds a Sequence"):
        set_up_trial(experiment(**CENTRAL), env)
