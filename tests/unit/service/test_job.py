"""What a job does on the cluster before it trains, and what it leaves at the end of its log."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from empo_rllib.config.load import validate_config
from empo_rllib.errors import ConfigError
from empo_rllib.service.job import WORKSPACE, enter_workspace, main


def experiment(storage_path: str):
    return validate_config(
        {
            "name": "run",
            "storage_path": storage_path,
            "env": {"id": "MultiGrid-Empty-5x5-v0"},
            "algorithm": {"name": "PPO"},
        }
    )


@pytest.fixture(autouse=True)
def upload(tmp_path, monkeypatch) -> Path:
    """The job's own folder, which Ray removes."""
    monkeypatch.delenv(WORKSPACE, raising=False)
    folder = tmp_path / "upload"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def test_results_go_to_the_workspace_of_the_cluster(tmp_path, monkeypatch):
    monkeypatch.setenv(WORKSPACE, str(tmp_path))
    enter_workspace(experiment("results"))
    assert Path.cwd() == tmp_path


def test_results_that_would_be_lost_are_refused(upload):
    with pytest.raises(ConfigError, match=r"storage_path = 'results' is relative.*would be lost"):
        enter_workspace(experiment("results"))


@pytest.mark.parametrize("path", ["/shared/results", "~/results", "file:///shared/results"])
def test_a_cluster_without_a_workspace_takes_whole_paths(path, upload):
    enter_workspace(experiment(path))
    assert Path.cwd() == upload


def test_a_workspace_that_is_not_there_is_told(monkeypatch, tmp_path):
    monkeypatch.setenv(WORKSPACE, str(tmp_path / "none"))
    with pytest.raises(ConfigError, match=f"{WORKSPACE} = .*: No such file"):
        enter_workspace(experiment("results"))


def test_the_exit_code_stands_at_the_end_of_the_log(monkeypatch, capsys, upload):
    (upload / "experiment.yaml").write_text(experiment("results").to_yaml())
    monkeypatch.setattr(sys, "argv", ["job", "experiment.yaml", "--command", "typed"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    out, err = capsys.readouterr()
    assert out.endswith("exit code 2\n")
    assert err.startswith("error: storage_path")
