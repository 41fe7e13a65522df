"""What goes with a job: the experiment and the modules that it names, and nothing else."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from empo_rllib.config.load import load_config, validate_config
from empo_rllib.errors import ConfigError
from empo_rllib.service import upload
from empo_rllib.service.upload import EXPERIMENT_FILE, find_user_modules, pack_upload


def experiment(**sections):
    defaults = {
        "name": "run",
        "env": {"id": "MultiGrid-Empty-5x5-v0", "num_agents": 2},
        "algorithm": {"name": "PPO"},
    }
    return validate_config({**defaults, **sections})


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """The working folder of somebody with modules, data and results of their own."""
    folder = tmp_path / "here"
    for name in (
        "my_envs.py",
        "my_models/__init__.py",
        "my_models/nets/wide.py",
        "my_models/sizes.json",
        "my_models/__pycache__/wide.cpython-311.pyc",
        "my_models/.cache/old.py",
        "callbacks/told.py",
        "other.py",
        "results/run/summary.json",
        ".venv/lib/python3.11/site-packages/installed_envs/__init__.py",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"# {name}\n")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def packed(tmp_path, here):
    """Returns a function that packs an experiment and tells the files that are there then."""
    target = tmp_path / "upload"
    target.mkdir()

    def pack(config) -> list[str]:
        pack_upload(config, target)
        return sorted(str(p.relative_to(target)) for p in target.rglob("*") if p.is_file())

    pack.folder = target
    return pack


def test_an_experiment_that_names_no_module_goes_alone(packed):
    assert packed(experiment()) == [EXPERIMENT_FILE]


def test_the_experiment_that_arrives_is_the_one_that_was_checked(packed):
    config = experiment(seed={"grid_search": [1, 2]}, stop={"env_steps": 7})
    packed(config)
    assert load_config(packed.folder / EXPERIMENT_FILE) == config


def test_named_modules_go_whole_and_without_caches(packed):
    config = experiment(
        env={"id": "my_envs:make"},
        algorithm={"name": "PPO", "callbacks": ["callbacks.told:Told"]},
        model={"class": {"grid_search": ["my_models.nets.wide:Wide", "my_models.nets.low:Low"]}},
    )
    assert packed(config) == [
        "callbacks/told.py",
        EXPERIMENT_FILE,
        "my_envs.py",
        "my_models/__init__.py",
        "my_models/nets/wide.py",
        "my_models/sizes.json",
    ]
    assert (packed.folder / "my_envs.py").read_text() == "# my_envs.py\n"


@pytest.mark.parametrize(
    "id",
    ["pettingzoo.sisl.pursuit_v5", "sisl/pursuit-v5", "empo_rllib.envs:make", "nowhere:make"],
)
def test_what_the_cluster_has_or_nobody_has_stays(here, id):
    assert find_user_modules(experiment(env={"id": id})) == []


def test_installed_packages_stay_also_where_they_lie_below_the_working_folder(here, monkeypatch):
    config = experiment(env={"id": "installed_envs:make"})
    monkeypatch.syspath_prepend(here / ".venv/lib/python3.11/site-packages")
    assert find_user_modules(config) == []


def test_modules_of_a_source_layout_are_found(here, monkeypatch):
    source = here / "src" / "mazes" / "__init__.py"
    source.parent.mkdir(parents=True)
    source.touch()
    monkeypatch.syspath_prepend(here / "src")
    assert find_user_modules(experiment(env={"id": "mazes.big:make"})) == [source.parent]


def test_modules_outside_of_the_working_folder_stay(here, monkeypatch):
    monkeypatch.chdir(here / "results")
    monkeypatch.syspath_prepend(here)
    assert find_user_modules(experiment(env={"id": "my_envs:make"})) == []


def test_nothing_is_imported(packed):
    packed(experiment(env={"id": "my_envs:make"}))
    assert "my_envs" not in sys.modules


def test_an_upload_that_is_too_large_is_refused_by_its_largest_files(packed, here, monkeypatch):
    monkeypatch.setattr(upload, "MAX_UPLOAD_MB", 1)
    (here / "my_models/weights.bin").write_bytes(bytes(900_000))
    config = experiment(model={"class": "my_models.nets:Wide"})
    packed(config)  # just small enough
    (here / "my_models/nets/map.npy").write_bytes(bytes(200_000))
    with pytest.raises(ConfigError) as raised:
        packed(config)
    message = str(raised.value)
    assert "hold 1.1 MB; at most 1 MB go with a job" in message
    assert "The largest: my_models/weights.bin (0.9 MB), my_models/nets/map.npy (0.2 MB)" in message
