"""A local run's temporary folder as another user finds it, and what happens when Ray dies.

The home of these runs cannot be written, which no part of them may need.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from commands import Outcome, Run, Workplace, workplace
from doors import Door, try_doors

NOBODY = 65534
NOT_WRITABLE = "/proc"  # not even to root
PROCESSES = ("raylet", "gcs_server")
REFUSALS = {"UNAUTHENTICATED", "HTTP 401"}
# Processes whose metrics everybody may read.
METRICS = {"monitor.py", "dashboard.py", "ray::DashboardAgent"}
DOORS_S = 300.0  # on a busy machine some open late, or answer late
# Their ports are the same for every cluster of a machine: who comes second has none.
FREE_PORTS = {"DASHBOARD_METRIC_PORT": "0", "AUTOSCALER_METRIC_PORT": "0"}
# What a stranger tries: to list the folder, to read and to replace the token, to leave a file.
STRANGER = """
ls {folder}
cat {folder}/token
mv {folder}/token {folder}/taken
echo mine > {folder}/token
touch {folder}/ray/mine
"""


@dataclass(frozen=True)
class Lost:
    """A run whose Ray process was killed: what was there before, and what came of it."""

    outcome: Outcome
    run: Run
    folder: Path
    token: str
    doors: list[Door]
    open_to_others: list[str]
    stranger: str
    processes: dict[int, str]


def kill(place: Workplace, name: str) -> Lost:
    config = place.write_experiment(name=name, stop={"env_steps": 100_000_000})
    running = place.start("--config", config, env={"HOME": NOT_WRITABLE, **FREE_PORTS})
    run = place.run(name)
    running.wait_until(lambda: len(run.trial().checkpoints()) > 0, "a checkpoint")
    (folder,) = place.cluster_folders()
    stranger = visit(folder)
    token = (folder / "token").read_text()
    open_to_others = [str(path) for path in reachable(folder)]
    doors = all_doors(place)
    os.kill(process_id(place, name), signal.SIGKILL)
    outcome = running.wait()
    return Lost(
        outcome, run, folder, token, doors, open_to_others, stranger, place.wait_for_quiet()
    )


def all_doors(place: Workplace) -> list[Door]:
    """Tries the ports until the last of Ray's processes has opened its own, and all answer."""
    deadline = time.monotonic() + DOORS_S
    while True:
        doors = try_doors(place.processes())
        are_open = names_of_metrics(doors) >= METRICS and not any(d.is_silent for d in doors)
        if are_open or time.monotonic() > deadline:
            return doors
        time.sleep(1)


def names_of_metrics(doors: list[Door]) -> set[str]:
    return {door.process for door in doors if door.answers == {"metrics"}}


def visit(folder: Path) -> str:
    """Returns what another user reads in the folder; what is refused prints nothing."""
    command = ["sh", "-c", STRANGER.format(folder=folder)]
    user = NOBODY if os.geteuid() == 0 else None
    done = subprocess.run(command, capture_output=True, text=True, user=user, group=user)
    return done.stdout


def reachable(folder: Path) -> Iterator[Path]:
    """Yields what others may enter or read, as far as the modes let them."""
    mode = folder.lstat().st_mode
    if mode & 0o077 and not folder.is_symlink():
        yield folder
        if folder.is_dir() and mode & 0o011:
            for path in folder.iterdir():
                yield from reachable(path)


def process_id(place: Workplace, name: str) -> int:
    (pid,) = [
        pid
        for pid, command in place.processes().items()
        if Path(command.split(" ")[0]).name == name
    ]
    return pid


@pytest.fixture(scope="module", params=PROCESSES)
def lost(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Lost:
    with workplace(tmp_path_factory.mktemp("lost")) as place:
        return kill(place, request.param)


def test_the_temporary_folder_is_closed_to_others(lost):
    assert lost.open_to_others == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_finds_nothing_and_changes_nothing(lost):
    assert lost.stranger == ""
    assert len(lost.token) == 64


def test_every_port_refuses_whoever_has_no_token_except_for_metrics(lost):
    """docs/security.md lists them."""
    assert names_of_metrics(lost.doors) == METRICS
    others = [door for door in lost.doors if door.answers != {"metrics"}]
    assert [door for door in others if not door.answers <= REFUSALS] == []
    listen_everywhere = {door.process for door in others if door.address in ("0.0.0.0", "::")}
    assert listen_everywhere >= {"gcs_server", "raylet", "empo_rllib.tune"}
    dashboards = {door.address for door in others if door.process == "dashboard.py"}
    assert dashboards == {"127.0.0.1"}


def test_the_run_ends_with_an_error_that_says_how_to_continue(lost):
    lost.outcome.check(1)
    assert "Traceback" not in lost.outcome.output
    assert "has died" in lost.outcome.stdout
    assert "--resume" in lost.outcome.stdout


def test_the_summary_says_that_it_failed_and_of_what(lost):
    summary = lost.run.summary
    assert summary["status"] == "failed"
    (trial,) = summary["trials"]
    assert "has died" in trial["error"]
    assert trial["checkpoint"]


def test_nothing_of_the_run_stays_behind(lost):
    assert not lost.processes
    assert not lost.folder.exists()


def test_a_gcs_that_dies_while_ray_starts_is_told_of(place):
    """Ray's driver has no record of it yet, waits for a minute and ends without a word."""
    config = place.write_experiment(name="too-early")
    running = place.start("--config", config)

    def gcs() -> list[int]:
        programs = place.processes().items()
        return [pid for pid, what in programs if what.partition(" ")[0].endswith("/gcs_server")]

    running.wait_until(gcs, "a GCS to kill")
    time.sleep(0.4)  # by then Ray talks to it
    for pid in gcs():
        os.kill(pid, signal.SIGKILL)
    outcome = running.wait().check(2)
    assert outcome.stderr.count("error: ") == 1
    assert "Ray cannot be started on this machine" in outcome.stderr
    assert not place.wait_for_quiet()
    assert not (place.folder / "results").exists()
