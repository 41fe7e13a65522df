"""`python -m empo_rllib profile`, on each sampler and in each kind of process."""

from __future__ import annotations

import json
import signal

import pytest
from commands import PYTHON, Outcome, Running, Workplace

SHORT = ("--seconds", "1")


@pytest.fixture(scope="module")
def profiled(place: Workplace) -> dict:
    """Of the sampler `python`, with an env runner of its own."""
    resources = {"num_env_runners": 1, "sampler": "python"}
    file = place.write_experiment(name="profiled", resources=resources)
    outcome = place.shell("profile", file, "--no-settings", "--json", *SHORT).check()
    return json.loads(outcome.stdout)


def test_the_time_of_the_trial_is_all_accounted_for(profiled):
    measured = profiled["measured"]
    times = measured["processes"]["trial"]
    assert sum(times["phases"].values()) == pytest.approx(times["wall_s"], rel=0.05)
    assert times["wall_s"] * measured["iterations"] == pytest.approx(measured["seconds"], rel=0.05)
    rate = measured["env_steps"] / measured["seconds"]
    assert profiled["env_steps_per_s"] == pytest.approx(rate)


def test_each_process_does_its_part(profiled):
    processes = profiled["measured"]["processes"]
    found = {
        kind: {phase for phase, seconds in times["phases"].items() if seconds > 0}
        for kind, times in processes.items()
    }
    sampling, learning = {"environments", "acting", "storing"}, {"batches", "update in kernels"}
    assert found["env runner"] >= sampling
    assert found["trial"] >= learning | {"waiting"}
    assert not found["env runner"] & learning
    assert not found["trial"] & sampling
    assert profiled["measured"]["counts"] == {"trial": 1, "env runner": 1}


def test_nothing_is_kept(profiled, place):
    assert not (place.folder / "results").exists()


@pytest.fixture(scope="module")
def compared(place: Workplace) -> Outcome:
    """Of RLlib's own path, with other settings."""
    file = place.write_experiment(name="compared", resources={"sampler": "rllib"})
    return place.shell("profile", file, *SHORT).check()


def test_rllibs_own_path_is_taken_apart(compared):
    for phase in ("environments", "acting", "connectors", "storing", "forward", "optimiser"):
        assert f"\n  {phase}" in compared.stdout


def test_other_settings_are_measured_or_refused_with_the_reason(compared):
    assert "resources.sampler=auto (is rllib)" in compared.stdout
    assert "as it is, again" in compared.stdout
    assert "Traceback" not in compared.output


def test_a_signal_ends_it_without_a_word_and_nothing_stays(place):
    file = place.write_experiment(name="interrupted")
    command = [PYTHON, "-m", "empo_rllib", "profile", str(file), "--seconds", "600"]
    running = Running(command, place.folder, place.env)
    running.wait_until(
        lambda: any("ray::MeasuredTrial" in what for what in place.processes().values()),
        "a trial that is measured",
    )
    running.process.send_signal(signal.SIGINT)
    outcome = running.wait().check(130)
    assert outcome.stdout == ""
    assert "Traceback" not in outcome.stderr
    assert not place.wait_for_quiet()
    assert not place.cluster_folders()


def test_what_breaks_is_one_message(place):
    place.write(
        "tired.py",
        """
from multigrid.envs.empty import EmptyEnv


class Tired(EmptyEnv):
    def step(self, actions):
        raise RuntimeError("I am tired")
""",
    )
    file = place.write_experiment(name="tired", env={"id": "tired:Tired"})
    outcome = place.shell("profile", file, "--no-settings", *SHORT).check(1)
    assert "I am tired" in outcome.stderr
    assert outcome.stdout == ""
