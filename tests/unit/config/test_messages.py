"""What is said about wrong values: one case per mistake."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from empo_rllib.config.algorithms import ALGORITHMS, OTHER_NAMES
from empo_rllib.config.load import load_config, validate_config
from empo_rllib.config.param_limits import OTHER_NAMES as OTHER_KEYS
from empo_rllib.config.params import known_params
from empo_rllib.config.schema import ExperimentConfig
from empo_rllib.errors import ConfigError

MINIMAL = {"name": "run", "env": {"id": "CartPole-v1"}, "algorithm": {"name": "PPO"}}


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        pytest.param({"nme": 1}, ["nme = 1 is an unknown key", "'name'"], id="unknown key"),
        pytest.param(
            {"env_steps": 5}, ["unknown key", "Did you mean 'stop.env_steps'"], id="misplaced key"
        ),
        pytest.param(
            {"clip_param": 0.2},
            ["Did you mean 'algorithm.params.clip_param'"],
            id="misplaced param",
        ),
        pytest.param({3: 1}, ["file.yaml: 3 is a key that is not a string"], id="number as key"),
        pytest.param({"name": None}, ["name = null must be a string"], id="no name"),
        pytest.param({"name": "../x"}, ["name = '../x' must be a plain name"], id="path as name"),
        pytest.param({"name": ""}, ["name = '' must be a plain name"], id="empty name"),
        pytest.param({"seed": True}, ["seed = true must be an integer"], id="bool for int"),
        pytest.param({"seed": "3"}, ["seed = '3' must be an integer"], id="string for int"),
        pytest.param({"seed": 1.5}, ["seed = 1.5 must be an integer"], id="fraction for int"),
        pytest.param({"seed": -1}, ["seed = -1 must be at least 0"], id="negative seed"),
        pytest.param({"env": {"id": ""}}, ["env.id = '' must be a string"], id="empty env id"),
        pytest.param({"env": {}}, ["env.id is missing: MultiGrid id"], id="no env id"),
        pytest.param({"env": "CartPole-v1"}, ["must be a section", "num_agents"], id="env as text"),
        pytest.param(
            {"env": {"id": "x", "num_agents": 0}}, ["env.num_agents = 0 must be at least 1"], id="0"
        ),
        pytest.param(
            {"env": {"id": "x", "kwargs": {"num_agents": 2}}}, ["use env.num_agents"], id="agents"
        ),
        pytest.param(
            {"algorithm": {"name": "ppo"}}, ["Did you mean 'PPO'", "IMPALA"], id="algorithm's case"
        ),
        pytest.param(
            {"algorithm": {"name": "QMIX"}},
            ["algorithm.name = 'QMIX' must be one of PPO, APPO, IMPALA, DQN, SAC or TQC"],
            id="algorithm that there is not",
        ),
        pytest.param(
            {"algorithm": {"name": "mappo"}},
            ["MAPPO is PPO with model.critic: central"],
            id="algorithm of another library",
        ),
        pytest.param(
            {"learning_rate": 0.1}, ["Did you mean 'algorithm.params.lr'"], id="other name"
        ),
        pytest.param(
            {"algorithm": {"name": "PPO", "params": {"batch_size": 64}}},
            ["Did you mean 'algorithm.params.train_batch_size_per_learner'"],
            id="other name of a parameter",
        ),
        pytest.param(
            {"stop": {"total_timesteps": 64}}, ["Did you mean 'stop.env_steps'"], id="other budget"
        ),
        pytest.param(
            {"algorithm": {"name": "PPO", "callbacks": ["mine"]}},
            ["algorithm.callbacks.0 = 'mine'", "package.module:Class"],
            id="callback",
        ),
        pytest.param(
            {"model": {"hidden_sizes": [64, 0]}}, ["model.hidden_sizes.1 = 0"], id="layer width"
        ),
        pytest.param({"model": {"critic": "centrl"}}, ["Did you mean 'central'?"], id="critic"),
        pytest.param({"model": {"class": "Net"}}, ["package.module:Class"], id="model class"),
        pytest.param(
            {"model": {"class_": "a:B"}}, ["unknown key", "Did you mean 'class'"], id="class_"
        ),
        pytest.param(
            {"resources": {"num_envs_per_env_runner": 0}}, ["must be at least 1"], id="no envs"
        ),
        pytest.param({"resources": {"num_learners": -1}}, ["must be at least 0"], id="learners"),
        pytest.param(
            {"resources": {"num_gpus_per_learner": -1}},
            ["num_gpus_per_learner = -1 must be auto or a number of at least 0"],
            id="gpus",
        ),
        pytest.param(
            {"resources": {"sampler": "rlib"}},
            ["auto, batched, python or rllib", "'rllib'"],
            id="sampler",
        ),
        pytest.param({"stop": {"env_steps": 0}}, ["stop.env_steps = 0"], id="no steps"),
        pytest.param({"stop": {"time_s": 0}}, ["must be greater than 0"], id="no time"),
        pytest.param({"stop": {"time_s": float("inf")}}, ["must be a finite number"], id="inf"),
        pytest.param({"stop": {"env_steps": None}}, ["never stops", "env_steps"], id="no limit"),
        pytest.param({"stop": None}, ["stop = null must be a section"], id="null section"),
        pytest.param({"tune": {"num_samples": 1e100}}, ["must be an integer"], id="1e100"),
        pytest.param({"tune": {"num_samples": 0}}, ["must be at least 1"], id="no samples"),
        pytest.param({"tune": {"max_failures": -1}}, ["must be at least 0"], id="failures"),
        pytest.param({"tune": {"mode": "maximum"}}, ["max or min"], id="mode"),
        pytest.param(
            {"tune": {"metric": "episode_reward_mean"}},
            ["is not a metric", "Did you mean 'episode_return_mean'", "success_rate"],
            id="metric",
        ),
        pytest.param(
            {"tune": {"metric": "policy_return_mean/"}}, ["is not a metric"], id="metric of nobody"
        ),
        pytest.param(
            {"tune": {"metric": "policy_return_mean/<policy>"}}, ["is not a metric"], id="template"
        ),
        pytest.param(
            {"tune": {"metric": "evaluation/success_rate"}},
            ["evaluation.interval = 0 must be at least 1", "evaluation/success_rate"],
            id="metric without evaluation",
        ),
        pytest.param({"tune": {"scheduler": "hyperband"}}, ["null, fifo, asha"], id="scheduler"),
        pytest.param(
            {"tune": {"scheduler": {"asha": {"grace_perod": 1}}}},
            ["tune.scheduler.asha.grace_perod", "'grace_period'"],
            id="asha option",
        ),
        pytest.param(
            {"tune": {"scheduler": "asha"}, "stop": {"env_steps": 5000}},
            ["tune.scheduler.asha.grace_period = 10000 exceeds stop.env_steps = 5000"],
            id="asha longer than the trial",
        ),
        pytest.param(
            {"tune": {"scheduler": "asha"}, "stop": {"env_steps": None, "time_s": 9.0}},
            ["tune.scheduler.asha.max_t = null must be a number of env steps"],
            id="asha without an end",
        ),
        pytest.param(
            {"tune": {"search": "optna"}}, ["must be null, optuna or"], id="search algorithm"
        ),
        pytest.param({"checkpoint": {"frequency": 0}}, ["must be at least 1"], id="frequency"),
        pytest.param({"checkpoint": {"num_to_keep": 0}}, ["must be at least 1"], id="keep none"),
        pytest.param({"evaluation": {"num_episodes": 0}}, ["must be at least 1"], id="episodes"),
        pytest.param({"logging": {"wandb": {}}}, ["logging.wandb.project is missing"], id="wandb"),
        pytest.param(
            {"logging": {"wandb": {"project": "p", "mode": "off"}}},
            ["online, offline or disabled"],
            id="wandb mode",
        ),
        pytest.param(
            {"algorithm": {"name": {"grid_search": ["PPO", "APO"]}}},
            ["algorithm.name = 'APO' must be one of PPO, APPO", "Did you mean 'APPO'?"],
            id="unknown algorithm of a grid",
        ),
        pytest.param(
            {"algorithm": {"name": {"grid": ["PPO", "APPO"]}}},
            ["algorithm.name = ", "is not a search space", "Did you mean 'grid_search'?"],
            id="unknown kind of search over algorithms",
        ),
        pytest.param(
            {"algorithm": {"name": {"uniform": [0, 1]}}},
            ["algorithm.name = 0.0 must be one of PPO, APPO"],
            id="a range of algorithms",
        ),
        pytest.param(
            {"algorithm": {"name": {"choice": ["PPO", "SAC"]}, "params": {"lr": 0.1}}},
            ["algorithm.params.lr = 0.1 is a parameter of PPO and not of SAC", "Remove it"],
            id="parameter of one algorithm of several",
        ),
        pytest.param(
            {"stop": {"env_steps": {"grid_search": [1, 2]}}},
            ["stop.env_steps = ", "must not be a search space", "only seed"],
            id="search space in the wrong place",
        ),
    ],
)
def test_a_wrong_value_is_named_with_its_rule(changes: dict, parts: list[str]) -> None:
    with pytest.raises(ConfigError) as raised:
        validate_config({**MINIMAL, **changes}, source="file.yaml")
    message = str(raised.value)
    assert message.startswith("file.yaml: ")
    assert len(message.splitlines()) <= 2
    for part in parts:
        assert part in message


def test_every_mistake_of_a_file_is_reported_at_once(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(
        """
        name: a b
        seed: x
        env: {num_agents: 0}
        policies: {agent_0: 3}
        algorithm: {name: PPO, params: {lrr: 1, gamma: 2, minibatch_size: 9000}}
        stop: {env_stps: 1}
        tune: {metric: x}
        """
    )
    with pytest.raises(ConfigError) as raised:
        load_config(path)
    message = str(raised.value)
    lines = [line for line in message.splitlines() if not line.startswith("    ")]
    assert [re.match(r".*bad\.yaml: ([\w.]+) ", line).group(1) for line in lines] == [
        "name",
        "seed",
        "env.id",
        "env.num_agents",
        "policies.agent_0",
        "algorithm.params.lrr",
        "algorithm.params.gamma",
        "algorithm.params.minibatch_size",
        "stop.env_stps",
        "tune.metric",
    ]
    assert "Lower the first or raise the second." in message


@pytest.mark.parametrize("name", OTHER_KEYS)
def test_what_other_libraries_call_a_key_leads_to_one_that_there_is(name):
    section, _, key = OTHER_KEYS[name].rpartition(".")
    config = validate_config(MINIMAL)
    keys = known_params("PPO") if section == "algorithm.params" else getattr(config, section)
    assert key in keys if isinstance(keys, dict) else hasattr(keys, key)
    assert name not in ExperimentConfig.model_fields
    assert not any(name in known_params(algorithm) for algorithm in ALGORITHMS)


def test_algorithms_of_other_libraries_are_none_of_ours():
    assert not OTHER_NAMES.keys() & ALGORITHMS.keys()
