"""An environment that does not return is named, and Ctrl-C then ends the run at once."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from commands import Outcome, Run, Workplace

# A second stands for the minute after which a call is reported; but only of the one call: on a busy
# machine others take as long.
ENV = """
import time

from empo_rllib import make_env
from empo_rllib.envs import slow_calls


def sleepy(num_agents=2):
    env = make_env("MultiGrid-Empty-5x5-v0", num_agents, max_steps=20)
    step, steps = env.step, iter(range(100))

    def step_until_tired(actions):
        if next(steps) == 50:
            slow_calls.REPORT_AFTER_S = 1.0
            time.sleep(100_000)
        return step(actions)

    env.step = step_until_tired
    return env
"""


@dataclass(frozen=True)
class Ended:
    """A run that was ended by Ctrl-C, after its environment had been reported."""

    run: Run
    outcome: Outcome
    processes: dict[int, str]


@pytest.fixture(scope="module", params=[0, 1], ids=["local", "remote"])
def ended(place: Workplace, request: pytest.FixtureRequest) -> Ended:
    place.write("sleepy_env.py", ENV)
    run = place.run(f"sleepy-{request.param}")
    config = place.write_experiment(
        name=run.folder.name,
        env={"id": "sleepy_env:sleepy", "kwargs": {"max_steps": None}},
        resources={"num_env_runners": request.param},
        checkpoint={"grace_s": 100_000},
    )
    running = place.start("--config", config)
    running.wait_until(lambda: "step() has not returned" in running.stderr, "the call was reported")
    running.ctrl_c()
    return Ended(run, running.wait(), place.wait_for_quiet())


def test_the_environment_and_the_call_are_named(ended):
    line = "trial_00000: sleepy_env:sleepy: step() has not returned for "
    assert line in ended.outcome.stderr
    assert line in (ended.run.folder / "slow_env_calls.txt").read_text()


def test_ctrl_c_does_not_wait_for_the_environment(ended):
    assert ended.outcome.code == 75, ended.outcome.output
    assert "environments do not return" in ended.outcome.stderr
    assert not ended.processes


def test_what_was_saved_stays(ended):
    assert ended.run.summary["status"] == "interrupted"
    assert ended.run.summary["trials"][0]["checkpoint"] == "trial_00000/checkpoint_000002"
    assert ended.run.trial().iterations() == [1, 2]
