"""Requests that could never be met, nodes that are waited for, and the quiet of Ray."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from empo_rllib.errors import ResourceError
from empo_rllib.experiment import cluster, temporary_folder
from empo_rllib.experiment.cluster import (
    Cluster,
    check_resources,
    local_cluster,
    local_resources,
    running_cluster,
)

MACHINE = {"CPU": 2.0, "GPU": 0.0}


@pytest.mark.parametrize("needed", [{"CPU": 2}, {"CPU": 1, "GPU": 0}, {"CPU": 0.5}, {}])
def test_what_there_is_may_be_asked_for(needed):
    check_resources(needed, MACHINE, "this machine")


@pytest.mark.parametrize(
    ("needed", "message"),
    [
        (
            {"CPU": 5.0},
            "resources: one trial needs 5 CPU, this machine has 2. "
            "Lower resources.num_env_runners or resources.num_learners.",
        ),
        (
            {"CPU": 1, "GPU": 0.5},
            "resources: one trial needs 0.5 GPU, this machine has 0. Set "
            "resources.num_gpus_per_learner to 0 or auto, or use a machine with a GPU.",
        ),
        ({"TPU": 1}, "resources: one trial needs 1 TPU, this machine has 0."),
    ],
)
def test_more_than_there_is_is_refused_with_both_numbers_and_the_fix(needed, message):
    with pytest.raises(ResourceError) as raised:
        check_resources(needed, MACHINE, "this machine")
    assert str(raised.value) == message
    assert raised.value.exit_code == 2


def test_the_machine_has_the_cpus_that_this_process_may_use():
    resources = local_resources()
    assert resources["CPU"] == len(os.sched_getaffinity(0))
    assert resources["GPU"] >= 0


def test_a_local_cluster_has_its_token_in_its_own_folder(tmp_path):
    assert Cluster("this machine", MACHINE, 1, None, tmp_path).token_file.parent == tmp_path
    assert Cluster("the cluster", MACHINE, 1, None, None).token_file is None


@pytest.fixture
def ray(monkeypatch):
    """A stand-in for Ray: `joined` are its nodes, `calls` what was asked of it."""
    module = SimpleNamespace(joined=[], calls=[])
    module.nodes = lambda: module.joined
    module.cluster_resources = lambda: {"CPU": 4.0 * len(module.joined)}
    module.shutdown = lambda: module.calls.append("shutdown")

    def init(**options):
        module.calls.append(options["address"])
        return SimpleNamespace(dashboard_url=None)

    module.init = init
    monkeypatch.setitem(sys.modules, "ray", module)
    monkeypatch.setattr(cluster, "reread_ray_authentication", lambda: None)
    monkeypatch.setattr(cluster, "_check_answers", lambda address: None)
    return module


def node(name, alive=True):
    return {"NodeManagerHostname": name, "Alive": alive}


def test_it_trains_when_all_nodes_have_joined(ray):
    ray.joined = [node("node3"), node("node4")]
    later = threading.Timer(0.3, ray.joined.append, [node("node5")])
    later.start()
    with running_cluster("10.0.0.1:6379", 3, nodes_timeout_s=30) as joined:
        assert (joined.num_nodes, joined.resources) == (3, {"CPU": 12.0})
        assert ray.calls == ["10.0.0.1:6379"]
    assert ray.calls == ["10.0.0.1:6379", "shutdown"]
    later.join()


def test_nodes_that_do_not_join_are_told_with_the_cure(ray):
    ray.joined = [node("node3"), node("node4", alive=False)]
    with (
        pytest.raises(ResourceError, match=r"1 of 2 nodes have joined .* node3") as caught,
        running_cluster("10.0.0.1:6379", 2, nodes_timeout_s=0),
    ):
        pass
    assert ray.calls[-1] == "shutdown"
    assert "port 6379 of 10.0.0.1: name the network with EMPO_RLLIB_INTERFACE" in str(caught.value)


def test_a_local_cluster_that_does_not_start_is_an_error_and_leaves_nothing(
    ray, monkeypatch, tmp_path
):
    def init(**options):
        (Path(options["_temp_dir"])).mkdir()
        raise RuntimeError("The current node timed out during startup.")

    ray.init = init
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(temporary_folder, "short_temp_folder", lambda: str(tmp_path))
    with (
        pytest.raises(ResourceError, match="timed out during startup") as raised,
        local_cluster(MACHINE),
    ):
        pass
    assert f"the disk of {tmp_path} full?" in str(raised.value)
    assert list(tmp_path.iterdir()) == []
    assert tempfile.tempdir == str(tmp_path)


def test_a_local_cluster_has_a_folder_that_is_closed_to_others(ray, monkeypatch, tmp_path):
    monkeypatch.setattr(temporary_folder, "short_temp_folder", lambda: str(tmp_path))
    ray.init = lambda **options: SimpleNamespace(dashboard_url=None, **options)
    with local_cluster(MACHINE) as started:
        assert started.folder.stat().st_mode & 0o777 == 0o700
        assert started.token_file.stat().st_mode & 0o777 == 0o600
        assert os.environ["TMPDIR"] == tempfile.gettempdir() == str(started.folder)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("fails", [False, True])
def test_rays_processes_ignore_a_hang_up_and_this_one_does_not(ray, fails):
    handlers = []

    def init(**options):
        handlers.append(signal.getsignal(signal.SIGHUP))
        if fails:
            raise RuntimeError
        return SimpleNamespace(dashboard_url=None)

    ray.init = init
    before = signal.getsignal(signal.SIGHUP)
    with contextlib.suppress(ResourceError), local_cluster(MACHINE):
        pass
    assert handlers == [signal.SIG_IGN]
    assert signal.getsignal(signal.SIGHUP) == before


# `ray.init` does not return without its GCS, and ends its process after a minute.
WITHOUT_GCS = """
import shutil
import subprocess
import sys
import threading
import ray
from empo_rllib.experiment import cluster

cluster._GCS_GRACE_S = 0.1
program = shutil.copy(shutil.which("true"), sys.argv[1])


def init(**settings):
    gcs = subprocess.Popen([program])
    threading.Event().wait()


ray.init = init
with cluster.local_cluster({"CPU": 1, "GPU": 0}):
    pass
"""


def test_a_gcs_that_dies_while_ray_starts_is_an_error_and_nothing_stays(tmp_path):
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_GCS, str(tmp_path / "gcs_server")],
        env=env,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == ResourceError.exit_code, done.stderr
    assert done.stderr.startswith("error: Ray cannot be started on this machine: its gcs_server")
    assert done.stderr.count("\n") == 1
    deadline = time.monotonic() + 60
    while (left := list(tmp_path.glob("empo-*"))) and time.monotonic() < deadline:
        time.sleep(0.1)  # the watcher removes it
    assert not left
