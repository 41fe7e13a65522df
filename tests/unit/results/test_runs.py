"""Several runs by one protocol, and their groups."""

from __future__ import annotations

import io
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

import empo_rllib
from empo_rllib.acting.episodes import FinishedEpisode
from empo_rllib.config.schema import ExperimentConfig
from empo_rllib.errors import ConfigError
from empo_rllib.experiment.run_folder import locate
from empo_rllib.results.evaluate import evaluate_runs
from empo_rllib.results.evaluation import (
    Protocol,
    RandomReference,
    References,
    Source,
    build_result,
    references_by_env,
)
from empo_rllib.results.find import run_names
from empo_rllib.results.runs import RunsEvaluation, group_results, normalised_return
from empo_rllib.results.settings import with_settings
from empo_rllib.results.table import render_runs
from empo_rllib.statistics import estimate, share_interval, stratified_estimate

pytestmark = pytest.mark.filterwarnings("ignore")  # RLlib warns about its own parts


def config_of(seed, env="MultiGrid-Empty-5x5-v0", lr=1.0e-3):
    return ExperimentConfig.model_validate(
        {
            "name": f"seed-{seed}",
            "seed": seed,
            "env": {"id": env},
            "algorithm": {"name": "PPO", "params": {"lr": lr}},
        }
    )


def result_of(config, returns=(0.5, 0.7), optimum=0.9):
    episodes = [FinishedEpisode(i, {"a": r}, {"a": 4}, 4, r > 0) for i, r in enumerate(returns)]
    env = {"id": config.env.id, "num_agents": None, "kwargs": {}}
    zero = estimate([0.1])
    references = References(RandomReference(1, zero, zero, 0.0), optimum)
    source = Source(config.name, "run", "trial_00000", config.seed)
    protocol = Protocol("checkpoint", env, len(episodes), 0, True)
    return build_result(protocol, episodes, {"a": "a"}, references, source)


def group(*configs, **arguments):
    return group_results([result_of(config, **arguments) for config in configs], configs)


def table_of(results, groups):
    console = Console(width=80, record=True, file=io.StringIO(), highlight=False)
    console.print(render_runs(RunsEvaluation(results, groups)))
    return console.export_text()


def test_runs_that_differ_only_in_the_seed_are_a_group():
    (found,) = group(*map(config_of, range(3)))

    assert found.names == ("seed-0", "seed-1", "seed-2")
    assert found.episode_return.n == 3
    assert found.episode_return.interquartile_mean == pytest.approx(0.6)
    assert found.normalised_return.mean == pytest.approx((0.6 - 0.1) / 0.8)
    assert found.success_rate.mean == 1.0
    assert found.policy_return["a"] == found.episode_return


def test_other_settings_and_equal_seeds_are_no_group():
    assert group(config_of(0), config_of(1, lr=2.0e-3)) == []
    assert group(config_of(0), config_of(0)) == []
    assert group(config_of(0)) == []


def test_seeds_in_several_environments_are_strata_of_one_group_more():
    configs = [
        config_of(seed, f"MultiGrid-Empty-{n}-v0") for n in ("5x5", "6x6") for seed in (0, 1)
    ]

    *within, across = group(*configs)

    assert [one.num_envs for one in within] == [1, 1]
    assert (across.num_envs, across.normalised_return.n) == (2, 4)
    assert across.episode_return is None  # their returns have no common scale
    assert group(*configs, optimum=None)[-1].normalised_return is None


def test_runs_trained_in_several_environments_are_no_seeds_where_one_is_played_in():
    """`--set env.id=...` makes the environments of evaluation equal, not those of training."""
    configs = [
        config_of(seed, f"MultiGrid-Empty-{n}-v0")
        for seed, n in enumerate(("5x5", "6x6", "5x5", "6x6"))
    ]
    played = result_of(config_of(0))
    results = [
        replace(played, source=replace(played.source, name=config.name)) for config in configs
    ]

    assert [group.names for group in group_results(results, configs)] == [
        ("seed-0", "seed-2"),
        ("seed-1", "seed-3"),
    ]


def test_normalised_return_is_0_for_chance_and_1_for_the_optimum():
    assert normalised_return(result_of(config_of(0), [0.1])) == pytest.approx(0.0)
    assert normalised_return(result_of(config_of(0), [0.9])) == pytest.approx(1.0)
    assert normalised_return(result_of(config_of(0), optimum=None)) is None


def test_stratified_interval_resamples_within_each_stratum():
    """Strata far apart: resampling over all runs would give an interval as wide as their gap."""
    rng = np.random.default_rng(1)
    low, high = rng.normal(0.0, 0.1, 10), rng.normal(10.0, 0.1, 10)

    found = stratified_estimate([low, high])

    assert found.n == 20
    assert found.high - found.low < 0.5
    means = []
    for _ in range(4000):
        drawn = np.concatenate([rng.choice(low, 10), rng.choice(high, 10)])
        means.append(np.sort(drawn)[5:15].mean())
    expected = np.quantile(means, [0.025, 0.975])
    assert (found.low, found.high) == pytest.approx(tuple(expected), abs=0.02)


def test_stratified_interval_of_one_stratum_is_the_bootstrap_over_runs():
    scores = [0.2, 0.9, 0.8, 0.85, 0.95, 0.7]
    found = stratified_estimate([scores])
    assert found.interquartile_mean == pytest.approx(np.mean([0.8, 0.85, 0.9, 0.7]))
    assert found.low < found.interquartile_mean < found.high
    assert stratified_estimate([scores[::-1]]) == found
    assert stratified_estimate([[0.5]]).low is None
    with pytest.raises(ValueError, match="at least one"):
        stratified_estimate([[]])


def test_share_interval_is_wilsons():
    p, n, z = 0.9, 50, 1.959964
    middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    assert share_interval(45, 50) == pytest.approx((middle - half, middle + half), abs=1e-6)
    assert share_interval(100, 100)[0] == pytest.approx(0.963, abs=1e-3)


def test_the_table_has_a_row_for_each_run_and_group_in_80_columns():
    configs = [config_of(seed) for seed in range(3)]
    results = [result_of(config) for config in configs]

    text = table_of(results, group_results(results, configs))

    for row in ("seed-0", "seed-2", "3 seeds", "random policy", "optimum"):
        assert any(line.startswith(row) for line in text.splitlines())
    assert max(map(len, text.splitlines())) <= 80


def test_runs_of_the_same_seed_are_told_not_to_be_joined(run_folder):
    twice = evaluate_runs([run_folder, run_folder], episodes=2)
    assert twice.groups == []
    shown = io.StringIO()
    Console(file=shown, width=100).print(render_runs(twice))
    assert "the same seed are no sample of seeds, and are not joined" in shown.getvalue()


def test_references_are_told_apart_by_what_differs():
    one = result_of(config_of(0))
    other = result_of(config_of(0, "MultiGrid-Empty-8x8-v0"))
    small = {**other.protocol.env, "kwargs": {"size": 6}}
    third = replace(other, protocol=replace(other.protocol, env=small))
    assert [where for where, _ in references_by_env([one, one])] == [""]
    assert [where for where, _ in references_by_env([one, other, third])] == [
        " in MultiGrid-Empty-5x5-v0",
        " in MultiGrid-Empty-8x8-v0 with num_agents None",
        " in MultiGrid-Empty-8x8-v0 with num_agents None, size 6",
    ]


def test_names_hold_as_much_of_the_path_as_tells_runs_apart(run_folder, tmp_path):
    one = locate(run_folder)
    other = locate(shutil.copytree(run_folder, tmp_path / "other"))
    assert run_names([one, other]) == ["small", "other"]
    assert run_names([one, one]) == [f"{n} small/trial_00000/checkpoint_000001" for n in (1, 2)]


def test_many_runs_are_evaluated_by_one_protocol(run_folder, tmp_path):
    other = shutil.copytree(run_folder, tmp_path / "other")

    found = json.loads(evaluate_runs([run_folder, other], episodes=4).to_json())

    assert [run["source"]["name"] for run in found["runs"]] == ["small", "other"]
    alone = json.loads(empo_rllib.evaluate(run_folder, episodes=4).to_json())
    assert found["runs"][0] == alone
    assert found["groups"] == []


def test_policies_are_played_in_another_environment(run_folder):
    settings = ["env.kwargs.max_steps=7", "env.id=MultiGrid-Empty-6x6-v0"]

    result = empo_rllib.evaluate(run_folder, episodes=2, settings=settings)

    assert result.protocol.env["id"] == "MultiGrid-Empty-6x6-v0"
    assert result.protocol.env["kwargs"] == {"max_steps": 7}
    assert result.protocol.settings == tuple(settings)
    assert result.episode_length.mean == 7.0


def test_fewer_agents_play_with_the_policies_that_are_theirs(run_folder):
    result = empo_rllib.evaluate(run_folder, episodes=2, settings=["env.num_agents=1"])
    assert list(result.agent_return) == ["agent_0"]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("env.num_agents=3", "'agent_2' would be played by the policy 'agent_2', which was not"),
        ("env.kwargs.agent_view_size=5", "observation_space of policy 'agent_0' would be"),
        ("env.id=CartPole-v1", "env.kwargs.max_steps"),
        ("algorithm.params.lr=1", "only keys of env can be set"),
        ("evn.num_agents=1", "Did you mean 'env.num_agents'?"),
        ("env.kwargs.sise=9", "Did you mean 'size'?"),
        ("env.kwargs.size={choice: [5, 6]}", "env.kwargs.size: is a search space"),
        ("env.num_agent=1", "num_agent"),
        ("env", "only keys of env can be set"),
        ("env.id", "must have the form key=value"),
    ],
)
def test_settings_that_do_not_fit_are_refused(run_folder, setting, message):
    with pytest.raises(ConfigError) as refused:
        empo_rllib.evaluate(run_folder, episodes=1, settings=[setting])
    assert message in str(refused.value)


def test_no_settings_leave_the_experiment_as_it_is():
    config = config_of(0)
    assert with_settings(config, []) is config


def test_references_can_be_left_out(run_folder):
    assert empo_rllib.evaluate(run_folder, episodes=1, references=False).references is None
    written = json.loads(empo_rllib.evaluate(run_folder, episodes=2).to_json())["references"]
    assert written["random_policy"]["episodes"] == 2
    assert written["optimum"] == pytest.approx(1 - 0.9 * 5 / 20)
