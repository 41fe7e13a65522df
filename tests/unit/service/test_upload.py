"""What goes with a job: the experiment and the modules that it names, and nothing else."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from empo_rllib.config.load import load_config, validate_config
from empo_rllib.errors import ConfigError
from empo_rllib.service import upload
from empo_rllib.service.upload import EXPERIMENT_FILE, find_user_modules, pack_upload, render_upload


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

    def pack(config, include=()) -> list[str]:
        pack_upload(config, target, [Path(path) for path in include])
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


# Links

MODELS = {"class": "my_models.nets:Wide"}


def test_links_within_a_package_are_followed(packed, here):
    (here / "my_models/copy.json").symlink_to("sizes.json")
    (here / "my_models/wide_nets").symlink_to("nets")
    assert packed(experiment(model=MODELS)) == [
        EXPERIMENT_FILE,
        "my_models/__init__.py",
        "my_models/copy.json",
        "my_models/nets/wide.py",
        "my_models/sizes.json",
        "my_models/wide_nets/wide.py",
    ]


def test_links_in_circles_end(packed, here):
    (here / "my_models/nets/all").symlink_to("..")
    (here / "my_models/self").symlink_to("self")
    assert "my_models/nets/wide.py" in packed(experiment(model=MODELS))


@pytest.mark.parametrize("target", ["/etc/passwd", "/etc", "../other.py", "../results"])
def test_a_link_out_of_the_package_is_refused_by_name(packed, here, target):
    (here / "my_models/nets/data").symlink_to(here / "my_models" / target)
    with pytest.raises(ConfigError, match=r"my_models/nets/data is a link to /.*my_models"):
        packed(experiment(model=MODELS))


def test_a_module_or_package_that_is_a_link_out_of_the_working_folder_is_refused(
    packed, here, tmp_path
):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/envs.py").touch()
    (here / "linked.py").symlink_to(tmp_path / "outside/envs.py")
    (here / "linked_package").symlink_to(tmp_path / "outside")
    for id in ("linked:make", "linked_package.envs:make"):
        with pytest.raises(ConfigError, match=r"is a link to .*outside of here"):
            packed(experiment(env={"id": id}))


# Secrets


@pytest.mark.parametrize(
    "name",
    [
        "id_rsa",
        "id_ed25519.pub",
        "credentials.json",
        "Server.PEM",
        "tls.key",
        "prod.env",
        "token",
        "secrets.yaml",
        "netrc",
        "secrets/prod.txt",
    ],
)
def test_a_file_that_looks_like_a_secret_is_refused_unless_it_is_named(packed, here, name):
    path = here / "my_models/nets" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("s3cret")
    with pytest.raises(ConfigError, match=f"my_models/nets/{name}: not uploaded.*--include"):
        packed(experiment(model=MODELS))
    included = packed(experiment(model=MODELS), include=[f"my_models/nets/{name}"])
    assert f"my_models/nets/{name}" in included


@pytest.mark.parametrize(
    "name", ["token.py", "tokens.json", "key.py", "env.py", "environment.yaml"]
)
def test_ordinary_names_are_no_secrets(packed, here, name):
    (here / "my_models" / name).touch()
    assert f"my_models/{name}" in packed(experiment(model=MODELS))


def test_hidden_files_stay_unless_they_are_named(packed, here):
    (here / "my_models/.env").touch()
    assert "my_models/.env" not in packed(experiment(model=MODELS))
    assert "my_models/.env" in packed(experiment(model=MODELS), include=["my_models/.env"])


def test_what_is_included_must_be_there(packed):
    with pytest.raises(ConfigError, match=r"size.json: it is in no .*'my_models/sizes.json'"):
        packed(experiment(model=MODELS), include=["my_models/size.json"])


def test_too_many_files_are_refused(packed, here, monkeypatch):
    monkeypatch.setattr(upload, "MAX_UPLOAD_FILES", 3)
    with pytest.raises(ConfigError, match="my_models holds more than 3 files"):
        packed(experiment(model=MODELS))


def test_the_list_is_what_is_packed(packed):
    config = experiment(model=MODELS)
    rows = [row.split() for row in render_upload(config).splitlines()]
    assert sorted(name for _, name in rows) == packed(config)
    sizes = {name: int(size.replace(",", "")) for size, name in rows}
    assert all((packed.folder / name).stat().st_size == size for name, size in sizes.items())
