"""Which settings differ, and what goes with them."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from scipy import stats
from sweeps import edit_summary, write_sweep

from empo_rllib.config.algorithms import ALGORITHMS
from empo_rllib.config.params import known_params
from empo_rllib.results.labels import label_of, short_names
from empo_rllib.results.report.runs import read_runs
from empo_rllib.results.report.sections.setup import build_setup
from empo_rllib.results.report.settings import (
    differing_keys,
    group_values,
    is_numeric,
    rank_correlation,
    samples_of,
)

LR = "algorithm.params.lr"


def test_only_what_differs_apart_from_seed_and_name_is_a_hyperparameter(tmp_path):
    folders = [
        write_sweep(tmp_path / "a"),
        write_sweep(tmp_path / "b", model={"hidden_sizes": [8]}, checkpoint={"frequency": 3}),
    ]

    metric, samples = samples_of(read_runs(folders))

    assert metric == "episode_return_mean"
    assert differing_keys(samples) == [LR, "model.hidden_sizes"]
    assert samples[0].label == "a/trial_00000"


def test_nothing_differs_between_seeds(tmp_path):
    runs = read_runs([write_sweep(tmp_path / "a", lrs=(0.1,))])

    assert differing_keys(samples_of(runs)[1]) == []


@pytest.mark.parametrize(("given", "values"), [(0.9, [0.9, 0.99]), (0.99, []), (1, [0.99, 1])])
def test_a_parameter_that_a_trial_does_not_set_has_its_default(tmp_path, given, values):
    """RLlib's default of gamma is 0.99."""
    params = {"lr": {"grid_search": [0.1]}, "gamma": given}
    folders = [
        write_sweep(tmp_path / "a", lrs=(0.1,)),
        write_sweep(tmp_path / "b", lrs=(0.1,), algorithm={"name": "PPO", "params": params}),
    ]
    samples = samples_of(read_runs(folders))[1]

    assert differing_keys(samples) == (["algorithm.params.gamma"] if values else [])
    assert is_numeric("algorithm.params.gamma", samples)
    groups = group_values("algorithm.params.gamma", samples)
    assert [group.value for group in groups] == (values or [0.99])


def test_zero_and_the_default_of_0_point_0_are_one_value(tmp_path):
    params = {"lr": {"grid_search": [0.1]}, "entropy_coeff": 0}
    folders = [
        write_sweep(tmp_path / "a", lrs=(0.1,)),
        write_sweep(tmp_path / "b", lrs=(0.1,), algorithm={"name": "PPO", "params": params}),
    ]

    assert differing_keys(samples_of(read_runs(folders))[1]) == []


def test_what_an_algorithm_or_a_trial_does_not_have_stays_a_category(tmp_path):
    dqn = {"name": "DQN", "params": {"lr": {"grid_search": [0.1]}, "epsilon": 0.1}}
    kwargs = {"id": "MultiGrid-Empty-5x5-v0", "num_agents": 2, "kwargs": {"max_steps": 50}}
    folders = [
        write_sweep(tmp_path / "a", lrs=(0.1,)),
        write_sweep(tmp_path / "b", lrs=(0.1,), algorithm=dqn),
        write_sweep(tmp_path / "c", lrs=(0.1,), env=kwargs),
    ]
    samples = samples_of(read_runs(folders))[1]

    def values(key):
        return [group.value for group in group_values(key, samples)]

    assert values("algorithm.params.epsilon") == [0.1, "–"]
    assert values("env.kwargs.max_steps") == [50, "default"]


def test_every_default_of_rllib_is_known():
    """The table has null for a default that JSON cannot hold; every such parameter takes null."""
    params = [param for name in ALGORITHMS for param in known_params(name).values()]

    assert all(param.default is not None or "null" in param.kinds for param in params)


def test_scores_by_value_are_those_of_its_trials_in_ascending_order(tmp_path):
    runs = read_runs([write_sweep(tmp_path / "a", lrs=(0.01, 0.001))])

    groups = group_values(LR, samples_of(runs)[1])

    assert [group.value for group in groups] == [0.001, 0.01]
    assert [group.estimate.n for group in groups] == [3, 3]
    assert [group.estimate.mean for group in groups] == pytest.approx([0.11, 1.01])


def test_the_rank_correlation_is_spearmans(tmp_path):
    runs = read_runs([write_sweep(tmp_path / "a", lrs=(0.001, 0.002, 0.003, 0.01))])
    samples = samples_of(runs)[1]
    lrs = [sample.settings[LR] for sample in samples]
    scores = [sample.score for sample in samples]

    expected = stats.spearmanr(lrs, scores).statistic
    assert rank_correlation(LR, samples) == pytest.approx(expected)
    assert 0 < expected < 1


def test_equal_scores_and_few_trials_have_no_correlation(sweep_run):
    samples = samples_of([sweep_run])[1]

    assert math.isnan(rank_correlation(LR, [replace(s, score=1.0) for s in samples]))
    assert math.isnan(rank_correlation(LR, samples[:3]))


def test_runs_of_different_metrics_are_compared_by_their_return(tmp_path):
    folders = [write_sweep(tmp_path / "a"), write_sweep(tmp_path / "b")]

    def measure(content):
        content["metric"] = "success_rate"
        for trial in content["trials"]:
            trial["metric"] = 77.0

    edit_summary(folders[1], measure)
    metric, samples = samples_of(read_runs(folders))

    assert metric == "episode_return_mean"
    assert max(sample.score for sample in samples) == pytest.approx(1.02)


def test_keys_are_shortened_as_far_as_they_still_differ():
    names = short_names(["algorithm.params.lr", "model.kwargs.size", "stop.env_steps"])

    assert list(names.values()) == ["lr", "kwargs.size", "stop.env_steps"]
    names = short_names(["algorithm.params.size", "env.kwargs.size"])
    assert list(names.values()) == ["algorithm.params.size", "env.kwargs.size"]
    assert label_of({"algorithm.params.lr": 0.0005, "model.shared_trunk": True}) == (
        "lr 0.0005, shared_trunk true"
    )


def test_what_differs_between_runs_is_a_table_with_the_values_of_each(tmp_path):
    dqn = {"name": "DQN", "params": {"lr": {"grid_search": [0.001]}}}
    folders = [
        write_sweep(tmp_path / "ppo", lrs=(0.001, 0.01)),
        write_sweep(tmp_path / "dqn", lrs=(0.001,), algorithm=dqn, stop={"env_steps": 500}),
    ]

    parts = build_setup(read_runs(folders)).parts

    found = {row[0].text: [cell.text for cell in row[1:]] for row in parts[1].rows}
    assert found["algorithm.name"] == ["PPO", "DQN"]
    assert found["algorithm.params.lr"] == ["0.001, 0.01", "0.001"]
    assert found["stop.env_steps"] == ["200,000", "500"]
    assert not [key for key in found if key.startswith(("name", "seed"))]


def test_of_runs_with_the_same_settings_nothing_differs(tmp_path):
    runs = read_runs([write_sweep(tmp_path / name) for name in ("one", "other")])

    assert "settings of the runs are the same" in build_setup(runs).parts[1].text
