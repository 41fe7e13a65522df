"""Who acts for whom, and on which spaces."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from gymnasium import spaces

from empo_rllib.algorithms.policies import adapt, build_policies, policy_mapping
from empo_rllib.algorithms.setup import open_env, set_up_trial
from empo_rllib.config.load import validate_config
from empo_rllib.envs.registry import make_env
from empo_rllib.errors import ConfigError

PLAIN = spaces.Box(0.0, 9.0, (2,))
WITH_ID = spaces.Dict(observation=PLAIN, agent_id=spaces.Box(0.0, 1.0, (3,)))
AGENTS = ("agent_0", "agent_1", "agent_2")


def policies_of(config):
    with contextlib.closing(open_env(config.env)) as env:
        return build_policies(config, env)


def test_independent_policies_have_one_agent_each_and_see_no_id(experiment):
    policies = policies_of(experiment())
    assert list(policies) == list(AGENTS)
    for name, policy in policies.items():
        assert policy.name == name
        assert policy.agents == (name,)
        assert policy.train
        assert policy.checkpoint is None
        assert not policy.agent_id_input
        assert policy.observation_space == PLAIN
        assert policy.action_space == spaces.Discrete(2)


def test_a_shared_policy_sees_which_agent_it_acts_for(experiment):
    policies = policies_of(experiment(policies="shared"))
    assert list(policies) == ["shared"]
    assert policies["shared"].agents == AGENTS
    assert policies["shared"].agent_id_input
    assert policies["shared"].observation_space == WITH_ID


def test_the_agents_id_can_be_switched_off_for_a_shared_policy(experiment):
    policies = policies_of(experiment(policies="shared", model={"agent_id": False}))
    assert not policies["shared"].agent_id_input
    assert policies["shared"].observation_space == PLAIN


def test_the_agents_id_can_be_switched_on_for_independent_policies(experiment):
    policies = policies_of(experiment(model={"agent_id": True}))
    assert all(policy.agent_id_input for policy in policies.values())
    assert all(policy.observation_space == WITH_ID for policy in policies.values())


def test_a_mapping_gives_the_id_to_policies_of_several_agents_only(experiment):
    config = experiment(policies={"agent_1": "leader", "*": "follower"})
    policies = policies_of(config)
    assert policies["follower"].agents == ("agent_0", "agent_2")
    assert policies["follower"].observation_space == WITH_ID
    assert policies["leader"].agents == ("agent_1",)
    assert policies["leader"].observation_space == PLAIN
    assert policy_mapping(policies) == {
        "agent_0": "follower",
        "agent_1": "leader",
        "agent_2": "follower",
    }


def test_a_policy_can_be_frozen_and_start_from_a_checkpoint(experiment):
    fixed = {"policy": "fixed", "train": False, "checkpoint": "results/old"}
    policies = policies_of(experiment(policies={"agent_0": fixed, "*": "learning"}))
    assert not policies["fixed"].train
    assert policies["fixed"].checkpoint == "results/old"
    assert policies["learning"].train
    assert policies["learning"].checkpoint is None


@pytest.mark.parametrize("algorithm", ["DQN", "SAC"])
def test_rllibs_own_modules_see_flat_observations_with_the_id_in_them(experiment, algorithm):
    policies = policies_of(experiment(algorithm, policies="shared"))
    assert isinstance(policies["shared"].observation_space, spaces.Box)
    assert policies["shared"].observation_space.shape == (5,)


def test_a_class_of_ones_own_sees_observations_as_they_are(experiment):
    policies = policies_of(experiment("DQN", model={"class": "own_code:Module"}))
    assert policies["agent_0"].observation_space == PLAIN


def test_agents_with_different_spaces_cannot_share_a_policy(experiment):
    config = experiment(policies={"agent_0": "a", "*": "b"}, env={"wide_agent": "agent_2"})
    with pytest.raises(ConfigError) as raised:
        policies_of(config)
    assert "'b' acts for 'agent_1' and 'agent_2', whose spaces differ" in str(raised.value)
    assert "Give them policies of their own" in str(raised.value)


def test_agents_with_different_spaces_can_have_policies_of_their_own(experiment):
    policies = policies_of(experiment(env={"wide_agent": "agent_2"}))
    shapes = [policy.observation_space.shape for policy in policies.values()]
    assert shapes == [(2,), (2,), (3,)]


def test_an_agent_without_policy_is_refused(experiment):
    with pytest.raises(ConfigError, match="leaves out 'agent_2'"):
        policies_of(experiment(policies={"agent_0": "a", "agent_1": "b"}))


def test_the_number_of_agents_of_the_experiment_is_the_environments(experiment):
    assert len(policies_of(experiment(env={"num_agents": 5}))) == 5


def test_the_environment_is_closed_again_even_after_a_refusal(experiment, walk_env):
    set_up_trial(experiment())
    with pytest.raises(ConfigError):
        set_up_trial(experiment(policies={"agent_0": "a"}))
    assert walk_env.opened == 0


@pytest.mark.parametrize("algorithm", ["PPO", "DQN"])
@pytest.mark.parametrize("policies", ["independent", "shared"])
def test_the_adapted_environment_shows_what_the_policies_expect(experiment, algorithm, policies):
    config = experiment(algorithm, policies=policies)
    built = policies_of(config)
    env = adapt(config, built, make_env(config.env.id))
    observations, _ = env.reset(seed=0)
    for agent, name in policy_mapping(built).items():
        assert built[name].observation_space.contains(observations[agent])


def test_the_id_of_an_agent_is_its_place_among_the_agents(experiment):
    config = experiment(policies="shared")
    env = adapt(config, policies_of(config), make_env(config.env.id))
    observations, _ = env.reset(seed=0)
    ids = np.stack([observations[agent]["agent_id"] for agent in AGENTS])
    assert ids.tolist() == np.eye(3).tolist()


def test_tqc_refuses_actions_that_are_no_numbers(experiment):
    with pytest.raises(ConfigError, match=r"'TQC' acts in Box spaces; 'agent_0' has Discrete\(2\)"):
        set_up_trial(experiment("TQC", env={"continuous": False}))


def test_an_action_space_that_the_algorithm_cannot_act_in_is_refused_by_name():
    data = {"name": "run", "env": {"id": "Pendulum-v1"}, "algorithm": {"name": "DQN"}}
    with pytest.raises(ConfigError, match=r"'DQN' acts in Discrete spaces; 'agent_0' has Box"):
        policies_of(validate_config(data))
