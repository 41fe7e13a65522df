"""What `load_config` says about files and overrides that are wrong, one case per mistake."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from empo_rllib.config.load import load_config
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


def aliases(line: Callable[[int], str], num_lines: int) -> bytes:
    """Lines of which each names the one before."""
    return "".join(["n0: &n0 {k: 1}\n", *map(line, range(1, num_lines))]).encode()


# Each line stands for ten times as many values as the one before.
BOMB = aliases(lambda i: f"n{i}: &n{i} [{', '.join([f'*n{i - 1}'] * 10)}]\n", 40)
MERGES = aliases(
    lambda i: f"n{i}: &n{i} {{{', '.join(f'k{j}: {{<<: *n{i - 1}}}' for j in range(10))}}}\n", 40
)
CHAIN = aliases(lambda i: f"n{i}: &n{i} [*n{i - 1}]\n", 100)


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
        pytest.param(b"[" * 5000, [":1:", "more than 50 levels"], id="deep nesting"),
        pytest.param(
            b"env: &e {id: x, kwargs: {e: *e}}\n", [":1:", "holds itself"], id="recursive"
        ),
        pytest.param(BOMB, [":5:", "more than 20,000 keys and values"], id="bomb of aliases"),
        pytest.param(MERGES, [":5:", "more than 20,000 keys and values"], id="bomb of merges"),
        pytest.param(CHAIN, [":49:", "more than 50 levels"], id="chain of aliases"),
        pytest.param(b"- 1\n" * 30_000, [":20000:", "more than 20,000 keys"], id="long list"),
        pytest.param(b"#" * 300_000, ["more than 262,144 bytes"], id="large"),
        pytest.param(b"a: 1" + b":59" * 50_000, [":1:", "more than 100 char"], id="long number"),
        pytest.param(b"a: 1\nseed: 010\n", [":2:", "010 would be 8", "base 8"], id="octal"),
        pytest.param(b"seed: 1:30\n", ["1:30 would be 90", "base 60", '"1:30"'], id="sexagesimal"),
        pytest.param(b"seed: -1:30.5\n", ["would be -90.5"], id="sexagesimal fraction"),
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
        pytest.param(
            f"env.kwargs={BOMB.decode()}", ["--set env.kwargs=n0:", ":5:", "20,000"], id="bomb"
        ),
        pytest.param("seed=010", ["--set seed=010", "Write 8, or"], id="octal"),
        pytest.param("a" + ".a" * 99 + "=1", ["the key has more than 50 parts"], id="deep key"),
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


def test_loading_imports_neither_ray_nor_torch_nor_optuna(experiment: Path) -> None:
    code = (
        "import sys; from empo_rllib.config.load import load_config; "
        "from empo_rllib.trials import sample_trials;"
        "space = 'algorithm.params.lr={loguniform: [1e-5, 1e-3]}';"
        "config = load_config(sys.argv[1], [space, 'tune.search=optuna']);"
        "sample_trials(config)[0];"
        "assert not {'ray', 'torch', 'gymnasium', 'pettingzoo', 'optuna'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(experiment)], check=True)


# Experiments in Python


def test_an_experiment_is_also_read_from_a_mapping_which_stays_as_it_is() -> None:
    data = {**MINIMAL, "stop": {"env_steps": 100}}
    config = load_config(data, ["stop.env_steps=200"])
    assert (config.name, config.stop.env_steps) == ("run", 200)
    assert data == {**MINIMAL, "stop": {"env_steps": 100}}


def test_an_experiment_is_changed_into_another(experiment: Path) -> None:
    config = load_config(experiment)
    changed = load_config(config, {"seed": 3, "stop.env_steps": 200})
    assert (config.seed, changed.seed, changed.stop.env_steps) == (0, 3, 200)
    assert changed.to_dict() == load_config(experiment, ["seed=3", "stop.env_steps=200"]).to_dict()


def test_overrides_in_python_are_values_and_their_errors_name_no_flag() -> None:
    space = {"grid_search": [1e-3, 1e-4]}
    config = load_config(MINIMAL, {"algorithm.params.lr": space})
    assert config.to_dict()["algorithm"]["params"]["lr"] == space
    with pytest.raises(ConfigError, match=r"overrides: stop\.envsteps = 3 is an unknown key"):
        load_config(MINIMAL, {"stop.envsteps": 3})
    with pytest.raises(ConfigError, match="overrides: name = 'run' is not a section"):
        load_config(MINIMAL, {"name.first": 3})


def test_what_is_neither_a_file_nor_an_experiment_is_refused() -> None:
    with pytest.raises(ConfigError, match="is of type int; give a file's path"):
        load_config(3)
    with pytest.raises(ConfigError, match="experiment: env is missing"):
        load_config({"name": "run"})
