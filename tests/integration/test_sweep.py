"""Several trials: a grid with two seeds, two trials at a time, the worse ones stopped by ASHA."""

from __future__ import annotations

import pytest
from commands import TINY, Outcome, Run, Trial, Workplace, merge, snapshot
from ray_head import Head

from empo_rllib.algorithms.setup import set_up_trial
from empo_rllib.config.load import validate_config
from empo_rllib.experiment.cluster import running_cluster
from empo_rllib.experiment.trial import ExperimentTrial, TrialTask

# Whoever may walk for longer does: the metric tells the two kinds of trials apart for certain.
SHORT, LONG = 4, 40
GRACE = 300
CONFIG = {
    "name": "sweep",
    "seed": 3,
    "env": {"kwargs": {"max_steps": {"grid_search": [SHORT, LONG]}}},
    # ASHA waits for full windows of episodes.
    "algorithm": {"params": {"metrics_num_episodes_for_smoothing": 5}},
    "stop": {"env_steps": 2000},
    "tune": {
        "num_samples": 2,
        "max_concurrent": 2,
        "metric": "episode_length_mean",
        "mode": "min",
        "scheduler": {"asha": {"grace_period": GRACE, "reduction_factor": 2}},
    },
    "checkpoint": {"frequency": 1000},
}


@pytest.fixture(scope="module")
def outcome(place: Workplace, cluster: Head) -> Outcome:
    return cluster.tune(place, "--config", place.write_experiment(**CONFIG)).check()


@pytest.fixture(scope="module")
def run(outcome: Outcome, place: Workplace) -> Run:
    return place.run("sweep")


def test_each_grid_point_runs_with_each_seed(run):
    trials = {
        (trial["params"]["env.kwargs.max_steps"], trial["seed"]) for trial in run.summary["trials"]
    }
    assert trials == {(SHORT, 3), (LONG, 3), (SHORT, 4), (LONG, 4)}


def test_asha_stops_worse_trials_early_and_says_so(run):
    stopped = [trial for trial in run.summary["trials"] if trial["status"] == "stopped"]
    assert stopped
    for trial in stopped:
        assert trial["params"]["env.kwargs.max_steps"] == LONG
        assert GRACE <= trial["env_steps"] < 2000
        assert trial["stop_reason"] == f"stopped by ASHA at {trial['env_steps']:,} env steps"
    assert run.summary["status"] == "finished"


def test_a_stopped_trial_is_saved(run):
    for number, trial in enumerate(run.summary["trials"]):
        assert run.trial(number).counters()["env_steps"] == trial["env_steps"]


def test_the_best_trial_is_one_of_the_short_ones(run, outcome):
    summary = run.summary
    best = next(t for t in summary["trials"] if t["trial_id"] == summary["best_trial"])
    assert best["params"]["env.kwargs.max_steps"] == SHORT
    assert best["metric"] == min(trial["metric"] for trial in summary["trials"])
    assert f"best trial   {summary['best_trial']} (env_steps" in outcome.stdout
    assert f"best episode_length_mean  {best['metric']:.4f}" in outcome.stdout


def test_groups_join_the_seeds_of_each_grid_point(run):
    groups = run.summary["groups"]
    assert [group["params"] for group in groups] == [
        {"env.kwargs.max_steps": SHORT},
        {"env.kwargs.max_steps": LONG},
    ]
    returns = {t["trial_id"]: t["episode_return_mean"] for t in run.summary["trials"]}
    for group in groups:
        members = [returns[trial_id] for trial_id in group["trials"]]
        assert group["n"] == len(members) == 2
        assert group["mean"] == pytest.approx(sum(members) / 2)
        assert group["interval_95"][0] <= group["mean"] <= group["interval_95"][1]


def test_algorithms_are_compared_in_one_file(place, cluster):
    algorithm = {
        "name": {"grid_search": ["PPO", "DQN"]},
        "params": {
            "train_batch_size_per_learner": 128,
            "min_sample_timesteps_per_iteration": 100,
            "minibatch_size": None,
            "num_epochs": None,
            "metrics_num_episodes_for_smoothing": 2,
        },
    }
    tune = {"metric": ["episode_length_mean", "env_steps_per_s"], "mode": ["min", "max"]}
    file = place.write_experiment(
        name="algorithms", algorithm=algorithm, stop={"env_steps": 200}, tune=tune
    )
    outcome = cluster.tune(place, "--config", file).check()
    summary = place.run("algorithms").summary
    scores = {trial["trial_id"]: trial["scores"] for trial in summary["trials"]}
    fastest = max(scores, key=lambda one: scores[one]["env_steps_per_s"])
    assert fastest in summary["pareto_front"]
    assert f"Pareto front {', '.join(summary['pareto_front'])} (episode_length_mean min" in (
        outcome.stdout
    )
    assert summary["sampler"] == "batched, rllib"
    assert [trial["status"] for trial in summary["trials"]] == ["finished", "finished"]
    names = [{"algorithm.name": "PPO"}, {"algorithm.name": "DQN"}]
    assert [group["params"] for group in summary["groups"]] == names
    evaluated = place.type("evaluate", "results/algorithms", "--episodes", 2).check().stdout
    for number, name in enumerate(["PPO", "DQN"]):
        assert f"trial_0000{number}: algorithm" in evaluated
        assert name in evaluated


# Says in which process a trial is trained; the trial with seed 1 breaks.
WITNESS = """
import os
from ray.rllib.callbacks.callbacks import RLlibCallback


class Witness(RLlibCallback):
    def on_algorithm_init(self, *, metrics_logger, **kwargs):
        metrics_logger.log_value("process", os.getpid(), window=1)

    def on_train_result(self, *, algorithm, **kwargs):
        if algorithm.config.seed == 1 and algorithm.iteration == 2:
            raise ValueError("this trial breaks")
"""
OF_THE_CLOCK = {"timestamp", "time_s", "env_steps_per_s", "time/sample_s", "time/learn_s"}


def test_trials_follow_each_other_in_a_process_and_train_as_alone(place, cluster):
    """But for one that follows a trial that failed: what broke there stays there."""
    place.write("witness.py", WITNESS)

    def train(name: str, seed: object) -> Run:
        file = place.write_experiment(
            name=name,
            seed=seed,
            algorithm={"callbacks": ["witness:Witness"]},
            tune={"max_concurrent": 1, "max_failures": 0},
        )
        cluster.tune(place, "--config", file)
        return place.run(name)

    swept, alone = train("swept", {"grid_search": [0, 2, 1, 3]}), train("alone", 2)
    statuses = [trial["status"] for trial in swept.summary["trials"]]
    assert statuses == ["finished", "finished", "failed", "finished"]
    pids = [swept.trial(number).column("custom/process")[0] for number in range(4)]
    assert pids[0] == pids[1] == pids[2] != pids[3]
    rows = zip(swept.trial(1).rows(), alone.trial(0).rows(), strict=True)
    differing = {key for one, other in rows for key in one if one[key] != other[key]}
    assert differing <= OF_THE_CLOCK | {"custom/process"}


@pytest.mark.filterwarnings("ignore:.*Overriding environment")
def test_a_process_that_is_ended_before_its_first_step_changes_no_file(place, cluster, tmp_path):
    """Tune has asked for it, and gave its trial to one that became free meanwhile."""
    config = validate_config(merge(TINY, {"checkpoint": {"frequency": 100}}))
    task = TrialTask("trial_00000", tmp_path / "trial_00000", set_up_trial(config), 0.0)
    with place._in_this_process(cluster.env), running_cluster(cluster.address):
        trial = ExperimentTrial({"task": task})
        trial.step()
        trial.step()
        before = snapshot(task.folder)
        ExperimentTrial({"task": task}).cleanup()
        assert snapshot(task.folder) == before
        trial.step()
        trial.cleanup()
    assert Trial(task.folder).column("training_iteration") == [1, 2, 3]
    assert [step for step, _ in Trial(task.folder).scalars()["time_s"]] == [100, 200, 300]
