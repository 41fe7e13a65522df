"""A trained run, exported by the real command, and used where there is nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from bars import record_bar
from commands import CONFIGS

from empo_rllib.algorithms.setup import open_env
from empo_rllib.envs.multi_agent_env import ParallelMultiAgentEnv
from empo_rllib.experiment.run_folder import locate
from empo_rllib.exporting.check import record_observations
from empo_rllib.results.load import load_policies

pytestmark = pytest.mark.filterwarnings("ignore")  # RLlib warns about its own parts

ROOT = Path(__file__).resolve().parents[2]
OBSERVATIONS = 1000

# What somebody runs who has a bundle, numpy and onnxruntime, and no more.
ACT = """
import json, sys
import numpy as np
folder, recorded, package = sys.argv[1:]
if package == "empo_bundle":
    sys.path.insert(0, folder)
    from empo_bundle import load_bundle
else:
    from empo_rllib import load_bundle
bundle = load_bundle(folder)
data = np.load(recorded)
actions = [
    bundle.act({"direction": direction, "image": image}, agent=str(agent))
    for direction, image, agent in zip(data["direction"], data["image"], data["agent"])
]
there = {"ray", "torch", "onnx", "gymnasium", "pydantic"} & set(sys.modules)
print(json.dumps({"actions": actions, "there": sorted(there)}))
"""


def run(*command, cwd, **environment):
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    done = subprocess.run(
        [*map(str, command)],
        cwd=cwd,
        env={**kept, "PYTHONDONTWRITEBYTECODE": "1", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def run_folder(place, cluster):
    """The smoke experiment, trained until what its policies do depends on what they see."""
    settings = ("name=turns", "stop.env_steps=20000", "algorithm.params.lr=2.0e-3")
    sets = [part for setting in settings for part in ("--set", setting)]
    cluster.tune(place, "--config", CONFIGS / "smoke.yaml", *sets).check()
    return place.run("turns").folder


@pytest.fixture(scope="module")
def bundle(run_folder, place):
    """Its policies, exported with the real command."""
    command = [sys.executable, "-m", "empo_rllib", "export", run_folder, "--out", "bundle"]
    printed = run(*command, cwd=place.folder, PYTHONPATH=str(ROOT))
    assert printed.count("1,000 of 1,000 actions equal") == 2
    return place.folder / "bundle"


@pytest.fixture(scope="module")
def recorded(run_folder, tmp_path_factory):
    """Observations of episodes, and the actions of the original on them."""
    trained = locate(run_folder)
    policies = load_policies(trained)
    env = ParallelMultiAgentEnv(open_env(trained.config.env))
    seen = record_observations(policies, env, seed=1234)
    parts = [part for of_policy in seen.values() for part in of_policy[: OBSERVATIONS // len(seen)]]
    path = tmp_path_factory.mktemp("recorded") / "observations.npz"
    np.savez(
        path,
        direction=[part.raw["direction"] for part in parts],
        image=[part.raw["image"] for part in parts],
        agent=[part.agent for part in parts],
    )
    actions = [
        int(policies.act([{part.agent: part.raw}], greedy=True)[0][part.agent]) for part in parts
    ]
    return path, actions


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory):
    """A virtual environment with numpy and onnxruntime only."""
    folder = tmp_path_factory.mktemp("bare") / "venv"
    run(sys.executable, "-m", "venv", folder, cwd=ROOT)
    python = folder / "bin" / "python"
    pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run(python, *pip, "-c", ROOT / "constraints.txt", "numpy", "onnxruntime", cwd=ROOT)
    return python


@pytest.mark.parametrize("package", ["empo_bundle", "empo_rllib"])
def test_bar_1000_actions_are_equal_with_numpy_and_onnxruntime_alone(
    bundle, recorded, bare_python, tmp_path, package
):
    path, expected = recorded
    source = {"PYTHONPATH": str(ROOT)} if package == "empo_rllib" else {}

    answer = json.loads(run(bare_python, "-c", ACT, bundle, path, package, cwd=tmp_path, **source))

    assert answer["there"] == []
    equal = sum(a == b for a, b in zip(answer["actions"], expected, strict=True))
    record_bar(
        "make test-all",
        f"export, reloaded by {package} with numpy and onnxruntime alone",
        f"{OBSERVATIONS:,} of {OBSERVATIONS:,} actions equal",
        f"{equal:,} of {len(expected):,}",
        equal == len(expected) == OBSERVATIONS,
    )
    assert equal == len(expected) == OBSERVATIONS
    assert len(set(expected)) > 1


def test_the_bundles_own_command_tells_what_is_in_it(bundle, bare_python):
    told = run(bare_python, "-m", "empo_bundle", ".", cwd=bundle)
    assert "MultiGrid-Empty-5x5-v0" in told
    assert "policy agent_0 left, right, forward, pickup, drop, toggle, done" in told


def test_the_readmes_first_script_runs_as_it_stands(bundle, bare_python):
    script = (bundle / "README.md").read_text().split("```python\n")[1].partition("\n```")[0]
    number, name = run(bare_python, "-c", script, cwd=bundle).split()
    assert (int(number), name) in enumerate(
        ["left", "right", "forward", "pickup", "drop", "toggle", "done"]
    )
