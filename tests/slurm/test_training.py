"""Jobs that train: on several nodes, side by side, with GPUs."""

from __future__ import annotations

from datetime import datetime

import pytest
from conftest import SUITE
from repository import wait_until
from researcher import IMAGE, SHARED, SMOKE, SPREAD, Job, Researcher, wait_for_nothing_left
from slurm import Slurm

pytestmark = pytest.mark.usefixtures("image")

# What a laptop trains too: two agents on Empty-8x8, until they get 1.9.
PPO = ("--config", "tune_configs/ppo.yaml")
# A stand-in that finds so many GPUs.
NVIDIA_SMI = """#!/bin/sh
[ "$1" = -L ] || exit 1
seq {count} | sed 's/.*/GPU &: stand-in/'
"""


@pytest.fixture(scope="module")
def trained(slurm: Slurm, ada: Researcher) -> Job:
    """A job that trained the main job of the README with an env runner on each of two nodes."""
    job = ada.sbatch("--nodes=2", "--", *PPO, *SPREAD, "--set", "name=nodes").check()
    wait_for_nothing_left(slurm, list(slurm.nodes))
    return job


def started(job: Job) -> float:
    return datetime.fromisoformat(job.facts()["StartTime"]).astimezone().timestamp()


def test_bar_two_nodes_train_as_one_machine(ada: Researcher, trained: Job, image: float) -> None:
    """The same experiment on the login node, as on a laptop, with the same image."""
    cache = f"{SHARED}/cache"
    in_image = ["apptainer", "--silent", "exec", "--bind", cache, IMAGE]
    tune = ["env", f"NUMBA_CACHE_DIR={cache}/numba", "python", "-m", "empo_rllib.tune", *PPO]
    ada.type(*in_image, *tune, "--set", "name=local")
    trial, local = (ada.summary(name)["trials"][0] for name in ("nodes", "local"))
    hosts = sorted(trial["env_runner_hosts"])
    returns = {"slurm": trial["episode_return_mean"], "local": local["episode_return_mean"]}
    measured = {"hosts": hosts, "returns": returns, "image_s": round(image)}
    met = hosts == ["node1", "node2"] and min(returns.values()) >= 1.9
    asked = "env runners on both, 1.9 as in a local run"
    SUITE.record("2-node job in the built image", asked, measured, met)
    assert met, measured


def test_bar_start_to_first_iteration(ada: Researcher, trained: Job) -> None:
    seconds = round(ada.column("nodes", "timestamp")[0] - started(trained), 1)
    SUITE.record("job start to first iteration, 2 nodes", "under 40 s", seconds, seconds < 40)
    assert seconds > 0


def test_provenance_names_the_job_and_the_clone(ada: Researcher, trained: Job) -> None:
    (session,) = ada.sessions("nodes")
    assert session["slurm"] == {"job_id": trained.number, "restarts": 0, "nodes": "node[1-2]"}
    assert session["code"]["from"] == "mounted clone"
    assert session["hardware"]["cluster_nodes"] == 2
    resources = session["hardware"]["cluster_resources"]
    # Of each node 4 CPUs and 8 GB, three tenths of it for the object store.
    assert resources["CPU"] == 8
    assert resources["memory"] == pytest.approx(2 * 0.7 * 8192 * 1e6, rel=0.01)


def test_a_finished_run_is_not_started_again(ada: Researcher, trained: Job) -> None:
    before = ada.rows("nodes")
    ada.type("scontrol", "requeue", trained.number)
    wait_until(lambda: "SLURM started this job again (1)" in trained.log, "the job's restart")
    trained.check()
    assert ada.rows("nodes") == before
    assert trained.log.count("status       finished") == 2


def with_gpus(slurm: Slurm, count: int) -> dict[str, str]:
    """Puts a stand-in for nvidia-smi on the PATH, where Apptainer's --nv looks for it."""
    folder = slurm.home / "shared" / f"gpus{count}"
    folder.mkdir()
    (folder / "nvidia-smi").write_text(NVIDIA_SMI.format(count=count))
    (folder / "nvidia-smi").chmod(0o755)
    return {"PATH": f"{SHARED}/{folder.name}:{slurm.env['PATH']}"}


@pytest.fixture(scope="module")
def three(slurm: Slurm, ada: Researcher, ben: Researcher) -> dict[str, Researcher]:
    """Who has run which of three jobs, each on both nodes and all at once.

    The second has GPUs. SLURM's GPUs here are pretended ones: nothing is trained on them.
    """
    on_cpu = ("--set", "resources.num_gpus_per_learner=0")
    first, third = (
        user.sbatch("--nodes=2", "--", *SMOKE, *SPREAD, "--set", f"name={name}")
        for user, name in ((ada, "first"), (ben, "third"))
    )
    options = ("--nodes=2", "--gpus-per-node=2", "--", *SMOKE, *SPREAD, *on_cpu)
    env = {**with_gpus(slurm, 2), "EMPO_RLLIB_INTERFACE": "eth0"}
    jobs = [first, ada.sbatch(*options, "--set", "name=second", env=env), third]
    wait_until(lambda: all(job.state == "RUNNING" for job in jobs), "all three to run")
    for job in jobs:
        job.check()
    wait_for_nothing_left(slurm, list(slurm.nodes))
    return {"first": ada, "second": ada, "third": ben}


def test_bar_three_jobs_at_once(three: dict[str, Researcher]) -> None:
    nodes, hosts = {}, {}
    for name, user in three.items():
        nodes[name] = user.sessions(name)[0]["hardware"]["cluster_nodes"]
        hosts[name] = sorted(user.summary(name)["trials"][0]["env_runner_hosts"])
    measured = {"cluster_nodes": nodes, "env_runner_hosts": hosts}
    apart = set(nodes.values()) == {2} and all(h == ["node1", "node2"] for h in hosts.values())
    SUITE.record("3 jobs at once on 2 nodes, of 2 users", "all finish, apart", measured, apart)
    assert apart, measured


def test_gpus_of_the_allocation_are_offered_to_ray(three: dict[str, Researcher]) -> None:
    offered = {
        name: user.sessions(name)[0]["hardware"]["cluster_resources"].get("GPU", 0)
        for name, user in three.items()
    }
    assert offered == {"first": 0, "second": 4, "third": 0}


def test_a_gpu_that_the_container_does_not_see_is_found_on_its_node(
    slurm: Slurm, ada: Researcher
) -> None:
    env = with_gpus(slurm, 1)
    job = ada.sbatch("--nodes=2", "--gpus-per-node=2", "--", *SMOKE, env=env).check(2)
    for node in slurm.nodes:
        assert f"{node}: error: the job has 2 GPUs here and the container sees 1" in job.log
