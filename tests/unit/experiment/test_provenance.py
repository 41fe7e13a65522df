"""`provenance.json` says what made a run, and no secret."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys

import pytest

from empo_rllib.experiment import provenance
from empo_rllib.experiment.provenance import PROVENANCE_FILE, describe_session, write_provenance

CLUSTER = {"CPU": 8.0, "GPU": 1.0, "memory": 1e9, "node:10.0.0.7": 1.0, "object_store_memory": 1.0}


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A clone with one commit, which the package seems to run from."""
    command = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    for arguments in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "first"]):
        subprocess.run([*command, *arguments], check=True)
    place = tmp_path / "empo_rllib" / "experiment" / "provenance.py"
    monkeypatch.setattr(provenance, "__file__", str(place))
    return tmp_path


def test_a_session_names_versions_command_and_hardware(monkeypatch):
    monkeypatch.setattr(sys, "orig_argv", ["/usr/bin/python3", "-m", "x", "--set", "name=a b"])
    session = describe_session(CLUSTER, num_nodes=2)
    assert session["command"].endswith(" -m x --set 'name=a b'")
    assert session["packages"]["ray"] == importlib.metadata.version("ray")
    assert {"torch", "multigrid", "gymnasium", "pettingzoo", "numpy"} < set(session["packages"])
    assert session["python"] == ".".join(map(str, sys.version_info[:3]))
    assert session["hardware"]["cluster_nodes"] == 2
    assert session["hardware"]["cluster_resources"] == {"CPU": 8.0, "GPU": 1.0, "memory": 1e9}


def test_no_secret_of_the_environment_is_kept(monkeypatch, tmp_path):
    for name in ("WANDB_API_KEY", "RAY_AUTH_TOKEN", "AWS_SECRET_ACCESS_KEY", "ANYTHING"):
        monkeypatch.setenv(name, "hunter2-secret")
    write_provenance(tmp_path, CLUSTER, 1)
    assert "hunter2-secret" not in (tmp_path / PROVENANCE_FILE).read_text()


def test_every_session_of_a_run_is_kept(tmp_path):
    write_provenance(tmp_path, {"CPU": 1.0}, 1)
    write_provenance(tmp_path, {"CPU": 2.0}, 1)
    sessions = json.loads((tmp_path / PROVENANCE_FILE).read_text())["sessions"]
    used = [session["hardware"]["cluster_resources"]["CPU"] for session in sessions]
    assert used == [1.0, 2.0]
    assert [path.name for path in tmp_path.iterdir()] == [PROVENANCE_FILE]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"sessions": 3}', b"\xff\x00"])
def test_a_damaged_file_is_set_aside_and_reported(tmp_path, caplog, content):
    path = tmp_path / PROVENANCE_FILE
    path.write_bytes(content)
    write_provenance(tmp_path, CLUSTER, 1)
    assert len(json.loads(path.read_text())["sessions"]) == 1
    assert (tmp_path / "damaged_provenance.json").read_bytes() == content
    (warning,) = caplog.messages
    assert warning.startswith(f"{path}: damaged")


def test_a_clone_is_named_with_its_commit_and_whether_it_was_changed(clone):
    head = ["git", "-C", str(clone), "rev-parse", "HEAD"]
    commit = subprocess.run(head, check=True, capture_output=True, text=True).stdout.strip()
    code = describe_session(CLUSTER, 1)["code"]
    assert code == {"folder": str(clone), "commit": commit, "uncommitted_changes": False}
    (clone / "new.py").write_text("")
    assert describe_session(CLUSTER, 1)["code"]["uncommitted_changes"] is True


def test_an_installation_without_git_has_no_commit(monkeypatch, tmp_path, clone):
    (clone / ".git").rename(clone / "not_git")
    assert describe_session(CLUSTER, 1)["code"] == {"folder": str(clone)}


def test_a_machine_without_git_has_no_commit(monkeypatch, clone):
    monkeypatch.setenv("PATH", str(clone / "nothing"))
    assert describe_session(CLUSTER, 1)["code"] == {"folder": str(clone)}


def test_outside_of_a_container_nothing_is_said_of_an_image(clone, monkeypatch):
    monkeypatch.delenv("EMPO_RLLIB_IMAGE", raising=False)
    monkeypatch.setenv("EMPO_RLLIB_WORKSPACE", "/shared")
    assert "from" not in describe_session(CLUSTER, 1)["code"]


def test_a_container_says_whether_its_image_or_a_mounted_clone_ran(clone, monkeypatch):
    monkeypatch.setenv("EMPO_RLLIB_IMAGE", "1")
    assert describe_session(CLUSTER, 1)["code"]["from"] == "mounted clone"
    (clone / provenance.IMAGE_MARKER).write_text("0123abc\n")
    code = describe_session(CLUSTER, 1)["code"]
    assert (code["from"], code["image_revision"]) == ("image", "0123abc")
