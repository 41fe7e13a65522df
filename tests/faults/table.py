"""The table of faults: what is done to a run, and what may come of it."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Blow:
    """Something that happens to a run while it trains.

    Attributes:
        process: The beginning of a process's command line, without folders: what is killed. The
            `driver` is the command itself.
        disk: What there is no more of on the disk of the results: `blocks` or `inodes`.
        clock_s: How far the clock goes back.
        codes: How the command may end by it.
        ends: Whether it must end; None where both is right.
    """

    process: str = ""
    disk: str = ""
    clock_s: int = 0
    codes: tuple[int, ...] = (1,)
    ends: bool | None = True


# While Ray starts, a dead process of Ray is a start that failed: exit code 2.
BLOWS = {
    "driver": Blow("driver", codes=(-9,)),
    "raylet": Blow("raylet", codes=(1, 2)),
    "GCS": Blow("gcs_server", codes=(1, 2)),
    "trial": Blow("ray::ExperimentTrial", ends=None),  # tune.max_failures
    "env runner": Blow("ray::FragmentEnvRunner", ends=None),
    # Its raylet ends with it, soon or late.
    "dashboard agent": Blow("ray::DashboardAgent", codes=(1, 2), ends=None),
    "runtime env agent": Blow("ray::RuntimeEnvAgent", codes=(1, 2), ends=None),
    "display": Blow("cat", ends=False),
    "disk full": Blow(disk="blocks"),
    "inodes full": Blow(disk="inodes"),
    "clock back": Blow(clock_s=86_400, ends=False),
}
# Of which one is in the sample, after a kill of the driver.
SAMPLED = ("raylet", "GCS", "trial", "env runner")

# What a shell does before it becomes the command, and how that may end. Less than Ray needs is an
# error that says so.
SHORTAGES = {
    "256 file descriptors": "ulimit -n 256",
    "40 file descriptors": "ulimit -n 40",
    "20 GB of address space": "ulimit -v 20000000",
    "8 GB of address space": "ulimit -v 8000000",
    "1 GB of address space": "ulimit -v 1000000",
}


def _flip(path: Path, rng: random.Random) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(8 if content else 0):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def _cut(path: Path, rng: random.Random) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _replace_by_folder(path: Path, rng: random.Random) -> None:
    path.unlink()
    path.mkdir()


DAMAGES: dict[str, Callable[[Path, random.Random], None]] = {
    "emptied": lambda path, rng: os.truncate(path, 0),
    "cut in half": _cut,
    "bits flipped": _flip,
    "a folder": _replace_by_folder,
    "removed": lambda path, rng: path.unlink(),
}

# What reads a run; RUN stands for its folder, OUT for a folder to write to.
READERS = (
    ("evaluate", "RUN", "--episodes", "1"),
    ("crossplay", "RUN", "RUN", "--episodes", "1"),
    ("record", "RUN", "--episodes", "1", "--out", "OUT/film.gif"),
    ("export", "RUN", "--out", "OUT/bundle"),
    ("report", "RUN", "--out", "OUT/report.html", "--episodes", "0"),
)

# An environment that is well for its first episodes, and then: the statements of its `step`, and
# the exit code and words that must come of it.
ENV = """
import ctypes, os, sys, threading, time
import gymnasium
from empo_rllib import make_env


def bad(how, num_agents=2):
    env = make_env("MultiGrid-Empty-5x5-v0", num_agents, max_steps=20)
    step, reset, calls = env.step, env.reset, [0]

    def bad_step(actions):
        calls[0] += 1
        result = step(actions)
        return STEP[how](env, *result) if calls[0] > 30 and how in STEP else result

    def bad_reset(*args, **kwargs):
        if calls[0] > 30 and how == "raises in reset":
            raise RuntimeError("the door is stuck")
        return reset(*args, **kwargs)

    env.step, env.reset = bad_step, bad_reset
    return env


def raises(env, *result):
    raise RuntimeError("the door is stuck")


def ends(env, *result):
    os._exit(3)


def crashes(env, *result):
    ctypes.string_at(0)


def leaks(env, *result):
    threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
    return result


def prints(env, *result):
    print("x" * 1_000_000)
    return result


def renames(env, observations, *rest):
    return {f"other_{agent}": value for agent, value in observations.items()}, *rest


def reshapes(env, observations, *rest):
    space = gymnasium.spaces.Box(0, 1, (3,))
    env.observation_spaces = {agent: space for agent in observations}
    env.observation_space = lambda agent: space
    return {agent: space.sample() for agent in observations}, *rest


STEP = {
    "raises in step": raises,
    "ends its process": ends,
    "crashes its process": crashes,
    "leaks threads": leaks,
    "prints megabytes": prints,
    "returns other agents": renames,
    "changes its spaces": reshapes,
}
"""
# What an environment does: the exit code and words of the output that follow from it.
MISBEHAVIOURS = {
    "raises in step": (1, "the door is stuck"),
    "raises in reset": (1, "the door is stuck"),
    "returns other agents": (1, "other_agent_0"),
    "changes its spaces": (1, "trial_00000"),
    "ends its process": (1, "trial_00000"),
    "crashes its process": (1, "trial_00000"),
    "leaks threads": (0, "finished"),
    "prints megabytes": (0, "finished"),
}
