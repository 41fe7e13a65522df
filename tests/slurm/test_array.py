"""The trials of one search, spread over the jobs of an array."""

from __future__ import annotations

import re
import sys

import pytest
from conftest import SUITE
from repository import wait_until
from researcher import SMOKE, Job, Researcher
from slurm import Slurm

NUM_JOBS, NUM_TRIALS = 4, 12
# Without the kernels, which would have to be compiled for this clone.
SEARCH = (
    *SMOKE,
    *("--set", "name=spread", "--set", "resources.sampler=rllib"),
    *("--set", "env.id=CartPole-v1", "--set", "env.num_agents=null"),
    *("--set", "algorithm.params.lr={loguniform: [1.0e-4, 1.0e-2]}"),
    *("--set", f"tune.num_samples={NUM_TRIALS}", "--set", "tune.max_concurrent=1"),
    *("--set", "tune.scheduler={asha: {grace_period: 1000}}", "--set", "tune.search=optuna"),
    *("--set", "checkpoint.frequency=1"),
)


def submit(root: Researcher) -> list[Job]:
    """Types `submit --slurm --array`, as root, who may use the .venv of these tests."""
    command = [sys.executable, "-m", "empo_rllib", "submit", "--slurm", "--no-container"]
    options = ("--array", str(NUM_JOBS), "--cpus-per-node", "2", "--time", "1:00:00")
    done = root.type(*command, *options, *SEARCH, env={"EMPO_RLLIB_VENV": sys.prefix})
    array = re.search(r"Submitted batch job (\d+)", done.stdout)[1]
    assert f"tail -F slurm-{array}_*.out\nstop    scancel {array}" in done.stderr
    return [Job(root, f"{array}_{number}") for number in range(NUM_JOBS)]


def jobs_that_train(root: Researcher) -> list[int]:
    """Returns the numbers of the jobs whose trial has begun, the first one first."""
    folder = root.folder / "results" / "spread"
    if not (folder / "summary.json").exists():
        return []
    return [
        trial["array_task"]
        for trial in root.summary("spread")["trials"]
        if trial["array_task"] is not None
        and (folder / trial["trial_id"] / "progress.csv").exists()
    ]


def kill_experiment(slurm: Slurm, number: int) -> None:
    """SIGKILLs what one job of the array runs."""
    found = (
        "for p in $(pgrep -f service.slurm_job); do "
        f"tr '\\0' '\\n' <\"/proc/$p/environ\" | grep -qx SLURM_ARRAY_TASK_ID={number} && "
        'kill -KILL "$p" && echo killed; done; true'
    )
    outputs = [node.run(["bash", "-c", found]).stdout for node in slurm.nodes.values()]
    assert "killed" in "".join(outputs)


@pytest.mark.usefixtures("clean")
def test_bar_an_array_of_four_jobs_one_killed(slurm: Slurm) -> None:
    """Another one is told that its time is over, and is requeued by itself."""
    root = Researcher(slurm, "root")
    jobs = submit(root)
    wait_until(lambda: len(set(jobs_that_train(root))) > 1, "two jobs to train")
    killed, paused = list(dict.fromkeys(jobs_that_train(root)))[:2]
    kill_experiment(slurm, killed)
    root.type("scancel", "--batch", "--signal=USR1", jobs[paused].number)
    wait_until(lambda: not jobs[killed].is_queued(), "the killed job's end")
    assert jobs[killed].exit_code != 0
    root.type("scontrol", "requeue", jobs[killed].number)
    codes = [job.wait().exit_code for job in jobs]
    summary = root.summary("spread")
    trials = summary["trials"]
    measured = {
        "status": summary["status"],
        "trials": len(trials),
        "over": sum(trial["status"] in ("finished", "stopped") for trial in trials),
        "exit_codes": codes,
        "restarts": [job.restarts for job in jobs],
        "jobs_with_trials": sorted({trial["array_task"] for trial in trials}),
    }
    restarts = [int(number in (killed, paused)) for number in range(NUM_JOBS)]
    met = measured["over"] == NUM_TRIALS and summary["status"] == "finished" and not any(codes)
    met = met and measured["restarts"] == restarts
    SUITE.record("array of 4 jobs, one killed", "one summary, all trials", measured, met)
    assert met, f"{measured}\n{jobs[killed].log}\n{jobs[paused].log}"
    for trial in trials:
        rows = root.rows("spread", trial["trial_id"])
        iterations = [int(row["training_iteration"]) for row in rows]
        assert iterations == list(range(1, len(rows) + 1))
