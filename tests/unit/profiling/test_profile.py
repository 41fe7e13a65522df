"""Which settings are measured, and what is printed."""

from __future__ import annotations

import io
import json

import pytest

from empo_rllib.algorithms.setup import set_up_trial
from empo_rllib.config.load import load_config
from empo_rllib.console import PrintableConsole
from empo_rllib.profiling.arithmetic import Arithmetic
from empo_rllib.profiling.measure import ENV_RUNNER, TRIAL, Measured
from empo_rllib.profiling.profile import Profile, Tried
from empo_rllib.profiling.settings import Setting, settings_to_try
from empo_rllib.profiling.stopwatch import ProcessTimes
from empo_rllib.profiling.table import render_profile


def overrides(*changes: str, minibatch_size: int | None = 512, torch: bool = False, cpus: int = 2):
    setup = set_up_trial(load_config("tune_configs/ppo.yaml", changes))
    return [one.override for one in settings_to_try(setup, minibatch_size, torch, cpus)]


def test_more_envs_and_env_runners_and_larger_minibatches_are_tried():
    assert overrides() == [
        "resources.num_envs_per_env_runner=80",
        "resources.num_envs_per_env_runner=160",
        "resources.num_env_runners=1",
        "algorithm.params.minibatch_size=1024",
        "algorithm.params.minibatch_size=2048",
    ]


def test_what_is_there_already_is_not_tried():
    tried = overrides("resources.num_env_runners=1", minibatch_size=None, cpus=4)
    assert [one for one in tried if "runners" in one] == [
        "resources.num_env_runners=0",
        "resources.num_env_runners=3",
    ]
    assert not any("minibatch" in one for one in tried)


def test_a_sampler_that_was_set_is_compared_with_the_one_that_would_be_chosen():
    assert overrides("resources.sampler=python")[0] == "resources.sampler=auto"


def test_threads_are_tried_where_torch_trains():
    assert overrides(torch=True)[-1] == "algorithm.params.num_cpus_for_main_process=2"
    assert "num_cpus" not in overrides(torch=True, cpus=1)[-1]


def test_a_gpu_is_tried_where_there_is_one():
    setup = set_up_trial(load_config("tune_configs/ppo.yaml", []))
    tried = settings_to_try(setup, None, with_torch=False, cpus=1, other_gpus=1.0)
    assert tried[0].override == "resources.num_gpus_per_learner=1"
    assert tried[0].before == "auto"


PROFILE = Profile(
    name="named",
    sampler="python (why)",
    networks={"shared": "torch (memory)"},
    cpus=4,
    measured=Measured(
        iterations=10,
        seconds=2.0,
        env_steps=8000,
        processes={
            TRIAL: ProcessTimes(0.2, 0.1, {"backward": 0.05, "waiting": 0.15}),
            ENV_RUNNER: ProcessTimes(0.2, 0.15, {"acting": 0.15}),
        },
        counts={TRIAL: 1, ENV_RUNNER: 2},
        arithmetic=Arithmetic(flop=1e9, flop_per_s=50e9),
    ),
    again=3900.0,
    tried=(
        Tried(Setting("a.b", 2, 1, "other batches"), 8000.0),
        Tried(Setting("c.d", 9, 1), None, "c.d is at most 8."),
    ),
)


@pytest.fixture
def lines() -> list[str]:
    console = PrintableConsole(file=io.StringIO(), width=80)
    console.print(render_profile(PROFILE))
    return [" ".join(line.split()) for line in console.file.getvalue().splitlines()]


def test_phases_are_shown_of_each_kind_of_process(lines):
    assert "trial each of 2 env runners" in lines
    assert "acting 150.0 ms 75%" in lines
    assert "backward 50.0 ms 25%" in lines


def test_an_env_runner_that_is_not_asked_waits(lines):
    assert "waiting 150.0 ms 75% 50.0 ms 25%" in lines


def test_the_machine_is_described(lines):
    assert "cores 2.00 of 4 busy (trial 0.50, each of 2 env runners 1.50)" in lines
    assert any(line.startswith("products 20.0 ms at the 50 GFLOP/s of one core") for line in lines)


def test_other_settings_are_compared(lines):
    assert "a.b=2 (is 1) 8,000 2.00x" in lines
    assert "as it is, again 3,900 0.97x" in lines or "as it is, again 3,900 0.98x" in lines
    assert "a.b: also other batches" in lines
    assert "c.d=9 cannot be: c.d is at most 8." in lines


def test_json_has_all_of_it():
    found = json.loads(json.dumps(PROFILE.to_dict()))
    assert found["env_steps_per_s"] == 4000.0
    assert found["measured"]["processes"]["trial"]["phases"]["backward"] == 0.05
    assert [one["env_steps_per_s"] for one in found["tried"]] == [8000.0, None]
