"""What `load_config` says about files and overrides that are wrong, one case per mistake."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from empo_rllib.config import load_config, validate_config
from empo_rllib.errors import ConfigError

MINIMAL = {"name": "run", "env": {"id": "CartPole-v1"}, "algorithm": {"name": "PPO"}}


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    path = tmp_path / "experiment.yaml"
    path.write_text(yaml.safe_dump(MINIMAL))
    return path


def message_of(path: Path, *overrides: str) -> str:
    with pytest.raises(ConfigError) as raised:
        load_config(path, overrides)
    assert raised.value.exit_code == 2
    return str(raised.value)


# Files


def test_a_missing_file_is_named_with_the_nearest_one(experiment: Path) -> None:
    message = message_of(experiment.with_name("experimnt.yaml"))
    assert "there is no such file" in message
    assert "Did you mean" in message
    assert "experiment.yaml" in message


def test_a_directory_is_refused_and_a_file_in_it_is_offered(experiment: Path) -> None:
    message = message_of(experiment.parent)
    assert "is a directory" in message
    assert str(experiment) in message


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        pytest.param(b"", ["is empty"], id="empty"),
        pytest.param(b"# only a comment\n", ["is empty"], id="only comments"),
        pytest.param(b"- a\n- b\n", ["holds a list"], id="list"),
        pytest.param(b"just text\n", ["a single value", "just text"], id="scalar"),
        pytest.param(b"\x89PNG\r\n\x1a\n\x00\xff", ["is not a text file"], id="binary"),
        pytest.param(b"name: a\x00b\n", ["is not a text file"], id="NUL byte"),
        pytest.param(b"name: \x07\n", ["invalid YAML"], id="control character"),
        pytest.param(b"name: a\nenv: {id: [\n", [":3: invalid YAML"], id="unclosed bracket"),
        pytest.param(b"name: a\n\tseed: 1\n", [":2: invalid YAML"], id="tab"),
        pytest.param(b"name: a\nseed: 1\nseed: 2\n", [":3:", "'seed' stands twice"], id="twice"),
        pytest.param(b"name: !!python/name:os.system x\n", [":1: invalid YAML"], id="python tag"),
        pytest.param(b"a: 1\n---\nb: 2\n", [":2: invalid YAML"], id="two documents"),
        pytest.param(b"[" * 5000, ["nested too deeply"], id="deep nesting"),
        pytest.param(b"env: &e {id: x, kwargs: {e: *e}}\n", ["holds itself"], id="recursive"),
        pytest.param(b"name: 2024-99-99\n", ["invalid YAML"], id="impossible date"),
    ],
)
def test_a_file_that_is_no_mapping_is_refused(
    tmp_path: Path, content: bytes, parts: list[str]
) -> None:
    path = tmp_path / "bad.yaml"
    path.write_bytes(content)
    message = message_of(path)
    for part in [str(path), *parts]:
        assert part in message


# Values


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
            ["algorithm.name = 'QMIX' must be one of PPO, APPO, IMPALA, DQN or SAC"],
            id="algorithm that there is not",
        ),
        pytest.param(
            {"algorithm": {"name": "PPO", "callbacks": ["mine"]}},
            ["algorithm.callbacks.0 = 'mine'", "package.module:Class"],
            id="callback",
        ),
        pytest.param(
            {"model": {"hidden_sizes": [64, 0]}}, ["model.hidden_sizes.1 = 0"], id="layer width"
        ),
        pytest.param({"model": {"critic": "centrl"}}, ["must be own"], id="critic"),
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
        pytest.param({"tune": {"scheduler": "pbt"}}, ["null, fifo, asha"], id="scheduler"),
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
        pytest.param({"tune": {"search": "optuna"}}, ["must be null"], id="search algorithm"),
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
    message = message_of(path)
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


# Overrides


def test_overrides_set_any_key_and_the_last_one_wins(experiment: Path) -> None:
    config = load_config(
        experiment,
        [
            "algorithm.params.lr=1e-4",
            "env.kwargs.size=6",
            "logging.wandb.project=mine",
            "policies={'agent_*': walker}",
            "seed=1",
            "seed={grid_search: [1, 2]}",
        ],
    )
    assert config.algorithm.params == {"lr": 1e-4}
    assert config.env.kwargs == {"size": 6}
    assert config.logging.wandb.project == "mine"
    assert config.policies["agent_*"].policy == "walker"
    assert config.seed == {"grid_search": [1, 2]}


def test_an_override_replaces_a_search_space(experiment: Path) -> None:
    overrides = ["algorithm.params.lr={loguniform: [1e-5, 1e-3]}", "algorithm.params.lr=1e-4"]
    assert load_config(experiment, overrides).algorithm.params == {"lr": 1e-4}


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        pytest.param("seed", ["--set seed", "key=value"], id="no equals sign"),
        pytest.param("", ["key=value"], id="nothing"),
        pytest.param("=3", ["is not a key"], id="no key"),
        pytest.param("stop..env_steps=3", ["is not a key"], id="empty part"),
        pytest.param("seed=[1", ["--set seed=[1", "invalid YAML"], id="value that is no YAML"),
        pytest.param("name.x=1", ["name = 'run' is not a section"], id="below a value"),
        pytest.param("seed=x", ["--set: seed = 'x' must be an integer"], id="wrong type"),
        pytest.param("sed=1", ["--set: sed = 1 is an unknown key", "'seed'"], id="unknown key"),
        pytest.param(
            "algoritm.params.lr=1", ["--set: algoritm", "'algorithm'"], id="unknown section"
        ),
        pytest.param(
            "algorithm.params.lrr=1", ["--set: algorithm.params.lrr", "'lr'"], id="unknown param"
        ),
    ],
)
def test_a_bad_override_is_named(experiment: Path, override: str, parts: list[str]) -> None:
    message = message_of(experiment, override)
    for part in parts:
        assert part in message


def test_an_override_is_not_blamed_for_the_file(experiment: Path) -> None:
    experiment.write_text("name: a/b\nenv: {id: x}\nalgorithm: {name: PPO}\n")
    assert message_of(experiment, "seed=3").startswith(f"{experiment}: name")


def test_loading_imports_neither_ray_nor_torch(experiment: Path) -> None:
    code = (
        "import sys; from empo_rllib.config import load_config, sample_trials;"
        "config = load_config(sys.argv[1], ['algorithm.params.lr={loguniform: [1e-5, 1e-3]}']);"
        "sample_trials(config)[0];"
        "assert not {'ray', 'torch', 'gymnasium', 'pettingzoo'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(experiment)], check=True)
