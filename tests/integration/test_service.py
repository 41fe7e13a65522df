"""Experiments as jobs of a real Ray cluster with a token, through the real commands.

The cluster's workspace is not the folder that the commands are typed in, as with containers.
"""

from __future__ import annotations

import json
import math
import re
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from commands import PYTHON, Outcome, Run, Running, Workplace
from ports import free_port
from ray_head import Head, ray_head

pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's client warns about its own parts

# `hold` is a file: while it exists, no step returns.
ENV = """
import time
from pathlib import Path

from empo_rllib import make_env


def make(num_agents=2, hold="", broken=False):
    env = make_env("MultiGrid-Empty-5x5-v0", num_agents, max_steps=20)
    step = env.step

    def wait_and_step(actions):
        if broken:
            raise RuntimeError("the floor is wet")
        while hold and Path(hold).exists():
            time.sleep(0.05)
        return step(actions)

    env.step = wait_and_step
    return env
"""
# Ray's own patience with a job that it has told to stop; a run may need more.
RAY_STOP_S = 3


@dataclass(frozen=True)
class Cluster:
    """A running cluster and the folder that commands are typed in."""

    place: Workplace
    head: Head
    workspace: Path

    @property
    def env(self) -> dict[str, str]:
        """Where the cluster is, and its token."""
        return {"RAY_API_SERVER_ADDRESS": self.head.dashboard_url, **self.head.env}

    def start(self, *args: object) -> Running:
        """Starts `python -m empo_rllib` with these arguments in a process of its own."""
        command = [PYTHON, "-m", "empo_rllib", *map(str, args)]
        return Running(command, self.place.folder, {**self.place.env, **self.env})

    def type(self, *args: object) -> Outcome:
        """Runs `python -m empo_rllib` with these arguments in this process."""
        return self.place.type(*args, env=self.env)

    def write(self, name: str, **kwargs: object) -> Path:
        """Writes an experiment on the user's own environment."""
        return self.place.write_experiment(
            name=name,
            env={"id": "own_envs:make", "kwargs": {"max_steps": None, **kwargs}},
            tune={"max_failures": 0},
            checkpoint={"frequency": 1000, "grace_s": 120},
        )

    def run(self, name: str) -> Run:
        return Run(self.workspace / "results" / name)

    def jobs(self) -> dict[str, dict]:
        """Returns what `jobs --json` says, by experiment, the newest job of each."""
        listed = json.loads(self.type("jobs", "--json").check().stdout)
        return {job["experiment"]: job for job in listed}


@pytest.fixture(scope="module")
def cluster(place: Workplace) -> Iterator[Cluster]:
    workspace = place.folder / "cluster"
    workspace.mkdir()
    place.write("own_envs.py", ENV)
    (place.folder / "results").mkdir()
    (place.folder / "results" / "large.bin").write_bytes(bytes(20_000_000))
    with ray_head(place, num_cpus=2, env={"EMPO_RLLIB_WORKSPACE": str(workspace)}) as head:
        yield Cluster(place, head, workspace)


def check_one_line(outcome: Outcome, *parts: str) -> None:
    outcome.check(2)
    assert outcome.stdout == ""
    assert outcome.stderr.startswith("error: ")
    assert len(outcome.stderr.splitlines()) == 1, outcome.stderr
    for part in parts:
        assert part in outcome.stderr


# A run that finishes.


@pytest.fixture(scope="module")
def submitted(cluster: Cluster) -> Outcome:
    submitting = cluster.start("submit", "--config", cluster.write("tiny"), "--set", "seed=3")
    return submitting.wait().check()


@pytest.fixture(scope="module")
def followed(cluster: Cluster, submitted: Outcome) -> Outcome:
    return cluster.start("logs", submitted.stdout.strip(), "--follow").wait().check()


def test_submit_prints_the_id_and_nothing_else(submitted):
    assert re.fullmatch(r"tiny-[0-9a-f]{6}\n", submitted.stdout)
    job_id = submitted.stdout.strip()
    assert submitted.stderr.splitlines() == [
        f"follow  python -m empo_rllib logs {job_id} --follow",
        f"stop    python -m empo_rllib stop {job_id}",
    ]


def test_a_job_trains_with_the_users_module_and_overrides(followed, cluster):
    summary = cluster.run("tiny").summary
    assert summary["status"] == "finished"
    assert summary["trials"][0]["seed"] == 3
    assert cluster.run("tiny").trial().column("env_steps")[-1] >= 400


def test_following_shows_the_log_and_how_it_ended(followed, submitted):
    assert "tiny: PPO on own_envs:make, 1 trial, results in" in followed.stdout
    assert "status       finished" in followed.stdout
    assert followed.stdout.endswith("\nexit code 0\n")
    assert followed.stderr == f"{submitted.stdout.strip()}: finished, exit code 0\n"


def test_logs_are_still_there_afterwards(followed, submitted, cluster):
    again = cluster.type("logs", submitted.stdout.strip()).check()
    assert (again.stdout, again.stderr) == (followed.stdout, followed.stderr)


def test_the_upload_holds_only_what_the_experiment_names(followed, cluster):
    packages = cluster.place.temp.glob(
        "ray/session_latest/runtime_resources/working_dir_files/_ray_pkg_*/"
    )
    uploads = [
        [path for path in package.rglob("*") if path.is_file() and path.suffix != ".pyc"]
        for package in packages
    ]
    assert uploads
    for files in uploads:
        assert {path.name for path in files} == {"experiment.yaml", "own_envs.py"}
        assert sum(path.stat().st_size for path in files) < 10_000


def test_jobs_is_a_table_of_them(followed, submitted, cluster):
    title, *rows = cluster.type("jobs").check().stdout.splitlines()
    assert title.split() == ["job", "status", "exit", "code", "started", "duration"]
    assert [submitted.stdout.strip(), "finished", "0"] in [row.split()[:3] for row in rows]


def test_a_job_that_is_over_cannot_be_stopped_any_more(followed, submitted, cluster):
    outcome = cluster.type("stop", submitted.stdout.strip()).check()
    assert outcome.stdout == f"{submitted.stdout.strip()}: finished, exit code 0\n"


# A run that is followed, left, held up, stopped and resumed.


@dataclass(frozen=True)
class Held:
    """What was seen of it."""

    job_id: str
    detached: Outcome
    running: dict
    metrics: dict[str, float]
    row: dict[str, str]
    stopped: Outcome
    interrupted: dict
    iterations: list[int]
    counters: dict[str, float]


@pytest.fixture(scope="module")
def held(cluster: Cluster) -> Held:
    run, hold = cluster.run("held"), cluster.place.folder / "hold"
    config = cluster.write("held", hold=str(hold))
    args = ("submit", "--config", config, "--set", "stop.env_steps=1000000")
    following = cluster.start(*args, "--follow")
    following.wait_until(lambda: run.trial().num_rows() > 2, "it trained")
    following.ctrl_c()
    detached = following.wait()
    running = cluster.jobs()["held"]

    hold.touch()
    try:
        metrics, row = wait_for_metrics(cluster.head, run)
        stopping = cluster.start("stop", running["id"])
        logs = ("logs", running["id"])
        stopping.wait_until(
            lambda: "saving every running trial" in cluster.type(*logs).stdout, "it was told"
        )
        time.sleep(RAY_STOP_S + 2)
    finally:
        hold.unlink()
    stopped = stopping.wait()
    return Held(
        job_id=running["id"],
        detached=detached,
        running=running,
        metrics=metrics,
        row=row,
        stopped=stopped,
        interrupted=cluster.jobs()["held"],
        iterations=run.trial().iterations(),
        counters=run.trial().counters(),
    )


@pytest.fixture(scope="module")
def resumed(cluster: Cluster, held: Held) -> Outcome:
    command = held.interrupted["command"].removeprefix("python -m empo_rllib ").split()
    steps = int(held.counters["env_steps"]) + 300
    return cluster.type(*command, "--resume", "--set", f"stop.env_steps={steps}", "--follow")


def wait_for_metrics(head: Head, run: Run) -> tuple[dict[str, float], dict[str, str]]:
    """Scrapes the node until it has the steps of the newest row; returns our metrics, and that.

    The run is held up, which lets the iteration under way write one row more.
    """
    deadline = time.monotonic() + 600
    while True:
        with urllib.request.urlopen(head.metrics_url, timeout=120) as answer:
            metrics = parse_metrics(answer.read().decode(), "held")
        row = run.trial().rows()[-1]
        if metrics.get("ray_empo_env_steps_total") == float(row["env_steps"]):
            return metrics, row
        assert time.monotonic() < deadline, (metrics, row)
        time.sleep(0.5)


def parse_metrics(text: str, experiment: str) -> dict[str, float]:
    """Returns metric, and policy if it has one, to value."""
    found = {}
    for name, tags, value in re.findall(r"^(ray_empo_\w+)\{(.*)\} (\S+)$", text, re.MULTILINE):
        if f'experiment="{experiment}"' in tags and 'trial="trial_00000"' in tags:
            policy = re.search(r'policy="(\w+)"', tags)
            found[f"{name}/{policy[1]}" if policy else name] = float(value)
    return found


def test_ctrl_c_ends_only_the_following(held):
    assert held.detached.code == 130
    assert "no longer following; the run goes on" in held.detached.stderr
    assert f"python -m empo_rllib logs {held.job_id} --follow" in held.detached.stderr
    assert f"python -m empo_rllib stop {held.job_id}" in held.detached.stderr
    assert "Traceback" not in held.detached.output
    assert held.running["status"] == "running"
    assert held.running["exit_code"] is None


def test_the_metrics_of_the_node_are_those_of_the_last_row(held):
    columns = {
        "ray_empo_env_steps_total": "env_steps",
        "ray_empo_env_steps_per_s": "env_steps_per_s",
        "ray_empo_episode_return_mean": "episode_return_mean",
        "ray_empo_success_rate": "success_rate",
        "ray_empo_episode_length_mean": "episode_length_mean",
        "ray_empo_policy_return_mean/agent_0": "policy_return_mean/agent_0",
        "ray_empo_policy_return_mean/agent_1": "policy_return_mean/agent_1",
        "ray_empo_policy_entropy/agent_0": "learner/agent_0/entropy",
        "ray_empo_policy_entropy/agent_1": "learner/agent_1/entropy",
        "ray_empo_sample_s": "time/sample_s",
        "ray_empo_learn_s": "time/learn_s",
    }
    assert held.metrics.keys() == columns.keys()
    for name, column in columns.items():
        assert math.isclose(held.metrics[name], float(held.row[column])), name


def test_stop_waits_until_the_run_has_saved_and_says_how_to_go_on(held, cluster):
    assert held.stopped.code == 0
    command = f"python -m empo_rllib submit --config {cluster.place.folder / 'held.yaml'}"
    assert held.stopped.stdout == (
        f"{held.job_id}: interrupted, exit code 75. To go on: {command} "
        "--set stop.env_steps=1000000 --resume\n"
    )
    assert held.iterations[-1] == held.counters["training_iteration"]


def test_the_exit_code_of_a_stopped_run_is_told_although_ray_forgets_it(held, cluster):
    assert (held.interrupted["status"], held.interrupted["exit_code"]) == ("interrupted", 75)
    assert cluster.type("logs", held.job_id, "--follow").code == 75


def test_a_stopped_run_goes_on_with_what_stop_said(held, resumed, cluster):
    resumed.check()
    iterations = cluster.run("held").trial().column("training_iteration")
    assert iterations == list(range(1, len(iterations) + 1))
    assert len(iterations) > held.iterations[-1]
    assert cluster.run("held").summary["status"] == "finished"


# Runs that fail and mistakes.


def test_a_failed_trial_is_exit_code_1_with_its_traceback(cluster):
    outcome = cluster.type("submit", "--config", cluster.write("broken", broken=True), "--follow")
    outcome.check(1)
    assert "RuntimeError: the floor is wet" in outcome.stdout
    assert ": failed, exit code 1" in outcome.stderr
    job = cluster.jobs()["broken"]
    assert (job["status"], job["exit_code"]) == ("failed", 1)


def test_a_cluster_that_is_too_small_is_exit_code_2_and_one_line(cluster):
    config = cluster.write("wide")
    outcome = cluster.type(
        *("submit", "--config", config, "--set", "resources.num_env_runners=40", "--follow")
    )
    outcome.check(2)
    (line,) = [line for line in outcome.stdout.splitlines() if line.startswith("error: ")]
    assert "one trial needs 41 CPU, the cluster has 2. Lower resources.num_env_runners" in line
    assert "Traceback" not in outcome.output
    assert cluster.jobs()["wide"]["status"] == "refused"


def test_a_mistake_in_the_file_is_told_before_anything_is_sent(cluster):
    known = cluster.jobs()
    outcome = cluster.type("submit", "--config", cluster.write("tiny"), "--set", "sed=3")
    check_one_line(outcome, "sed = 3", "Did you mean 'seed'?")
    assert cluster.jobs() == known


@pytest.mark.parametrize("args", [("logs",), ("logs", "--follow"), ("stop",)], ids=" ".join)
def test_an_unknown_id_is_told_with_the_nearest(args, followed, submitted, cluster):
    job_id = submitted.stdout.strip()
    outcome = cluster.type(args[0], f"{job_id}0", *args[1:])
    check_one_line(outcome, "no such job", f"Did you mean {job_id!r}?", "empo_rllib jobs")


def test_without_the_token_nothing_is_told(cluster):
    url = ("--address", cluster.head.dashboard_url)
    outcome = cluster.place.type("jobs", *url)
    check_one_line(outcome, "asks for a token", "--token-file", "make submit")


def test_with_a_wrong_token_nothing_is_submitted(cluster):
    wrong = cluster.place.write("wrong-token", "f" * 64)
    url = ("--address", cluster.head.dashboard_url)
    config = cluster.write("never")
    outcome = cluster.place.type("submit", "--config", config, *url, "--token-file", wrong)
    check_one_line(outcome, f"refuses the token in {wrong}", "--token-file")
    assert "never" not in cluster.jobs()


def test_the_token_file_is_all_that_is_needed(followed, cluster):
    args = ("--address", cluster.head.dashboard_url, "--token-file", cluster.head.token_file)
    outcome = cluster.place.type("jobs", *args).check()
    assert "tiny" in outcome.stdout


def test_a_cluster_that_is_not_there_is_told(cluster):
    outcome = cluster.type("jobs", "--address", f"http://127.0.0.1:{free_port()}")
    check_one_line(outcome, "no Ray cluster answers: Connection refused", "--address")


def test_a_port_that_is_no_dashboard_is_told(cluster):
    outcome = cluster.type("jobs", "--address", f"http://{cluster.head.address}")
    check_one_line(outcome, "no Ray dashboard", "--address")
