"""Other people's environments, each package in a folder of its own, through the real commands.

`make test-third-party` runs it: it downloads packages, and takes about a minute for each.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from commands import ROOT, Workplace
from packages import PACKAGES, REFUSED, Package
from processes import end_processes_of

ENV_STEPS = 2000


@contextmanager
def workplace(package: Package, folder: Path) -> Iterator[Workplace]:
    """A folder with the package installed in it."""
    installed = folder / "installed"
    if package.install:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
        subprocess.run([*pip, "--target", str(installed), *package.install], check=True)
    temp = Path(tempfile.mkdtemp(prefix="tp-", dir="/tmp"))
    place = Workplace(folder, temp)
    place.env |= {
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(installed), str(folder)]),
        "SDL_VIDEODRIVER": "dummy",
    }
    (folder / "own.py").write_text(package.code)
    (folder / "experiment.yaml").write_text(
        yaml.safe_dump(
            {
                "name": "run",
                "env": package.env,
                "policies": package.policies,
                "algorithm": {
                    "name": "PPO",
                    "params": {
                        "train_batch_size_per_learner": 1000,
                        "minibatch_size": 250,
                        "num_epochs": 1,
                    },
                },
                "resources": {"num_envs_per_env_runner": 2},
                "stop": {"env_steps": ENV_STEPS},
            }
        )
    )
    yield place
    end_processes_of(temp)


@pytest.mark.parametrize("name", PACKAGES)
def test_it_is_trained_evaluated_filmed_and_exported(name: str, tmp_path: Path) -> None:
    package = PACKAGES[name]
    with workplace(package, tmp_path) as place:
        place.tune("--config", "experiment.yaml").check()
        assert int(place.run("run").trial().rows()[-1]["env_steps"]) >= ENV_STEPS
        place.shell("evaluate", "results/run", "--episodes", 2).check()
        place.shell("export", "results/run", "--out", "bundle").check()
        if package.films:
            place.shell("record", "results/run", "--episodes", 1, "--out", "film.gif").check()
            assert (tmp_path / "film.gif").stat().st_size > 1000


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_work_says_why(name: str, tmp_path: Path) -> None:
    package, reason = REFUSED[name]
    with workplace(package, tmp_path) as place:
        told = place.tune("--config", "experiment.yaml").check(2)
        assert reason in told.stderr
        assert "Traceback" not in told.output
