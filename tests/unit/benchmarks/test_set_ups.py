"""What is measured is what the report says: scenarios, studies, the network, the document."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest
import torch

from benchmarks import report
from benchmarks.measure import Stopwatch
from benchmarks.scenarios import load_scenarios
from benchmarks.stock import stock
from benchmarks.studies import curve_studies, time_study
from benchmarks.time_to_return import result_file
from benchmarks.upstream_cnn import UpstreamCNN
from empo_rllib.config.schema import ExperimentConfig
from empo_rllib.envs.registry import make_env

load_scenarios = functools.cache(load_scenarios)


@pytest.mark.parametrize("name", load_scenarios())
def test_every_bar_is_about_set_ups_that_are_measured(name):
    scenario = load_scenarios()[name]
    for bar in scenario.bars:
        assert bar.figure[0] in scenario.tasks
        assert bar.against is None or bar.against[0] in scenario.tasks
        assert (bar.at_least is None) != (bar.at_most is None)


@pytest.mark.parametrize("name", load_scenarios())
def test_every_set_up_is_an_experiment_on_one_path(name):
    for setup, task in load_scenarios()[name].tasks.items():
        resources = ExperimentConfig.model_validate(task.experiment).resources
        expected = {"stock": "rllib", "python": "python"}.get(
            setup.split()[0].strip(","), "batched"
        )
        assert resources.sampler == expected
        assert (resources.num_env_runners, resources.num_learners) == (0, 0)


def test_stock_differs_in_the_sampler_and_the_number_of_envs_only():
    ours = load_scenarios()["empty-8x8"].tasks["batched"].experiment
    theirs = stock(ours, 8)
    assert {key for key in ours if ours[key] != theirs[key]} == {"resources"}
    resources = ours["resources"]
    assert {**resources, "sampler": "rllib", "num_envs_per_env_runner": 8} == theirs["resources"]


def test_a_limited_scenario_runs_no_further():
    scenario = load_scenarios()["convergence"].limited(3, torch_threads=2)
    assert scenario.window == (2, 3)
    assert {task.iterations_after_stop for task in scenario.tasks.values()} == {2}
    assert {task.torch_threads for task in scenario.tasks.values()} == {2}


def test_curves_are_compared_at_the_same_number_of_envs():
    for study in curve_studies(20_000).values():
        numbers = {e["resources"]["num_envs_per_env_runner"] for e in study.experiments.values()}
        assert numbers == {40}
        assert {e["stop"]["env_steps"] for e in study.experiments.values()} == {20_000}


def test_every_run_of_a_study_has_a_file_of_its_own():
    study = time_study()
    files = {result_file(Path(), setup, seed) for setup in study.experiments for seed in range(5)}
    assert len(files) == 5 * len(study.experiments)
    assert study.task("batched, 40 envs", 3).experiment["seed"] == 3


def test_the_upstream_cnn_shares_nothing_between_actor_and_critic():
    env = make_env("MultiGrid-Empty-8x8-v0", 2)
    space = env.observation_space("agent_0")
    module = UpstreamCNN(
        observation_space=space, action_space=env.action_space("agent_0"), model_config={}
    )
    observation = {
        key: torch.as_tensor(space[key].sample())[None] for key in ("image", "direction")
    }
    outputs = module.forward_train({"obs": observation})
    assert outputs["action_dist_inputs"].shape == (1, 7)
    assert module.compute_values({"obs": observation}).shape == (1,)
    # 3x3 convolutions from 23 channels to 64, a hidden layer of 64, 7 actions or one value.
    tower = 9 * (23 * 16 + 16 * 32 + 32 * 64) + (16 + 32 + 64) + 64 * 64 + 64
    heads = 64 * 7 + 7 + 64 * 1 + 1
    assert sum(p.numel() for p in module.parameters()) == 2 * tower + heads
    module.compute_values({"obs": observation}).sum().backward()
    assert all(p.grad is None for p in module.actor.parameters())


def test_a_stopwatch_times_one_object_and_passes_results_on():
    class Slow:
        def work(self, number: int) -> int:
            return number + 1

    slow, other = Slow(), Slow()
    watch = Stopwatch(slow, "work")
    assert (slow.work(number=1), other.work(1)) == (2, 2)
    assert watch.take() > 0
    assert watch.take() == 0


def test_every_result_has_its_place_in_the_document():
    text = report.DOCUMENT.read_text()
    names = [f"throughput:{name}" for name in load_scenarios()] + ["time-to-return", "curves"]
    for name in names:
        filled = report.fill(text, name, "| new |")
        assert f"<!-- {name} -->\n| new |\n<!-- end -->" in filled


def test_a_result_without_a_place_is_refused():
    with pytest.raises(ValueError, match="'nowhere'"):
        report.fill("no blocks", "nowhere", "")
