"""Searches and populations whose driver is killed again and again, or that lose a node.

Where a policy never crosses the room, an episode's length is its limit, which is searched: with one
trial at a time all that Optuna and ASHA decide is known for certain, and an interruption may change
nothing of it. A population's scores are of its members' learning, which starts its environments
anew after a kill: each of its rounds must follow from the scores on disk.
"""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest
from commands import PYTHON, Run, Running, Workplace, merge, workplace
from decisions import check_rounds, decisions, study_of
from ray_head import Head, ray_head

from empo_rllib.experiment.population import read_rounds

SEED = os.environ["FAULTS_SEED"]
NUM_KILLS = 10
FREQUENCY = 2
# After the command was typed, or after it has made its first row.
_LATEST_S, _STARTING_S, _SHARE_STARTING = 4.0, 12.0, 0.3

LIMITED = {
    "seed": 3,
    "env": {
        "id": "MultiGrid-Empty-16x16-v0",
        "kwargs": {"max_steps": {"randint": [4, 25]}},
    },
    "algorithm": {
        "params": {"metrics_num_episodes_for_smoothing": 5, "lr": {"loguniform": [1e-5, 1e-3]}}
    },
    "stop": {"env_steps": 2000},
    "tune": {
        "num_samples": 10,
        "max_concurrent": 1,
        "metric": "episode_length_mean",
        "mode": "min",
        "search": {"optuna": {"n_startup_trials": 3}},
    },
    "checkpoint": {"frequency": FREQUENCY},
}
POPULATION = {
    "seed": 5,
    "algorithm": {
        "params": {
            "metrics_num_episodes_for_smoothing": 5,
            "lr": {"loguniform": [1e-4, 1e-2]},
            "entropy_coeff": {"uniform": [0.0, 0.1]},
        }
    },
    "stop": {"env_steps": 3000},
    "tune": {"num_samples": 4, "metric": "env_steps_per_s"},  # differs, whatever they learn
    "checkpoint": {"frequency": FREQUENCY, "num_to_keep": 1},
}
INTERVAL = 500
SEARCHES = {
    "optuna": LIMITED,
    "optuna with asha": merge(
        LIMITED, {"tune": {"scheduler": {"asha": {"grace_period": 500, "reduction_factor": 2}}}}
    ),
    **{
        kind: merge(
            POPULATION, {"tune": {"scheduler": {kind: {"perturbation_interval": INTERVAL}}}}
        )
        for kind in ("pbt", "pb2")
    },
}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.all_faults,
    pytest.mark.timeout(3600),
    pytest.mark.filterwarnings("ignore"),  # RLlib warns about its own parts
]


@pytest.mark.parametrize("kind", SEARCHES)
def test_a_search_that_is_killed_ten_times_loses_and_repeats_nothing(kind, tmp_path):
    rng = random.Random(f"{SEED}-{kind}")
    with workplace(tmp_path) as place, ray_head(place, 2, {"PYTHONPATH": ""}, False) as head:
        whole = None
        if kind.startswith("optuna"):
            config = place.write_experiment(name="whole", **SEARCHES[kind])
            head.start(place, "--config", config).wait().check()
            whole = decisions(place.run("whole"))
        kills, number = 0, 0
        while kills < NUM_KILLS:  # a search may end before it was killed so often
            config = place.write_experiment(name=f"killed-{number}", **SEARCHES[kind])
            kills += kill(head, place, config, rng, NUM_KILLS - kills)
            run = place.run(config.stem)
            check_trials(run)
            if whole is None:
                check_population(run, config)
            else:
                assert decisions(run) == whole
            number += 1


@pytest.mark.parametrize("kind", ["optuna with asha", "pbt"])
def test_a_search_that_loses_a_node_ends_on_the_others(kind, tmp_path):
    changes = {"tune": {"max_concurrent": 2}} if kind.startswith("optuna") else {}
    with workplace(tmp_path) as place, ray_head(place, 1, {"PYTHONPATH": ""}, False) as head:
        raylet = join_node(head, place)
        config = place.write_experiment(name="search", **merge(SEARCHES[kind], changes))
        running, run = head.start(place, "--config", config), place.run("search")
        running.wait_until(
            lambda: sum(trial.num_rows() > FREQUENCY for trial in run.trials) > 1, "two trials"
        )
        before = check_rows(run, {})
        os.kill(raylet, signal.SIGKILL)
        running.wait().check()
        check_rows(run, before)
        check_trials(run)
        if kind == "pbt":
            check_population(run, config)
        else:
            names = [trial.user_attrs["trial_id"] for trial in study_of(run).trials]
            assert sorted(names) == [trial["trial_id"] for trial in run.summary["trials"]]
            assert {trial.state.name for trial in study_of(run).trials} <= {"COMPLETE", "PRUNED"}


def join_node(head: Head, place: Workplace) -> int:
    """Adds a node with one CPU to a cluster; returns the process id of its raylet."""
    before = raylets(place)
    command = [PYTHON, "-m", "ray.scripts.scripts", "start", f"--address={head.address}"]
    command += ["--num-cpus=1", "--num-gpus=0", "--object-store-memory=200000000"]
    command += ["--min-worker-port=0", "--max-worker-port=0", "--disable-usage-stats"]
    env = {**place.env, **head.env, "PYTHONPATH": "", "RAY_raylet_start_wait_time_s": "120"}
    Running(command, place.folder, env).wait().check()
    (raylet,) = raylets(place) - before
    return raylet


def raylets(place: Workplace) -> set[int]:
    commands = place.processes().items()
    return {pid for pid, command in commands if Path(command.split(" ")[0]).name == "raylet"}


def kill(head: Head, place: Workplace, config: Path, rng: random.Random, most: int) -> int:
    """Trains a search to its end, killing its driver up to `most` times; returns how often."""
    run, kills, before = place.run(config.stem), 0, {}
    while True:
        resume = ["--resume"] if (run.folder / "summary.json").exists() else []
        overwrite = ["--overwrite"] if run.folder.exists() and not resume else []
        running = head.start(place, "--config", config, *resume, *overwrite)
        if kills < most:
            wait_for_moment(running, run, rng)
            running.process.send_signal(signal.SIGKILL)
        outcome = running.wait()
        before = check_rows(run, before)
        if outcome.code == 0:
            return kills
        assert outcome.code == -signal.SIGKILL, outcome.output
        kills += 1


def wait_for_moment(running: Running, run: Run, rng: random.Random) -> None:
    """Returns at a random moment, or when the command has ended."""
    starting = rng.random() < _SHARE_STARTING
    rows = num_rows(run)
    while not starting and running.process.poll() is None and num_rows(run) == rows:
        time.sleep(0.05)
    deadline = time.monotonic() + rng.uniform(0, _STARTING_S if starting else _LATEST_S)
    while running.process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)


def num_rows(run: Run) -> int:
    return sum(trial.num_rows() for trial in run.trials)


def check_rows(run: Run, before: dict[str, list[dict[str, str]]]) -> dict[str, list]:
    """Compares each trial's rows with those before: at most an interval is lost, none twice."""
    after = {trial.folder.name: trial.rows() for trial in run.trials}
    for name, old in before.items():
        new = after[name]
        same = next(
            (i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b),
            min(len(old), len(new)),
        )
        assert len(old) - same <= FREQUENCY, f"{name}: {len(old) - same} of {len(old)} rows lost"
    for name, rows in after.items():
        iterations = [int(row["training_iteration"]) for row in rows]
        assert iterations == list(range(1, len(rows) + 1)), name
    return after


def check_trials(run: Run) -> None:
    """All planned trials have ended, each with a folder, each with its rows."""
    assert run.summary["status"] == "finished"
    trials = run.summary["trials"]
    assert [trial["trial_id"] for trial in trials] == [one.folder.name for one in run.trials]
    for number, trial in enumerate(trials):
        assert trial["status"] in ("finished", "stopped")
        assert trial["env_steps"] == int(run.trial(number).rows()[-1]["env_steps"])


def check_population(run: Run, config: Path) -> None:
    rounds = read_rounds(run.folder)
    steps = SEARCHES["pbt"]["stop"]["env_steps"]
    at = [[member.env_steps for member in one.members] for one in rounds]
    assert at == [[INTERVAL * number] * 4 for number in range(1, steps // INTERVAL)]
    check_rounds(run, config)
