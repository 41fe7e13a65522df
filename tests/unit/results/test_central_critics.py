"""Runs with critics that see more than their agents: acting with their policies needs no critic.

Their policies have a memory, of which acting needs no more than the actor's.
"""

from __future__ import annotations

import pytest
from safetensors.numpy import load_file

from empo_rllib.bundle import load_bundle
from empo_rllib.config.load import load_config
from empo_rllib.experiment.plan import plan_trials
from empo_rllib.experiment.run_folder import locate
from empo_rllib.results.load import load_policies

MODEL = {"critic": "central", "value_norm": True, "memory": "lstm", "memory_size": 8}


@pytest.fixture(scope="module")
def mappo(write_run, tmp_path_factory):
    """An untrained run; not to be changed."""
    return write_run(tmp_path_factory.mktemp("central") / "mappo", model=MODEL)


def saved(run, policy):
    (file,) = run.glob(f"trial_00000/*/policies/{policy}.safetensors")
    return load_file(file)


def test_the_weights_of_actors_are_loaded_and_no_central_critic_is_built(mappo):
    policies = load_policies(locate(mappo)).by_name
    for name, policy in policies.items():
        actor = saved(mappo, name)["actor.weight"]
        assert (policy.module.actor.weight.detach().numpy() == actor).all()
        assert not policy.module.critic_sees_more


def test_the_policies_play_where_others_are_missing(mappo, command):
    more = ("--set", "env.num_agents=1", "--set", "env.kwargs.max_steps=5")
    code, out, _ = command("evaluate", mappo, "--episodes", 2, *more)
    assert code == 0
    assert "env.num_agents=1" in out


def test_a_bundle_of_them_acts(mappo, command, tmp_path):
    code, _, err = command("export", mappo, "--out", tmp_path / "bundle")
    assert code == 0, err
    bundle = load_bundle(tmp_path / "bundle")
    assert set(bundle.agents) == {"agent_0", "agent_1"}
    assert set(bundle.policies["agent_0"].memory) == {"memory.h", "memory.c"}  # the actor's alone


@pytest.mark.parametrize("critic", ["own", "central"])
def test_a_frozen_policy_comes_from_a_run_with_another_critic(write_run, tmp_path, mappo, critic):
    source = write_run(tmp_path / "source", model={**MODEL, "critic": critic, "value_norm": False})
    frozen = {"policy": "agent_1", "train": False, "checkpoint": str(source)}
    config = load_config(
        {
            "name": "next",
            "env": {"id": "MultiGrid-Empty-5x5-v0", "num_agents": 2},
            "policies": {"agent_0": "agent_0", "agent_1": frozen},
            "algorithm": {"name": "PPO"},
            "model": MODEL,
        }
    )
    assert plan_trials(config)
