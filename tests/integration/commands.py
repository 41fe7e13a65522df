"""Runs the real commands as a user would, each in a folder of its own, and reads what they leave.

A workplace has a private HOME and a private TMPDIR: what a command writes outside its folder shows,
and every process it started can be told by its environment. A command runs in a process of its own,
or in this one (`type`), where all is imported already: half of what a short command takes is that.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from processes import end_processes_of, processes_of

from empo_rllib import cli, tune
from empo_rllib.bundle import __main__ as bundle

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "tune_configs"
PYTHON = sys.executable
TUNE = (PYTHON, "-m", "empo_rllib.tune")
MAINS = {"empo_rllib": cli.main, "empo_rllib.tune": tune.main, "empo_rllib.bundle": bundle.main}

# Generous: only a hang reaches it.
_TIMEOUT_S = 1200.0
# What is promised; without it Ray's agents live on for 40 s.
_END_S = 15.0
# What would make a command behave otherwise than in a plain shell.
_FOREIGN = ("RAY_", "WANDB_", "PYTHON", "XDG_", "TUNE_", "SLURM_")

# Fast on one core: an iteration takes a fraction of a second.
TINY = {
    "name": "tiny",
    "env": {"id": "MultiGrid-Empty-5x5-v0", "num_agents": 2, "kwargs": {"max_steps": 20}},
    "algorithm": {
        "name": "PPO",
        "params": {
            "lr": 1.0e-3,
            "train_batch_size_per_learner": 100,
            "minibatch_size": 50,
            "num_epochs": 1,
        },
    },
    "model": {"hidden_sizes": [16]},
    "resources": {"num_envs_per_env_runner": 5},
    "stop": {"env_steps": 400},
    "checkpoint": {"frequency": 1},
}


@dataclass(frozen=True)
class Outcome:
    """How a command ended and what it printed."""

    code: int
    stdout: str
    stderr: str

    @property
    def output(self) -> str:
        return f"{self.stdout}\n{self.stderr}"

    def check(self, code: int = 0) -> Outcome:
        assert self.code == code, f"exit code {self.code}, not {code}:\n{self.output}"
        return self


class Running:
    """A command under way, leader of its own process group like a job of a shell."""

    def __init__(self, command: list[str], folder: Path, env: Mapping[str, str]) -> None:
        logs = Path(tempfile.mkdtemp(dir=env["TMPDIR"], prefix="log-"))
        self._files = [logs / "stdout", logs / "stderr"]
        with self._files[0].open("w") as stdout, self._files[1].open("w") as stderr:
            self.process = subprocess.Popen(
                command,
                cwd=folder,
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )

    @property
    def stdout(self) -> str:
        return self._files[0].read_text()

    @property
    def stderr(self) -> str:
        return self._files[1].read_text()

    def ctrl_c(self) -> None:
        """What a terminal does: the whole process group gets SIGINT."""
        os.killpg(self.process.pid, signal.SIGINT)

    def wait(self) -> Outcome:
        try:
            self.process.wait(_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError(f"still running after {_TIMEOUT_S} s:\n{self.stderr}") from None
        stdout, stderr = (file.read_text() for file in self._files)
        return Outcome(self.process.returncode, stdout, stderr)

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        """Waits for something that the command does before it ends."""
        deadline = time.monotonic() + _TIMEOUT_S
        while not condition():
            if self.process.poll() is not None:
                raise AssertionError(f"ended before {what}:\n{self.wait().output}")
            assert time.monotonic() < deadline, f"waited for {what}:\n{self.stderr}"
            time.sleep(0.05)


class Workplace:
    """A folder to type commands in.

    Args:
        folder: For what commands write; it is there and empty.
        temp: Their TMPDIR, short for Ray's sockets.
    """

    def __init__(self, folder: Path, temp: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.home.mkdir()
        self.temp = temp
        kept = {k: v for k, v in os.environ.items() if not k.startswith(_FOREIGN)}
        self.env = {
            **kept,
            "HOME": str(self.home),
            "TMPDIR": str(self.temp),
            "PYTHONPATH": str(ROOT),
        }

    def write(self, name: str, content: str) -> Path:
        path = self.folder / name
        path.write_text(content)
        return path

    def write_experiment(self, **changes: object) -> Path:
        """Writes an experiment file: `TINY` with these changes; its name is the experiment's."""
        experiment = merge(TINY, changes)
        return self.write(f"{experiment['name']}.yaml", yaml.safe_dump(experiment))

    def start(self, *args: object, env: Mapping[str, str] | None = None) -> Running:
        """Starts `python -m empo_rllib.tune` with these arguments."""
        return Running([*TUNE, *map(str, args)], self.folder, {**self.env, **(env or {})})

    def tune(self, *args: object, env: Mapping[str, str] | None = None) -> Outcome:
        """Runs `python -m empo_rllib.tune` with these arguments to its end."""
        return self.start(*args, env=env).wait()

    def shell(self, *args: object) -> Outcome:
        """Runs `python -m empo_rllib` with these arguments to its end."""
        return Running([PYTHON, "-m", "empo_rllib", *map(str, args)], self.folder, self.env).wait()

    def type(
        self, *args: object, module: str = "empo_rllib", env: Mapping[str, str] | None = None
    ) -> Outcome:
        """Runs `python -m` this module with these arguments in this process."""
        stdout, stderr, code = io.StringIO(), io.StringIO(), None
        with (
            self._in_this_process(env or {}) as patch,
            contextlib.redirect_stdout(stdout),
            contextlib.redirect_stderr(stderr),
        ):
            patch.setattr(sys, "argv", [module, *map(str, args)])
            patch.setattr(sys, "orig_argv", [PYTHON, "-m", module, *map(str, args)])
            try:
                code = MAINS[module]()
            except SystemExit as exit_:
                code = exit_.code
        return Outcome(int(code or 0), stdout.getvalue(), stderr.getvalue())

    @contextlib.contextmanager
    def _in_this_process(self, env: Mapping[str, str]) -> Iterator[pytest.MonkeyPatch]:
        """This process as if it had been started here; its environment variables and modules."""
        before, modules = dict(os.environ), set(sys.modules)
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self.folder)
            patch.syspath_prepend(self.folder)
            patch.setattr(tempfile, "tempdir", None)
            os.environ |= {**self.env, **env}
            try:
                yield patch
            finally:
                os.environ.clear()
                os.environ |= before
                for name in set(sys.modules) - modules:
                    file = str(getattr(sys.modules[name], "__file__", ""))
                    if file.startswith(f"{self.folder}/"):
                        del sys.modules[name]

    def run(self, name: str) -> Run:
        return Run(self.folder / "results" / name)

    def processes(self) -> dict[int, str]:
        """Returns what runs of all that the commands here started: process id to command line."""
        return processes_of(self.temp)

    def wait_for_quiet(self) -> dict[int, str]:
        """Gives processes that are on their way out time to go; returns those that stay."""
        deadline = time.monotonic() + _END_S
        while (left := self.processes()) and time.monotonic() < deadline:
            time.sleep(0.1)
        return left

    def cluster_folders(self) -> list[Path]:
        return list(self.temp.glob("empo-*"))


@dataclass(frozen=True)
class Run:
    """A run folder."""

    folder: Path

    @property
    def summary(self) -> dict:
        return json.loads((self.folder / "summary.json").read_text())

    @property
    def trials(self) -> list[Trial]:
        return [Trial(folder) for folder in sorted(self.folder.glob("trial_*"))]

    def trial(self, number: int = 0) -> Trial:
        return Trial(self.folder / f"trial_{number:05d}")


@dataclass(frozen=True)
class Trial:
    """A trial's folder."""

    folder: Path

    def rows(self) -> list[dict[str, str]]:
        """Returns the rows of progress.csv as they are written, to the last digit."""
        return list(csv.DictReader(self._lines()))

    def column(self, name: str) -> list[float]:
        """The values, in the order of rows; a cell is empty where nothing was measured."""
        return [float(row[name]) for row in self.rows() if row[name]]

    def num_rows(self) -> int:
        return max(0, len(self._lines()) - 1)

    def _lines(self) -> list[str]:
        path = self.folder / "progress.csv"
        text = path.read_text() if path.exists() else ""
        return text[: text.rfind("\n") + 1].splitlines()  # the last one may be under way

    def checkpoints(self) -> list[Path]:
        return sorted(self.folder.glob("checkpoint_*"))

    def iterations(self) -> list[int]:
        """Returns the iterations that have a checkpoint."""
        return [int(path.name.split("_")[1]) for path in self.checkpoints()]

    def counters(self) -> dict[str, float]:
        """Returns the counters in the newest checkpoint."""
        return json.loads((self.checkpoints()[-1] / "state.json").read_text())["counters"]

    def weights(self, checkpoint: int, policy: str) -> dict:
        """Returns the arrays of a policy in a checkpoint, -1 being the newest."""
        from safetensors.numpy import load_file

        path = self.checkpoints()[checkpoint] / "policies" / f"{policy}.safetensors"
        return load_file(str(path))

    def scalars(self) -> dict[str, list[tuple[int, float]]]:
        """Returns the TensorBoard curves: tag to (step, value) in the order of writing."""
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        # purge_orphaned_data would hide steps that go back.
        events = EventAccumulator(
            str(self.folder), size_guidance={"scalars": 0}, purge_orphaned_data=False
        )
        events.Reload()
        return {
            tag: [(event.step, event.value) for event in events.Scalars(tag)]
            for tag in events.Tags()["scalars"]
        }


def merge(base: Mapping, changes: Mapping) -> dict:
    """Returns `base` with `changes` put over it, section by section; `None` removes a key."""
    merged = dict(base)
    for key, value in changes.items():
        if isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
            merged[key] = merge(merged[key], value)
        else:
            merged[key] = value
    return {key: value for key, value in merged.items() if value is not None}


def snapshot(*folders: Path) -> dict[str, tuple[int, int]]:
    """Returns every path below `folders` with its size and time of change."""
    return {
        str(path): (path.lstat().st_size, path.lstat().st_mtime_ns)
        for folder in folders
        for path in sorted(folder.rglob("*"))
    }


@contextlib.contextmanager
def workplace(folder: Path) -> Iterator[Workplace]:
    """A `Workplace` whose processes end with it."""
    temp = Path(tempfile.mkdtemp(prefix="it-", dir="/tmp"))
    try:
        yield Workplace(folder, temp)
    finally:
        end_processes_of(temp)
