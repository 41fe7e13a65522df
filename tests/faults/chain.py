"""A run that meets one fault of the table after the other, and what must hold after each."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import random
import re
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from commands import ROOT, TUNE, Outcome, Running, Trial, Workplace
from small_disk import fill, use_up_inodes
from table import BLOWS, Blow

LOG = ROOT / "build" / "faults.jsonl"
NAME = "faults"
FREQUENCY = 4
# How long a hang is waited for; an overloaded machine needs minutes to start Ray.
_LIMIT_S = 300.0
# A blow comes at most so long after there is something to hit: also while Ray starts.
_LATEST_S = 4.0
_STARTING_S = 12.0
_SHARE_STARTING = 0.3
# What goes on after a blow makes rows for so long before the next.
_WELL_S = 3.0

# `time.time` goes by an offset in a file, in all processes that find this module.
CLOCK = """
import os, time

real, offset = time.time, os.environ["CLOCK_OFFSET"]


def shifted():
    return real() - (os.path.getsize(offset) if os.path.exists(offset) else 0)


time.time = shifted
"""


class Chain:
    """An experiment without end that is hit, resumed and hit again.

    Args:
        place: Where it runs; `results` may be a small disk.
        rng: Chooses the moments.
        label: Names it in the log.
    """

    def __init__(self, place: Workplace, rng: random.Random, label: str) -> None:
        self._place, self._rng, self._label = place, rng, label
        self._config = place.write_experiment(
            name=NAME,
            resources={"num_env_runners": 1},
            stop={"env_steps": 100_000_000},
            checkpoint={"frequency": FREQUENCY},
        )
        self.run = place.run(NAME)
        self.trial = Trial(self.run.folder / "trial_00000")
        self._session: Running | None = None
        self._names: list[str] = []  # of the blows that the session has met
        self._before: list[dict[str, str]] = []
        place.write("sitecustomize.py", CLOCK)
        self._clock = place.folder / "clock_offset"
        self._env = {
            "PYTHONPATH": f"{place.folder}:{place.env['PYTHONPATH']}",
            "CLOCK_OFFSET": str(self._clock),
        }

    def meet(self, name: str) -> None:
        """Lets the run meet a blow at a random moment, and checks what came of it.

        Where an earlier blow ends the run late, the next session meets this one.
        """
        blow, is_met = BLOWS[name], False
        while not is_met:
            session = self._session = self._session or self._start()
            delay = self._wait_for_moment(session, blow)
            rows = self.trial.num_rows()
            if session.process.poll() is None:
                self._check_rows()
                self._names.append(name)
                self._strike(session, blow)
                is_met = True
                self._follow(session, blow, rows)
                _log(self._label, name, rows, delay, session.process.poll())
            if session.process.poll() is not None:
                self._check_end(session.wait())

    def finish(self) -> None:
        """Trains what is left of the run, and ends it."""
        if self._session is not None:
            self._session.process.send_signal(signal.SIGTERM)
            outcome = self._session.wait()
            # An earlier blow may end the run just now: before the signal, or while it is heeded.
            if outcome.code not in (75, -signal.SIGTERM):
                self._check_end(outcome)
            assert outcome.code != -signal.SIGTERM or self._names, outcome.output
            self._session = None
            self._check_rows()
        done = int(self._before[-1]["env_steps"]) if self._before else 0
        limit = f"stop.env_steps={done + 500}"
        arguments = (*self._arguments(), "--set", limit)
        self._place.tune("--config", self._config, *arguments, env=self._env).check()
        self._check_rows()
        steps = [step for step, _ in self.trial.scalars()["time_s"]]
        assert steps == self.trial.column("env_steps")

    def _start(self) -> Running:
        """Starts or resumes it, with a `cat` between it and what displays it."""
        tune = [*TUNE, "--config", str(self._config), *self._arguments()]
        command = ["bash", "-c", f"exec {' '.join(tune)} 2> >(exec cat >&2)"]
        return Running(command, self._place.folder, {**self._place.env, **self._env})

    def _arguments(self) -> list[str]:
        if (self.run.folder / "summary.json").exists():
            return ["--resume"]
        return ["--overwrite"] if self.run.folder.exists() else []

    def _wait_for_moment(self, session: Running, blow: Blow) -> float:
        """Returns how long it waited after there was something to hit."""
        is_driver = blow.process == "driver"
        if is_driver and self._rng.random() < _SHARE_STARTING:
            delay = self._rng.uniform(0, _STARTING_S)
        else:
            delay = self._rng.uniform(0, _LATEST_S)
            rows = self.trial.num_rows()
            trains = not blow.process or is_driver
            self._wait(
                session,
                lambda: self.trial.num_rows() != rows if trains else self._find(session, blow),
            )
        time.sleep(delay)
        return delay

    def _wait(self, session: Running, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + _LIMIT_S
        while not condition() and session.process.poll() is None:
            processes = self._place.processes()
            assert time.monotonic() < deadline, f"hangs: {processes}\n{session.stderr}"
            time.sleep(0.1)

    def _find(self, session: Running, blow: Blow) -> list[int]:
        """Returns the processes that a blow hits."""
        if blow.process in ("", "driver"):
            return [session.process.pid]
        programs = self._place.processes().items()
        return [pid for pid, command in programs if _program(command) == blow.process]

    def _strike(self, session: Running, blow: Blow) -> None:
        disk = self.run.folder.parent
        if blow.disk == "blocks":
            fill(disk)
        elif blow.disk == "inodes":
            use_up_inodes(disk)
        elif blow.clock_s:
            self._clock.write_bytes(bytes(blow.clock_s))
        else:
            for pid in self._find(session, blow):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def _follow(self, session: Running, blow: Blow, rows: int) -> None:
        """Waits until the command has ended, or goes on where it may."""
        well_since = time.monotonic() + _WELL_S
        self._wait(
            session,
            lambda: (
                not blow.ends and time.monotonic() > well_since and self.trial.num_rows() > rows
            ),
        )

    def _check_end(self, outcome: Outcome) -> None:
        self._session, names = None, self._names
        self._names = []
        _remove_filler(self.run.folder.parent)
        blows = [BLOWS[name] for name in names]
        told = f"after {', '.join(names)}:\n{outcome.output}"
        assert any(blow.ends is not False for blow in blows), f"ended {told}"
        codes = {code for blow in blows if blow.ends is not False for code in blow.codes}
        assert outcome.code in codes, f"exit code {outcome.code} {told}"
        assert "Traceback" not in outcome.stderr, told
        if outcome.code > 0:
            # Ray prints lines of its raylet's log between.
            said = re.findall("^(?:error: |trial_[0-9]+ failed:)", outcome.output, re.MULTILINE)
            assert len(said) == 1, told
        left = self._place.wait_for_quiet()
        assert not left, f"{left} left {told}"
        assert not self._place.cluster_folders(), told
        self._check_rows()

    def _check_rows(self) -> None:
        """Compares `progress.csv` with what it was before: counters continue."""
        rows, before = self.trial.rows(), self._before
        kept = next(
            (i for i, (old, new) in enumerate(zip(before, rows, strict=False)) if old != new),
            min(len(before), len(rows)),
        )
        assert len(before) - kept <= FREQUENCY, f"{len(before) - kept} of {len(before)} rows lost"
        assert [int(row["training_iteration"]) for row in rows] == list(range(1, len(rows) + 1))
        for counter in ("env_steps", "time_s"):
            values = [float(row[counter]) for row in rows]
            assert values == sorted(set(values)), counter
        self._before = rows


def _remove_filler(disk: Path) -> None:
    filler = disk / "filler"
    if filler.is_dir():
        shutil.rmtree(filler)
    else:
        filler.unlink(missing_ok=True)


def _program(command: str) -> str:
    """Returns what a command line runs, without folders; of a Ray worker without its method."""
    return Path(command.split(" ")[0]).name.partition(".")[0]


def _log(label: str, blow: str, rows: int, delay: float, code: int | None) -> None:
    LOG.parent.mkdir(exist_ok=True)
    entry = {
        "seed": os.environ["FAULTS_SEED"],
        "chain": label,
        "blow": blow,
        "rows": rows,
        "after_s": round(delay, 2),
        "code": code,
    }
    with LOG.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(json.dumps(entry) + "\n")


def read_log() -> list[dict[str, Any]]:
    return [json.loads(line) for line in LOG.read_text().splitlines()] if LOG.exists() else []
