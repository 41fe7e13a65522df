"""Every experiment in `tune_configs/` and `examples/` can be planned, and says what to expect."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import ray

from empo_rllib.config.algorithms import ALGORITHMS
from empo_rllib.config.load import load_config
from empo_rllib.config.schema import ExperimentConfig
from empo_rllib.experiment.plan import plan_trials, trial_resources

FOLDER = Path(__file__).parents[2] / "tune_configs"
EXAMPLES = FOLDER.with_name("examples")
FILES = sorted([*FOLDER.glob("*.yaml"), *EXAMPLES.glob("*.yaml")])
NAMES = {path.stem for path in FILES}


def experiment(name: str) -> ExperimentConfig:
    return load_config(FOLDER / f"{name}.yaml")


def test_the_promised_experiments_are_there() -> None:
    assert {
        "smoke",
        "ppo",
        "ppo_shared",
        "ppo_coop",
        "ppo_red_blue_doors",
        "ppo_sweep",
        "pettingzoo",
    } <= NAMES


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_an_experiment_can_be_planned_and_runs_on_two_cores_without_a_gpu(path: Path) -> None:
    planned = plan_trials(load_config(path))
    assert planned
    needed = trial_resources(planned, 0.0)
    assert needed["CPU"] <= 2
    assert needed.get("GPU", 0) == 0
    assert not ray.is_initialized()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_an_experiment_starts_with_what_to_expect(path: Path) -> None:
    lines = path.read_text().splitlines()
    comments = [line for line in lines[1:] if line.startswith("#")]
    assert lines[1 : len(comments) + 1] == comments, "the comments must come first"
    text = " ".join(comment.removeprefix("#") for comment in comments)
    assert re.search(r"Expect .*\d|about \d+ (s|minutes)\b", text)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_an_experiment_writes_to_results_and_nowhere_else(path: Path) -> None:
    config = load_config(path)
    assert config.storage_path == "results"
    assert config.logging.wandb is None


def test_no_two_experiments_write_to_the_same_folder() -> None:
    assert len({load_config(path).name for path in FILES}) == len(FILES)


def test_every_algorithm_has_an_experiment() -> None:
    assert {load_config(path).algorithm.name for path in FILES} == set(ALGORITHMS)
    for algorithm in ALGORITHMS:
        assert experiment(algorithm.lower()).algorithm.name == algorithm


def test_the_main_job_is_two_agents_who_must_both_arrive_in_an_empty_room() -> None:
    config = experiment("ppo")
    assert (config.env.id, config.env.num_agents) == ("MultiGrid-Empty-8x8-v0", 2)
    assert config.env.kwargs == {"success_termination_mode": "all"}
    assert config.policies == "independent"
    assert config.stop.episode_return_mean == 1.9


def test_one_experiment_shares_a_policy() -> None:
    assert experiment("ppo_shared").policies == "shared"


def test_in_the_cooperative_experiment_each_arrival_rewards_both() -> None:
    config = experiment("ppo_coop")
    assert config.env.kwargs["success_termination_mode"] == "all"
    assert config.env.kwargs["joint_reward"] is True
    assert config.policies == "independent"


def test_the_doors_are_opened_for_a_joint_reward() -> None:
    config = experiment("ppo_red_blue_doors")
    assert config.env.id == "MultiGrid-RedBlueDoors-6x6-v0"
    assert config.env.kwargs["joint_reward"] is True


def test_the_sweep_is_asha_over_learning_rate_and_entropy() -> None:
    config = experiment("ppo_sweep")
    assert "asha" in config.to_dict()["tune"]["scheduler"]
    trials = plan_trials(config)
    assert len({trial.spec.params["algorithm.params.lr"] for trial in trials}) > 1
    assert len({trial.spec.params["algorithm.params.entropy_coeff"] for trial in trials}) > 1


def test_one_experiment_is_on_a_third_partys_environment() -> None:
    assert not experiment("pettingzoo").env.id.startswith("MultiGrid-")
