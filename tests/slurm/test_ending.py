"""How jobs end: out of time, cancelled, preempted, killed; and what they leave behind."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml
from conftest import SUITE
from repository import wait_until
from researcher import IMAGE, SMOKE, SPREAD, Job, Researcher, wait_for_nothing_left
from slurm import USERS, Slurm

HOME = Path("/home")

pytestmark = pytest.mark.usefixtures("image")


def kill(slurm: Slurm, node: str, pattern: str) -> None:
    """SIGKILLs the processes of a node whose command line matches."""
    listed = slurm.nodes[node].run(["ps", "-e", "--no-headers", "-o", "pid=,args="]).stdout
    found = [line.split()[0] for line in listed.splitlines() if re.search(pattern, line)]
    assert found, f"{pattern}: no such process on {node}:\n{listed}"
    slurm.nodes[node].run(["kill", "-KILL", *found], check=False)


def record_end(name: str, job: Job, seconds: float, expected: tuple[str, int]) -> None:
    end = (job.state, job.exit_code)
    measured = {"state": end[0], "exit_code": end[1], "nothing_left_after_s": round(seconds, 1)}
    met = end == expected and seconds < 60
    SUITE.record(name, f"{expected}, nothing left within 60 s", measured, met)
    assert met, f"{measured}\n{job.log}"


def write_experiment(ada: Researcher, name: str, time_s: float) -> str:
    """Writes an experiment that trains so long and logs to W&B; returns its file."""
    path = ada.folder / f"{name}.yaml"
    experiment = yaml.safe_load((ada.folder / "tune_configs/smoke.yaml").read_text())
    experiment |= {"name": name, "stop": {"time_s": time_s, "env_steps": None}}
    experiment["logging"] = {"wandb": {"project": "p", "mode": "online"}}
    part = path.with_suffix(".part")  # a job may be reading it
    part.write_text(yaml.safe_dump(experiment))
    os.chown(part, USERS["ada"], USERS["ada"])
    part.rename(path)
    return path.name


def let_it_finish(ada: Researcher, name: str) -> None:
    """Gives an endless run a little more to do when it goes on, as `--resume` allows.

    How much is trained until something strikes nobody knows.
    """
    write_experiment(ada, name, round(ada.column(name, "time_s")[-1]) + 3)


def strike(slurm: Slurm, ada: Researcher, job: Job, name: str) -> None:
    """Lets the job's time be over in a minute, and waits until SLURM has started it again."""
    restarts = job.restarts
    ada.wait_for_rows(job, name, len(ada.rows(name)) + 4)
    ada.type("scontrol", "update", f"JobId={job.number}", "EndTime=now+60")
    wait_until(lambda: job.restarts == restarts + 1, "the limit to strike")
    # That made the job's limit shorter, also for the next time.
    slurm.login.run(["scontrol", "update", f"JobId={job.number}", "TimeLimit=60"], slurm.env)


@pytest.mark.usefixtures("clean")
def test_bar_the_time_limit_strikes_twice(slurm: Slurm, ada: Researcher) -> None:
    """SLURM's own limit, moved up when there is something to lose; W&B logs offline."""
    experiment = write_experiment(ada, "strikes", time_s=3000)
    options = ("--nodes=2", "--time=60", "--signal=B:USR1@30")
    job = ada.sbatch(*options, "--", "--config", experiment, *SPREAD)
    for _ in range(2):
        strike(slurm, ada, job, "strikes")
    let_it_finish(ada, "strikes")
    job.check()
    trial = ada.summary("strikes")["trials"][0]
    folder = ada.folder / "results" / "strikes" / "trial_00000"
    runs = {path.name.rpartition("-")[2] for path in folder.glob("wandb/offline-run-*")}
    measured = {
        "requeued": job.restarts,
        "iterations": len(ada.rows("strikes")),
        "env_steps": trial["env_steps"],
        "wandb_runs": len(runs),
        "status": trial["status"],
    }
    met = job.restarts == 2 and ada.is_continuous("strikes") and len(runs) == 1
    met = met and trial["status"] == "finished"
    SUITE.record("the time limit strikes twice", "one curve, finished", measured, met)
    assert met, f"{measured}\n{job.log}"
    assert [session["slurm"]["restarts"] for session in ada.sessions("strikes")] == [0, 1, 2]


def test_requeues_are_bounded(slurm: Slurm, ada: Researcher) -> None:
    job = ada.start("bounded", "--signal=B:USR1@30", env={"EMPO_RLLIB_MAX_REQUEUES": "0"})
    ada.type("scancel", "--batch", "--signal=USR1", job.number)
    job.check(75)
    assert "not requeued: that was done 0 times (EMPO_RLLIB_MAX_REQUEUES)" in job.log
    assert ada.summary("bounded")["status"] == "interrupted"
    wait_for_nothing_left(slurm, list(slurm.nodes))


@pytest.fixture(scope="module")
def running(ada: Researcher) -> Iterator[Job]:
    """A job that trains through these tests, until `test_bar_scancel` cancels it."""
    job = ada.start("cancelled")
    yield job
    ada.type("scancel", job.number)


def head_folder(slurm: Slurm) -> str:
    return slurm.nodes["node1"].run(["bash", "-c", "echo /tmp/empo-*"]).stdout.strip()


def read_token(slurm: Slurm) -> str:
    return slurm.nodes["node1"].run(["cat", f"{head_folder(slurm)}/token"]).stdout.strip()


def test_the_token_is_private_and_shows_nowhere(slurm: Slurm, ada: Researcher, running: Job):
    token = read_token(slurm)
    assert re.fullmatch("[0-9a-f]{64}", token)
    shown = running.log + ada.type("scontrol", "show", "job", "-dd", running.number).stdout
    for host in slurm.nodes.values():
        modes = host.run(["bash", "-c", "stat -c '%a %U' /tmp/empo-* /tmp/empo-*/token"]).stdout
        assert modes.splitlines() == ["700 ada", "600 ada"]
        shown += host.run(["ps", "-e", "-o", "args="]).stdout
    assert "ray" in shown
    assert token not in shown
    # In nothing that SLURM keeps of the job, nor in the clone.
    kept = slurm.login.run(["grep", "-rlF", token, str(slurm.folder)], check=False)
    assert kept.stdout == ""


def test_bar_a_client_without_the_jobs_token_is_refused(slurm: Slurm, running: Job) -> None:
    """By `ray.init` and at the dashboard, on the node itself."""
    cluster = f"{head_folder(slurm)}/ray/ray_current_cluster"
    address = slurm.nodes["node1"].run(["cat", cluster]).stdout.strip()
    dashboard = re.search(r"127\.0\.0\.1:(\d+)", running.log)[0]
    clients = {
        "nobody's": ("ben", None),
        "none": ("ada", None),
        "wrong": ("ada", "f" * 64),
        "right": ("ada", read_token(slurm)),
    }
    refused = {"nobody's": "401", "none": "401", "wrong": "403"}
    with ThreadPoolExecutor() as pool:  # who is refused waits long for it
        joining = {name: pool.submit(join, slurm, address, *clients[name]) for name in refused}
    joined = {name: outcome.result() for name, outcome in joining.items()}
    # With the CPUs for itself: it must not take too long.
    joined["right"] = join(slurm, address, *clients["right"], timeout_s=300)
    measured = {
        name: (joined[name], ask_dashboard(slurm, dashboard, token))
        for name, (_, token) in clients.items()
    }
    met = all(measured[name] == ("refused", code) for name, code in refused.items())
    SUITE.record("a client without the job's token", "refused", measured, met)
    assert met, measured
    assert measured["right"] == ("accepted", "200"), "the attempts themselves fail"


def join(slurm: Slurm, address: str, user: str, token: str | None, timeout_s: int = 60) -> str:
    script = f"import ray; ray.init('{address}', log_to_driver=False); print(len(ray.nodes()))"
    settings = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token} if token else {}
    env = {**slurm.env, "HOME": f"/home/{user}", **settings}
    python = ["timeout", str(timeout_s), "python", "-c", script]
    command = ["apptainer", "--silent", "exec", IMAGE, *python]
    done = slurm.nodes["node1"].run(command, env, user=user, cwd=HOME / user, check=False)
    return "accepted" if done.returncode == 0 and done.stdout.strip() == "2" else "refused"


def ask_dashboard(slurm: Slurm, address: str, token: str | None) -> str:
    header = ["--header", f"Authorization: Bearer {token}"] if token else []
    url = f"http://{address}/api/jobs/"
    curl = ["curl", "--silent", "--output", "/dev/null", "--write-out", "%{http_code}", *header]
    return slurm.nodes["node1"].run([*curl, url]).stdout


def test_the_command_that_prints_the_token_works_for_the_jobs_user_only(
    slurm: Slurm, ada: Researcher, ben: Researcher, running: Job
) -> None:
    command = re.search(r"its token: (srun .*)", running.log)[1].split()
    assert ada.type(*command).stdout.strip() == read_token(slurm)
    assert ben.type(*command, check=False).returncode != 0


def test_a_killed_worker_comes_back_and_the_run_goes_on(
    slurm: Slurm, ada: Researcher, running: Job
) -> None:
    kill(slurm, "node2", r"/raylet ")
    again = "node2: starting Ray here again (2 of 3)"
    wait_until(lambda: again in running.log, f"'{again}'")
    ada.wait_for_rows(running, "cancelled", len(ada.rows("cancelled")) + 30)
    assert ada.is_continuous("cancelled")


def test_bar_scancel(slurm: Slurm, ada: Researcher, running: Job) -> None:
    ada.type("scancel", running.number)
    seconds = wait_for_nothing_left(slurm, list(slurm.nodes))
    running.wait()
    record_end("scancel", running, seconds, ("CANCELLED", 75))
    assert running.restarts == 0
    assert ada.summary("cancelled")["status"] == "interrupted"
    assert ada.is_continuous("cancelled")
    saved = ada.summary("cancelled")["trials"][0]["checkpoint"]
    assert saved == f"trial_00000/checkpoint_{len(ada.rows('cancelled')):06d}"


def test_bar_driver_crash(slurm: Slurm, ada: Researcher) -> None:
    job = ada.start("crash")
    kill(slurm, "node1", r"python -m empo_rllib\.service\.slurm_job")
    seconds = wait_for_nothing_left(slurm, list(slurm.nodes))
    job.wait()
    record_end("driver crash", job, seconds, ("FAILED", 128 + signal.SIGKILL))
    assert "error: the experiment was ended by signal 9" in job.log


def test_bar_head_killed(slurm: Slurm, ada: Researcher) -> None:
    job = ada.start("headless")
    kill(slurm, "node1", r"/gcs_server ")
    seconds = wait_for_nothing_left(slurm, list(slurm.nodes))
    job.wait()
    record_end("kill -9 of the head", job, seconds, ("FAILED", 1))
    assert "node1: error: the Ray head ended: it lost gcs_server" in job.log


@pytest.mark.usefixtures("clean")
def test_bar_a_node_dies_and_later_the_job_is_preempted(
    slurm: Slurm, ada: Researcher, ben: Researcher
) -> None:
    """SLURM notices a dead node after a while, and starts the job again when it has two nodes."""
    experiment = write_experiment(ada, "node", time_s=3000)
    job = ada.sbatch("--nodes=2", "--", "--config", experiment, *SPREAD)
    ada.wait_for_rows(job, "node", 4)
    slurm.nodes["node2"].kill()
    try:
        wait_until(lambda: job.restarts == 1, "SLURM to requeue the job")
        seconds = wait_for_nothing_left(slurm, ["node1"])
    finally:
        slurm.reboot("node2")
    resumed = len(ada.rows("node"))
    ada.wait_for_rows(job, "node", resumed + 4)
    urgent = ("--partition=urgent", "--exclusive", "--nodes=2", "--wrap", "sleep 1")
    ben.type("sbatch", "--output=/dev/null", *urgent)
    wait_until(lambda: job.restarts == 2, "SLURM to requeue the job again")
    let_it_finish(ada, "node")
    job.check()
    trial = ada.summary("node")["trials"][0]
    measured = {"nothing_left_after_s": round(seconds, 1), "requeued": job.restarts}
    met = trial["status"] == "finished" and ada.is_continuous("node") and seconds < 60
    SUITE.record("kill -9 of a worker node", "requeued, resumed, nothing left", measured, met)
    assert met, f"{measured} {trial}\n{job.log}"
    assert "SLURM started this job again (1)" in job.log
    assert "SLURM ends this job" in job.log


FAILING = """
from ray.rllib.callbacks.callbacks import RLlibCallback

class Failing(RLlibCallback):
    def on_train_result(self, **kwargs):
        raise RuntimeError("on purpose")
"""
# What the shell that submits may have set for other programs, and no job is to see.
FOREIGN = {
    "RAY_ADDRESS": "10.1.2.3:6379",
    "RAY_AUTH_TOKEN": "0" * 64,
    "RAY_TMPDIR": "/nowhere",
    "PYTHONPATH": "/home/ada/broken",
    "PYTHONHOME": "/nowhere",
    "APPTAINERENV_PYTHONPATH": "/home/ada/broken",
    "TUNE_MAX_LEN_IDENTIFIER": "1",
    "VIRTUAL_ENV": "/nowhere",
}


def test_bar_exit_codes(slurm: Slurm, ada: Researcher) -> None:
    """Side by side: a run that trains, one whose callback fails, one with a mistake in it.

    The first is `sbatch cluster/ray_slurm.sh` alone, which trains tune_configs/ppo.yaml, and
    is submitted from a shell with settings that would break it.
    """
    module = ada.folder / "failing.py"
    module.write_text(FAILING)
    os.chown(module, USERS["ada"], USERS["ada"])
    broken = ada.folder.parent / "broken"
    broken.mkdir()
    (broken / "ray.py").write_text("raise RuntimeError('this is the wrong Python path')\n")
    fails = ("algorithm.callbacks=[failing:Failing]", "tune.max_failures=0", "name=code1")
    jobs = {0: ada.sbatch("--", env=FOREIGN)}
    for code, keys in {1: fails, 2: ("algorithm.params.lrr=1",)}.items():
        jobs[code] = ada.sbatch("--", *SMOKE, *(part for key in keys for part in ("--set", key)))
    measured = {code: job.wait().exit_code for code, job in jobs.items()}
    met = all(code == seen for code, seen in measured.items())
    SUITE.record("experiment exit codes 0, 1, 2", "seen as the job's", measured, met)
    assert met, f"{measured}\n{jobs[1].log}"
    assert ada.summary("empty-8x8-ppo")["trials"][0]["episode_return_mean"] >= 1.9
    assert "--config tune_configs/ppo.yaml" in jobs[0].log
    assert "on purpose" in jobs[1].log
    assert "Did you mean 'lr'?" in jobs[2].log
    wait_for_nothing_left(slurm, list(slurm.nodes))
