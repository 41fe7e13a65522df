"""The cluster as its users know it: start, submit, look, break, stop, go on."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from pathlib import Path

from clone import HOST_USER, Clone
from conftest import SUITE
from engine import Engine
from repository import copy_repository, own, wait_until

# The head offers 3 CPUs, the worker 2: two env runners that ask for 2 each run one on each.
SPREAD = (
    *("--set", "resources.num_env_runners=2"),
    *("--set", "algorithm.params.num_cpus_per_env_runner=2"),
)
SMOKE = ("--config", "tune_configs/smoke.yaml", *SPREAD)
LONG = (*SMOKE, "--set", "stop.env_steps=60000", "--set", "checkpoint.frequency=5")
TRY_TOKENS = Path(__file__).with_name("try_tokens.py")


def submit(cluster: Clone, name: str, *options: str) -> str:
    done = cluster.in_head(
        "python", "-m", "empo_rllib", "submit", "--set", f"name={name}", *options
    )
    return done.stdout.strip().splitlines()[-1]


def wait_for_rows(cluster: Clone, name: str, count: int) -> None:
    wait_until(lambda: len(cluster.rows(name)) > count, f"{count} iterations of {name}")


def test_bar_up_from_a_fresh_clone(clone: Clone, image: float, cluster: Clone) -> None:
    """`cluster` built the unmodified Dockerfile and typed `make up`; here it goes up once more."""
    cluster.type("make", "down")
    started = time.monotonic()
    cluster.compose("up", "--wait", "ray-head", "ray-worker")
    up = round(time.monotonic() - started, 1)
    nodes = cluster.in_head("ray", "list", "nodes", "--filter", "state=ALIVE").stdout
    assert nodes.count("ALIVE") >= 2
    measured = {"build_s": round(image), "up_s": up, "nodes": 2}
    SUITE.record("real Dockerfile, fresh clone, compose up --wait", "works", measured, True)


def test_a_plain_up_of_the_default_user_needs_nothing_else(
    engine: Engine, image: float, open_folder: Path
) -> None:
    """As on a fresh clone of user 1000: no .env, no results folder, no token, no variable set."""
    folder = open_folder / "plain"
    copy_repository(folder)
    own(folder, 1000)
    env = {"COMPOSE_PROJECT_NAME": "plain", "DASHBOARD_PORT": "18267"}
    compose = ["docker", "compose"]
    try:
        up = [*compose, "up", "--wait", "ray-head", "ray-worker"]
        engine.on_host(up, cwd=folder, env=env)
        shown = engine.on_host([*compose, "ps"], cwd=folder, env=env).stdout
        assert shown.count("(healthy)") == 2
        assert (folder / "results").stat().st_uid == 1000
        assert not (folder / ".env").exists()
    finally:
        engine.on_host([*compose, "down", "--volumes"], cwd=folder, env=env)


def test_a_machine_with_a_gpu_that_is_not_used_says_so(engine: Engine, image: float) -> None:
    # Any file stands for what NVIDIA's driver shows in /proc.
    settings = ("NVIDIA_DRIVER=/etc/hostname", "RAY_AUTH_TOKEN_PATH=/tmp/token")
    options = [f"--env={setting}" for setting in (*settings, "RESULTS_FOLDER=/tmp/results")]
    node = ("empo_rllib:latest", "cluster/containers/ray_node.sh", "head")
    name = engine.docker("run", "--detach", *options, *node).stdout.strip()
    try:
        logs = lambda: engine.docker("logs", name).stdout  # noqa: E731
        wait_until(lambda: "head: starting" in logs(), "the node's first lines")
        assert "this machine has a GPU, but the cluster runs on CPU. To use it type:" in logs()
    finally:
        engine.docker("rm", "--force", name)


def test_bar_submit_with_an_env_runner_on_each_container(cluster: Clone) -> None:
    done = cluster.in_head("python", "-m", "empo_rllib", "submit", *SMOKE, "--follow")
    trial = cluster.summary("smoke")["trials"][0]
    hosts = sorted(trial["env_runner_hosts"])
    worker = cluster.container("ray-worker")[:12]
    owners = {path.stat().st_uid for path in (cluster.folder / "results").rglob("*")}
    met = trial["status"] == "finished" and hosts == sorted([worker, "ray-head"])
    met = met and owners == {HOST_USER}
    measured = {"hosts": hosts, "owner": list(owners), "env_steps": trial["env_steps"]}
    SUITE.record("submit of smoke.yaml, one env runner on each container", "trained", measured, met)
    assert met, f"{measured}\n{done.stdout}\n{done.stderr}"
    assert "finished" in done.stdout


def test_submit_from_the_host_needs_the_token_and_nothing_else(cluster: Clone) -> None:
    command = [sys.executable, "-m", "empo_rllib", "jobs"]
    env = {"PYTHONPATH": str(cluster.folder), "HOME": str(cluster.folder.parent)}
    refused = cluster.engine.on_host(command, check=False, env=env, cwd=cluster.folder)
    assert refused.returncode == 2
    assert "--token-file" in refused.stderr
    assert "Traceback" not in refused.stderr
    token = cluster.folder.parent / "token"
    token.write_text(cluster.in_head("cat", "/run/empo_rllib/token").stdout)
    jobs = cluster.engine.on_host(
        [*command, "--token-file", str(token)], env=env, cwd=cluster.folder
    )
    assert "smoke" in jobs.stdout


def test_bar_refused_without_and_with_a_wrong_token(cluster: Clone) -> None:
    container = cluster.container("ray-head")
    script = TRY_TOKENS.read_text()
    done = cluster.engine.docker("exec", "-i", container, "python", "-", input=script)
    measured: dict[str, dict[str, str]] = {"none": {}, "wrong": {}, "right": {}}
    for token, way, outcome in (line.split(": ") for line in done.stdout.splitlines()):
        measured[token][way] = outcome
    ways = {"node join", "ray.init", "ray://", "job submission", "dashboard API"}
    for outcome in measured.values():
        assert outcome.keys() == ways, measured
    met = all(v == "refused" for k in ("none", "wrong") for v in measured[k].values())
    SUITE.record("without and with a wrong token", "each refused", measured, met)
    assert met, measured
    assert set(measured["right"].values()) == {"accepted"}, done.stderr


def test_bar_nothing_listens_outside_of_loopback_on_the_host(cluster: Clone) -> None:
    listening = cluster.engine.on_host(["ss", "--listening", "--tcp", "--numeric", "--no-header"])
    addresses = [line.split()[3] for line in listening.stdout.splitlines()]
    outside = [a for a in addresses if not a.startswith(("127.0.0.1:", "[::1]:"))]
    SUITE.record("listening on the host outside of 127.0.0.1", "nothing", outside, not outside)
    assert outside == []
    assert "127.0.0.1:8265" in addresses


def test_the_token_shows_nowhere(cluster: Clone) -> None:
    token = cluster.in_head("cat", "/run/empo_rllib/token").stdout.strip()
    assert re.fullmatch("[0-9a-f]{64}", token)
    assert cluster.in_head("stat", "--format=%a", "/run/empo_rllib/token").stdout.strip() == "600"
    shown = cluster.compose("logs").stdout
    for service in ("ray-head", "ray-worker"):
        container = cluster.container(service)
        shown += cluster.engine.docker("inspect", container).stdout
        shown += cluster.engine.docker("top", container, "-eo", "pid,args").stdout
    assert "ray start" in shown
    assert token not in shown
    kept = [
        p for p in cluster.folder.rglob("*") if p.is_file() and token.encode() in p.read_bytes()
    ]
    assert kept == []


def test_provenance_names_the_mounted_clone(cluster: Clone) -> None:
    text = (cluster.folder / "results" / "smoke" / "provenance.json").read_text()
    assert '"from": "mounted clone"' in text


def test_bar_a_killed_worker_comes_back_and_the_run_goes_on(cluster: Clone) -> None:
    name = "killed"
    job = submit(cluster, name, *LONG)
    wait_for_rows(cluster, name, 3)
    before = len(cluster.rows(name))
    container = cluster.container("ray-worker")
    os.kill(cluster.engine.main_process(container), signal.SIGKILL)
    noticed = lambda: cluster.health("ray-worker") != "running healthy"  # noqa: E731
    seconds = wait_until(noticed, "the crash to be noticed")
    seconds += wait_until(lambda: not noticed(), "the worker")
    followed = cluster.in_head("python", "-m", "empo_rllib", "logs", job, "--follow", check=False)
    trial = cluster.summary(name)["trials"][0]
    iterations = cluster.column(name, "training_iteration")
    complete = (
        trial["status"] == "finished"
        and trial["env_steps"] >= 60_000
        and iterations == [float(i + 1) for i in range(len(iterations))]
    )
    measured = {"back_after_s": round(seconds, 1), "rows_at_kill": before, "complete": complete}
    met = complete and seconds < 60
    SUITE.record("SIGKILL of the worker in mid-training", "goes on; back in 60 s", measured, met)
    assert complete, f"{measured} {trial}\n{followed.stdout[-3000:]}"
    assert "ray-head" in trial["env_runner_hosts"]


def test_bar_down_up_resume(cluster: Clone) -> None:
    name = "stopped"
    submit(cluster, name, *LONG)
    wait_for_rows(cluster, name, 6)
    cluster.compose("down")
    interrupted = cluster.summary(name)
    saved = interrupted["trials"][0]["checkpoint"]
    rows = cluster.rows(name)
    cluster.compose("up", "--detach", "--wait", "ray-head", "ray-worker")
    options = ("--set", f"name={name}", *LONG, "--resume", "--follow")
    cluster.in_head("python", "-m", "empo_rllib", "submit", *options)
    trial = cluster.summary(name)["trials"][0]
    steps = cluster.column(name, "env_steps")
    checkpoint = int(saved.rpartition("_")[2])
    measured = {
        "status_after_down": interrupted["status"],
        "rows_at_down": len(rows) - 1,
        "checkpoint": checkpoint,
        "env_steps": trial["env_steps"],
    }
    met = trial["status"] == "finished" and steps == sorted(set(steps)) and checkpoint > 0
    met = met and cluster.rows(name)[: checkpoint + 1] == rows[: checkpoint + 1]
    SUITE.record("down, up, --resume", "goes on from the last checkpoint", measured, met)
    assert met, measured
    assert interrupted["status"] == "interrupted"


def test_more_workers_join(cluster: Clone) -> None:
    try:
        cluster.compose("up", "--detach", "--wait", "--scale", "ray-worker=2", "ray-worker")
        nodes = cluster.in_head("ray", "list", "nodes", "--filter", "state=ALIVE", "--format=json")
        assert nodes.stdout.count('"ALIVE"') == 3
    finally:
        cluster.compose("up", "--detach", "--wait", "--scale", "ray-worker=1", "ray-worker")


def test_workers_claim_no_gpu_and_the_head_all_of_them(engine: Engine, cluster: Clone) -> None:
    """A device reservation reaches the engine; a stand-in for NVIDIA's hook lets it through."""
    files = {"COMPOSE_FILE": "docker-compose.yml:docker-compose.gpu.yml"}
    env = {**files, "COMPOSE_PROJECT_NAME": "gpu", "DASHBOARD_PORT": "18265"}
    try:
        cluster.compose("up", "--detach", "--wait", "ray-head", "ray-worker", env=env)
        asked = {}
        for service in ("ray-head", "ray-worker"):
            name = cluster.compose("ps", "--quiet", service, env=env).stdout.strip()
            shown = engine.docker(
                "inspect", "--format", "{{json .HostConfig.DeviceRequests}}", name
            )
            asked[service] = shown.stdout.strip()
        assert '"Driver":"nvidia","Count":-1' in asked["ray-head"]
        assert asked["ray-worker"] == "null"
    finally:
        cluster.compose("down", "--volumes", env=env)
