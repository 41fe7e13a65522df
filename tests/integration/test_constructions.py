"""A run makes its environment as rarely as it can: some take minutes to start."""

from __future__ import annotations

from commands import Workplace
from ray_head import Head

ENV = """
from empo_rllib import make_env


def counted(log, num_agents=2):
    with open(log, "a") as file:
        file.write("made\\n")
    return make_env("MultiGrid-Empty-5x5-v0", num_agents, max_steps=20)
"""


def test_a_run_makes_its_environment_four_times_at_most(place: Workplace, cluster: Head) -> None:
    """Once to plan, once when RLlib builds the trial, and in the envs that are sampled."""
    place.write("counted_env.py", ENV)
    log = place.folder / "made.log"
    config = place.write_experiment(
        name="counted",
        env={"id": "counted_env:counted", "kwargs": {"max_steps": None, "log": str(log)}},
        resources={"sampler": "python", "num_envs_per_env_runner": 1},
    )
    cluster.tune(place, "--config", config).check()
    assert 2 <= len(log.read_text().splitlines()) <= 4
