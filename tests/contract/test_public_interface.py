"""The names of `empo_rllib`, its commands and its exit codes are contracts."""

from __future__ import annotations

import inspect
import json
import os
import re
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import empo_rllib
from empo_rllib import errors
from empo_rllib.config.load import load_config
from empo_rllib.experiment.checkpoints import FORMAT
from empo_rllib.experiment.metrics import Counters
from empo_rllib.experiment.summary import ExperimentResult, TrialSummary

ROOT = Path(__file__).parents[2]

# Runs a module as `python -m` does, then says what it imported.
RUN_MODULE = """
import runpy, sys
module, *sys.argv[1:] = sys.argv[1:]
try:
    runpy.run_module(module, run_name="__main__", alter_sys=True)
except SystemExit as end:
    code = end.code or 0
print("code", code)
print("heavy", *sorted({"ray", "torch", "multigrid"} & set(sys.modules)))
"""

# Runs a module until it imports Ray or torch.
UNTIL_RAY = """
import builtins, os, runpy, sys
module, *sys.argv[1:] = sys.argv[1:]
original = builtins.__import__

def refuse(name, *arguments, **options):
    if name.split(".")[0] in ("ray", "torch"):
        sys.stderr.flush()
        os._exit(3)
    return original(name, *arguments, **options)

builtins.__import__ = refuse
runpy.run_module(module, run_name="__main__", alter_sys=True)
"""


def python(code: str, *arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *arguments]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)


def test_the_public_names_are_those_promised_and_all_are_there() -> None:
    assert {
        *("evaluate", "load_bundle", "load_config", "make_env", "register_envs", "run"),
    } <= set(empo_rllib.__all__)
    for name in empo_rllib.__all__:
        assert callable(getattr(empo_rllib, name))


def test_a_name_that_is_not_public_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        empo_rllib.trian  # noqa: B018


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("make_env", {"num_agents": None}),
        ("register_envs", {}),
        ("load_config", {"overrides": ()}),
        ("run", {"resume": False, "address": None}),
        (
            "evaluate",
            {"episodes": 100, "seed": 0, "greedy": None, "settings": (), "references": True},
        ),
        ("load_bundle", {"seed": None}),
    ],
)
def test_a_public_function_keeps_its_parameters_and_defaults(
    name: str, parameters: dict[str, object]
) -> None:
    signature = inspect.signature(getattr(empo_rllib, name))
    defaults = {key: value.default for key, value in signature.parameters.items()}
    assert defaults.items() >= parameters.items()
    required = [key for key, value in defaults.items() if value is inspect.Parameter.empty]
    assert len([key for key in required if key != "kwargs"]) == (name != "register_envs")


def test_the_version_is_that_of_the_package() -> None:
    assert f'version = "{empo_rllib.__version__}"' in (ROOT / "pyproject.toml").read_text()


@pytest.mark.parametrize(
    "imports",
    [
        "import empo_rllib",
        # What the commands import before they know that their arguments are right.
        "import empo_rllib.cli, empo_rllib.tune, empo_rllib.config, empo_rllib.envs, "
        "empo_rllib.experiment.run_folder, empo_rllib.results.evaluate, empo_rllib.results.film, "
        "empo_rllib.exporting.export",
    ],
)
def test_importing_imports_neither_ray_nor_torch(imports: str) -> None:
    code = f"import sys; {imports}; print(*{{'ray', 'torch', 'multigrid'}} & set(sys.modules))"
    answer = python(code)
    assert (answer.stdout, answer.stderr) == ("\n", "")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["empo_rllib", "--help"], 0),
        (["empo_rllib", "evaluate", "--help"], 0),
        (["empo_rllib", "doctor", "--help"], 0),
        (["empo_rllib", "doctor", "MultiGrid-Emty-8x8-v0"], 2),
        (["empo_rllib", "doctor"], 2),
        (["empo_rllib.tune", "--help"], 0),
        (["empo_rllib.tune"], 2),
        (["empo_rllib.tune", "--config", "no_such_file.yaml"], 2),
        (["empo_rllib.tune", "--config", "tune_configs/ppo.yaml", "--set", "seed"], 2),
        (["empo_rllib.tune", "--config", "tune_configs/ppo.yaml", "--set", "sede=1"], 2),
        (["empo_rllib", "evaluate", "no_such_run"], 2),
        (["empo_rllib", "crossplay", "--help"], 0),
        (["empo_rllib", "crossplay", "no_such_run", "nor_this"], 2),
        (["empo_rllib", "export", "no_such_run", "--out", "no_such_bundle"], 2),
        (["empo_rllib.bundle", "no_such_bundle"], 2),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)
def test_help_and_mistakes_are_answered_without_importing_ray(
    arguments: list[str], code: int
) -> None:
    answer = python(RUN_MODULE, *arguments)
    assert answer.stdout.endswith(f"code {code}\nheavy\n"), answer.stderr
    assert "Traceback" not in answer.stderr
    assert bool(answer.stderr) == (code != 0)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["empo_rllib.tune", "--config", "{root}/tune_configs/ppo.yaml"], "empty-8x8-ppo: PPO on "),
        (
            ["empo_rllib", "tune", "--config", "{root}/tune_configs/ppo.yaml", "--dry-run"],
            "Planning empty-8x8-ppo",
        ),
        (["empo_rllib", "evaluate", "run"], "Playing 100 episodes with 1 trial"),
        (["empo_rllib", "record", "run", "--out", "film.gif"], "Recording 3 episodes"),
        (["empo_rllib", "report", "run", "--out", "report.html"], "Reading 1 run"),
        (["empo_rllib", "export", "run", "--out", "bundle"], "Exporting "),
        (["empo_rllib", "crossplay", "run", "run"], "Loading the policies of 2 trials"),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, list) else "",
)
def test_a_command_shows_something_before_it_imports_ray(
    tmp_path: Path, arguments: list[str], line: str
) -> None:
    write_untrained_run(tmp_path / "run")
    answer = python(UNTIL_RAY, *(a.format(root=ROOT) for a in arguments), cwd=tmp_path)
    assert answer.returncode == 3, answer.stderr
    assert answer.stderr.startswith(line)
    assert answer.stdout == ""


def write_untrained_run(folder: Path) -> None:
    """Writes as much of a run as commands read before they import Ray."""
    config = load_config(ROOT / "tune_configs/ppo.yaml")
    checkpoint = folder / "trial_00000" / "checkpoint_000001"
    for policy in ("agent_0", "agent_1"):
        (checkpoint / "policies").mkdir(parents=True, exist_ok=True)
        save_file({"weight": np.zeros(1)}, str(checkpoint / "policies" / f"{policy}.safetensors"))
    state = {"format": FORMAT, "counters": asdict(Counters(1, 1000))}
    (checkpoint / "state.json").write_text(json.dumps(state))
    (folder / "resolved_config.yaml").write_text(config.to_yaml())
    trial = TrialSummary(trial_id="trial_00000", params={}, seed=0, metric=0.0, status="finished")
    ExperimentResult(
        status="finished",
        sampler="batched",
        sampler_reason="",
        metric="episode_return_mean",
        mode="max",
        best_trial="trial_00000",
        trials=[trial],
        folder=str(folder),
    ).write()


def test_a_mistake_is_one_message_on_stderr(tmp_path: Path) -> None:
    answer = python(RUN_MODULE, "empo_rllib.tune", "--config", "no_such_file.yaml")
    assert answer.stderr.startswith("error: no_such_file.yaml: ")
    assert len(answer.stderr.splitlines()) == 1


def test_an_override_in_two_words_is_answered_with_what_to_type() -> None:
    arguments = ["--config", "tune_configs/ppo.yaml", "--set", "seed", "1"]
    for command in (["empo_rllib.tune"], ["empo_rllib", "tune"]):
        answer = python(RUN_MODULE, *command, *arguments)
        assert answer.stderr == (
            "error: --set seed: must have the form key=value, such as --set seed=3.\n"
        )


def test_an_experiment_that_is_not_here_says_where_here_is(tmp_path: Path) -> None:
    answer = python(RUN_MODULE, "empo_rllib.tune", "--config", "nowhere/ppo.yaml")
    assert f"no such file. It is looked for in {Path.cwd()}" in answer.stderr


def test_the_version_is_printed_without_importing_ray() -> None:
    answer = python(RUN_MODULE, "empo_rllib", "--version")
    assert answer.stdout == f"{empo_rllib.__version__}\ncode 0\nheavy\n"


def test_training_is_one_of_the_commands() -> None:
    alone = python(RUN_MODULE, "empo_rllib.tune", "--help").stdout
    among = python(RUN_MODULE, "empo_rllib", "tune", "--help").stdout
    for option in ("--config", "--set", "--resume", "--overwrite", "--address", "--dry-run"):
        assert option in alone
        assert option in among


def test_bundles_are_loaded_with_numpy_and_onnxruntime_alone() -> None:
    code = """
import sys
from empo_rllib import load_bundle
print(*sorted({name.split(".")[0] for name in sys.modules} - sys.stdlib_module_names))
"""
    answer = python(code)
    loaded = [name for name in answer.stdout.split() if not name.startswith("_")]
    assert set(loaded) <= {"empo_rllib", "numpy", "sitecustomize", "usercustomize"}, answer.stderr


def test_the_actions_of_a_bundle_keep_their_parameters_and_defaults() -> None:
    from empo_rllib.bundle import Bundle

    parameters = inspect.signature(Bundle.act).parameters
    assert {name: value.default for name, value in parameters.items() if name != "self"} == {
        "observation": inspect.Parameter.empty,
        "agent": None,
        "greedy": True,
        "rng": None,
    }


def test_the_tree_of_errors_is_the_one_drawn_with_its_exit_codes() -> None:
    drawn = re.findall(r"^[│├└─ ]*(\w+) +(?:exit code )?(\d+)", errors.__doc__ or "", re.MULTILINE)
    classes = {
        name: error
        for name, error in vars(errors).items()
        if isinstance(error, type) and issubclass(error, errors.EmpoError)
    }
    assert {name: int(code) for name, code in drawn} == {
        name: error.exit_code for name, error in classes.items()
    }
    assert issubclass(errors.EnvError, errors.ConfigError)
