"""A user of the cluster: a clone of the repository in /home, and what is typed in it."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from repository import copy_repository, own, wait_until
from slurm import USERS, Slurm

# Where all users find the image, as a cluster's administrator would have it.
SHARED = "/home/shared"
IMAGE = f"{SHARED}/empo_rllib.sif"

SMOKE = ("--config", "tune_configs/smoke.yaml")
# Two env runners that do not fit on one node together: the job has 4 CPUs of each.
SPREAD = (
    *("--set", "resources.num_env_runners=2"),
    *("--set", "algorithm.params.num_cpus_per_env_runner=3"),
)
# Iterations of a tenth of a second, until somebody ends it.
ENDLESS = (*SMOKE, *SPREAD, "--set", "stop.env_steps=null", "--set", "stop.time_s=3000")


class Job:
    """A submitted job, seen from the login node."""

    def __init__(self, researcher: Researcher, number: str) -> None:
        self.number = number
        self._researcher = researcher

    @property
    def log(self) -> str:
        path = self._researcher.folder / f"slurm-{self.number}.out"
        return path.read_text() if path.exists() else ""

    def facts(self) -> dict[str, str]:
        """Returns what `scontrol show job` says."""
        shown = self._researcher.type("scontrol", "show", "job", "--oneliner", self.number).stdout
        return dict(part.split("=", 1) for part in shown.split() if "=" in part)

    @property
    def state(self) -> str:
        return self.facts()["JobState"]

    @property
    def exit_code(self) -> int:
        return int(self.facts()["ExitCode"].split(":")[0])

    @property
    def restarts(self) -> int:
        return int(self.facts()["Restarts"])

    def is_queued(self) -> bool:
        listed = self._researcher.type("squeue", "--noheader", f"--job={self.number}", check=False)
        return listed.returncode != 0 or bool(listed.stdout.strip())  # a busy SLURM may not answer

    def wait(self) -> Job:
        """Waits until SLURM is done with it, on all of its nodes."""
        try:
            wait_until(lambda: not self.is_queued(), f"job {self.number}")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log}") from None
        return self

    def check(self, code: int = 0) -> Job:
        """Waits, and asserts the exit code."""
        assert self.wait().exit_code == code, f"{self.facts()}\n{self.log}"
        return self


#: Seconds until each refused job had said why, by the beginning of that.
REFUSED: dict[str, float] = {}


def the_error(job: Job) -> str:
    """Returns the one line that says why a job could not run; the time it took is kept."""
    lines = [line for line in job.log.splitlines() if "error: " in line and "srun: " not in line]
    assert len(lines) == 1, job.log
    assert "Traceback" not in job.log
    facts = job.facts()
    begin, end = (datetime.fromisoformat(facts[name]) for name in ("StartTime", "EndTime"))
    REFUSED[lines[0].partition("error: ")[2][:50]] = (end - begin).total_seconds()
    return lines[0].partition(": ")[2]


class Researcher:
    """`user` in a clone at /home/USER/empo_rllib; `folder` is that clone seen from outside."""

    def __init__(self, slurm: Slurm, user: str) -> None:
        self.slurm = slurm
        self.user = user
        self.folder = slurm.home / user / "empo_rllib"
        self.where = Path(f"/home/{user}/empo_rllib")
        self.env = {"EMPO_RLLIB_SIF": IMAGE, "EMPO_RLLIB_CACHE": f"{SHARED}/cache"}
        # All nodes of this cluster share the CPUs of one machine.
        self.env["EMPO_RLLIB_START_S"] = "240"
        copy_repository(self.folder)
        own(self.folder, USERS[user])

    def type(
        self, *command: str, check: bool = True, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Types a command in the clone on the login node."""
        settings = {**self.env, **(env or {})}
        return self.slurm.on_login(self.user, *command, cwd=self.where, env=settings, check=check)

    def sbatch(self, *options: str, env: Mapping[str, str] | None = None) -> Job:
        """Submits ray_slurm.sh; options before "--" are sbatch's, those after it the script's."""
        split = options.index("--")
        script = ("cluster/ray_slurm.sh", *options[split + 1 :])
        done = self.type("sbatch", "--parsable", *options[:split], *script, env=env)
        return Job(self, done.stdout.strip())

    def start(self, name: str, *options: str, env: Mapping[str, str] | None = None) -> Job:
        """Submits an experiment that trains on two nodes until it is ended; returns in training."""
        job = self.sbatch(*options, "--nodes=2", "--", *ENDLESS, "--set", f"name={name}", env=env)
        self.wait_for_rows(job, name, 4)
        return job

    def wait_for_rows(self, job: Job, name: str, count: int) -> None:
        def there() -> bool:
            assert job.is_queued(), f"it ended before it trained: {job.facts()}\n{job.log}"
            return len(self.rows(name)) >= count

        wait_until(there, f"{count} iterations of {name}")

    def summary(self, name: str) -> dict:
        return json.loads((self.folder / "results" / name / "summary.json").read_text())

    def sessions(self, name: str) -> list[dict]:
        path = self.folder / "results" / name / "provenance.json"
        return json.loads(path.read_text())["sessions"]

    def rows(self, name: str, trial_id: str = "trial_00000") -> list[dict[str, str]]:
        """Returns the complete rows of a trial's progress.csv."""
        path = self.folder / "results" / name / trial_id / "progress.csv"
        text = path.read_text() if path.exists() else ""
        return list(csv.DictReader(text[: text.rfind("\n") + 1].splitlines()))

    def column(self, name: str, column: str) -> list[float]:
        return [float(row[column]) for row in self.rows(name)]

    def is_continuous(self, name: str) -> bool:
        """Whether no iteration is missing or there twice, and each adds as many env steps."""
        rows = self.rows(name)  # once: a job may be adding to them
        iterations = [float(row["training_iteration"]) for row in rows]
        steps = [float(row["env_steps"]) for row in rows]
        each = steps[0]
        expected = [i + 1 for i in range(len(iterations))]
        return iterations == expected and steps == [each * i for i in expected]


def processes(slurm: Slurm, node: str) -> list[str]:
    """Returns the command lines of users' processes on a node; root's are the node's own."""
    listed = slurm.nodes[node].run(["ps", "-e", "--no-headers", "-o", "uid=,stat=,args="]).stdout
    fields = [line.split(None, 2) for line in listed.splitlines()]
    users = {str(number) for number in USERS.values() if number}
    return [f[-1] for f in fields if f[0] in users and not f[1].startswith("Z")]


def leftovers(slurm: Slurm, nodes: list[str]) -> list[str]:
    """Returns what jobs have left on living nodes: processes, listening ports, files."""
    left = []
    for node in nodes:
        host = slurm.nodes[node]
        left += [f"{node}: process {args}" for args in processes(slurm, node)]
        sockets = host.run(["ss", "--listening", "--tcp", "--no-header", "--processes"]).stdout
        left += [f"{node}: {line}" for line in sockets.splitlines() if "slurmd" not in line]
        # What is removed while `find` looks is the only thing it may complain of.
        found = host.run(["find", "/tmp", "/dev/shm", "-mindepth", "1"], check=False)
        said = found.stderr.splitlines()
        assert all(line.endswith("No such file or directory") for line in said), found.stderr
        files = found.stdout.split()
        left += [f"{node}: file {name}" for name in files if not re.search(r"/\.\w+$", name)]
    return left


def wait_for_nothing_left(slurm: Slurm, nodes: list[str], timeout_s: float = 60.0) -> float:
    """Waits until living nodes are as before; returns how long it took."""
    started = time.monotonic()
    while left := leftovers(slurm, nodes):
        assert time.monotonic() - started < timeout_s, "\n".join(left)
        time.sleep(0.3)
    return time.monotonic() - started
