"""An environment that raises ends its trial with its own traceback, shown once."""

from __future__ import annotations

import pytest
from commands import Outcome, Run, Workplace
from ray_head import Head
from repository import wait_until

# A fault that no restart cures: it comes back in every attempt.
ENV = '''
from empo_rllib import make_env


class DoorIsStuckError(Exception):
    """The user's own."""


def stuck(fails_in, num_agents=2):
    env = make_env("MultiGrid-Empty-5x5-v0", num_agents, max_steps=20)
    if fails_in == "reset":
        env.reset = push_the_door
    if fails_in == "step":
        env.step = push_the_door
    if fails_in == "reward":
        step = env.step
        env.step = lambda actions: with_nan(*step(actions))
    return env


def with_nan(seen, rewards, *ends):
    return seen, dict.fromkeys(rewards, float("nan")), *ends


def push_the_door(*args, **kwargs):
    raise DoorIsStuckError("it opens to the other side")
'''
CONFIG = {
    "env": {
        "id": "stuck_env:stuck",
        "kwargs": {"max_steps": None, "fails_in": {"grid_search": ["reset", "step", "reward"]}},
    }
}
# In the trial's own process it is tried again, with an env runner process of its own not.
MAX_FAILURES = {0: 1, 1: 0}
TRACEBACK = "Traceback (most recent call last):"
LAST_LINE = "stuck_env.DoorIsStuckError: it opens to the other side"


@pytest.fixture(scope="module", params=[0, 1], ids=["local", "remote"])
def num_env_runners(request: pytest.FixtureRequest) -> int:
    return request.param


@pytest.fixture(scope="module")
def run(place: Workplace, num_env_runners: int) -> Run:
    return place.run(f"stuck-{num_env_runners}")


@pytest.fixture(scope="module")
def outcome(place: Workplace, own_cluster: Head, run: Run, num_env_runners: int) -> Outcome:
    place.write("stuck_env.py", ENV)
    config = place.write_experiment(
        **CONFIG,
        name=run.folder.name,
        resources={"num_env_runners": num_env_runners},
        tune={"max_failures": MAX_FAILURES[num_env_runners]},
    )
    if num_env_runners:
        return own_cluster.tune(place, "--config", config)
    return place.tune("--config", config)


def test_the_exit_code_says_that_a_trial_failed(outcome):
    outcome.check(1)
    assert "status       failed" in outcome.stdout


def test_each_traceback_is_the_environments_own_and_shown_once(outcome):
    # Two trials raised: one in reset, one in step.
    assert outcome.output.count(TRACEBACK) == 2
    assert outcome.output.count('raise DoorIsStuckError("it opens to the other side")') == 2
    for number, method in enumerate(("reset", "step")):
        heading = f"trial_{number:05d} failed:\nthe environment raised in {method}():\n{TRACEBACK}"
        assert outcome.stdout.count(heading) == 1


def test_of_a_wrong_number_one_line_names_env_copy_agent_and_step(outcome):
    line = "MultiGrid-Empty-5x5-v0 (copy 0): agent agent_0, episode step 1: the reward is NaN."
    assert f"trial_00002 failed:\n{line}\n" in outcome.stdout


def test_a_trial_is_tried_again_as_often_as_asked(outcome, num_env_runners):
    for number in range(2):
        again = f"trial_{number:05d} failed ({LAST_LINE}); it goes on from its last checkpoint"
        assert outcome.stderr.count(again) == MAX_FAILURES[num_env_runners], outcome.stderr


def test_the_summary_holds_what_was_raised(outcome, run):
    summary = run.summary
    assert summary["status"] == "failed"
    assert summary["best_trial"] is None
    for trial in summary["trials"]:
        assert trial["status"] == "failed"
        assert trial["error"].rstrip().endswith((LAST_LINE, "the reward is NaN."))


def test_no_process_stays_after_a_failure(outcome, place, own_cluster):
    assert not place.wait_for_quiet()
    assert not place.cluster_folders()
    actors = ("ray::ExperimentTrial", "ray::FragmentEnvRunner")
    processes = own_cluster.place.processes
    wait_until(
        lambda: not any(text.startswith(actors) for text in processes().values()),
        "the end of the trials' processes",
    )
