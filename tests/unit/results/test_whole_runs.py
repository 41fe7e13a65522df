"""A run with several trials is evaluated as a whole: each trial, and the groups of seeds."""

from __future__ import annotations

import io
import itertools
import json
import shutil

import numpy as np
import pytest
from rich.console import Console
from whole_runs import LR, write_trials

import empo_rllib
from empo_rllib.errors import CheckpointError
from empo_rllib.experiment.summary import read_summary
from empo_rllib.results.crossplay import crossplay
from empo_rllib.results.crossplay_table import render_crossplay
from empo_rllib.results.evaluate import evaluate_runs
from empo_rllib.results.evaluation import EvaluationResult
from empo_rllib.results.table import render_result
from empo_rllib.statistics import stratified_estimate

pytestmark = pytest.mark.filterwarnings("ignore")  # RLlib warns about its own parts

IDS = ["trial_00000", "trial_00001", "trial_00002"]
EPISODES = 8


@pytest.fixture(scope="module")
def one_trial(write_run, tmp_path_factory):
    """Untrained, with time enough to reach the goal now and then."""
    env = {"id": "MultiGrid-Empty-5x5-v0", "num_agents": 2, "kwargs": {"max_steps": 100}}
    return write_run(tmp_path_factory.mktemp("runs") / "one", env=env)


@pytest.fixture(scope="module")
def three_seeds(one_trial, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "three-seeds"
    return write_trials(one_trial, folder, [(None, 0), (None, 1), (None, 2)])


@pytest.fixture(scope="module")
def sweep(one_trial, tmp_path_factory):
    """Two learning rates with two seeds each, and a trial that has not saved yet."""
    settings = [(0.001, 0), (0.01, 0), (0.001, 1), (0.01, 1), (0.01, 2)]
    folder = tmp_path_factory.mktemp("runs") / "sweep"
    return write_trials(one_trial, folder, settings, without_checkpoint=[4])


@pytest.fixture(scope="module")
def evaluated(three_seeds):
    return empo_rllib.evaluate(three_seeds, episodes=EPISODES)


@pytest.fixture(scope="module")
def evaluated_sweep(sweep):
    return empo_rllib.evaluate(sweep, episodes=EPISODES)


def rows_of(result, width=80):
    console = Console(width=width, record=True, file=io.StringIO(), highlight=False)
    console.print(render_result(result))
    return [line.rstrip() for line in console.export_text().splitlines()]


def test_every_trial_is_evaluated_as_it_is_alone(three_seeds, evaluated):
    assert [trial.source.name for trial in evaluated.trials] == IDS
    assert [trial.source.training_seed for trial in evaluated.trials] == [0, 1, 2]
    for name, trial in zip(IDS, evaluated.trials, strict=True):
        alone = empo_rllib.evaluate(three_seeds / name, episodes=EPISODES)
        assert trial.episodes == alone.episodes
        assert trial.episode_return == alone.episode_return


def test_seeds_are_a_group_whose_numbers_are_over_seeds(evaluated):
    (group,) = evaluated.groups

    assert group.names == tuple(IDS)
    for estimate, values in (
        (group.episode_return, [_mean(trial, "episode_return") for trial in evaluated.trials]),
        (group.episode_length, [_mean(trial, "episode_length") for trial in evaluated.trials]),
        (group.success_rate, [_mean(trial, "success") for trial in evaluated.trials]),
    ):
        assert len(set(values)) > 1
        assert estimate.n == 3
        assert estimate.mean == pytest.approx(np.mean(values))
        assert (estimate.low, estimate.high) == pytest.approx(interval_of(values))


def _mean(trial, number):
    return np.mean([episode[number] for episode in trial.episodes])


def interval_of(values):
    """The bootstrap's interval of the interquartile mean, from all samples that there are."""
    drawn = np.sort(list(itertools.product(values, repeat=len(values))), axis=1)
    cut = len(values) // 4
    means = drawn[:, cut : len(values) - cut].mean(axis=1)
    return tuple(np.quantile(means, [0.025, 0.975], method="inverted_cdf"))


def test_the_interval_over_six_seeds_is_the_bootstraps():
    values = [0.23, 0.91, 0.7, 0.85, 0.42, 0.77]

    found = stratified_estimate([values])

    assert (found.low, found.high) == pytest.approx(interval_of(values), abs=0.02)
    assert found.mean == pytest.approx(sum(values) / 6)


def test_the_table_names_the_best_trial_and_sums_up_the_seeds(three_seeds, evaluated):
    rows = rows_of(evaluated)

    assert rows[0] == f"MultiGrid-Empty-5x5-v0: {EPISODES} episodes, sampled actions, seed 0"
    assert "".join(rows[1:3]).startswith(str(three_seeds))
    first = [row.split("  ")[0] for row in rows]
    assert [name for name in first if name.startswith(("trial_", "3 seeds", "random"))] == [
        "trial_00000",
        "trial_00001, best",
        "trial_00002",
        "3 seeds",
        "random policy",
    ]
    seeds = next(row for row in rows if row.startswith("3 seeds"))
    (group,) = evaluated.groups
    estimate, success = group.episode_return, group.success_rate
    ends = f"{100 * success.low:.0f}–{100 * success.high:.0f}%"
    for cell in (f"{estimate.mean:.3f}", f"{estimate.low:.3f} – {estimate.high:.3f}", ends):
        assert cell in seeds
    assert "Best: by tune.metric, in training." in rows
    assert max(map(len, rows[3:])) <= 80


def test_a_sweep_has_a_group_for_each_of_its_settings(evaluated_sweep):
    assert [group.params for group in evaluated_sweep.groups] == [{LR: 0.001}, {LR: 0.01}]
    assert [group.names for group in evaluated_sweep.groups] == [
        ("trial_00000", "trial_00002"),
        ("trial_00001", "trial_00003"),
    ]
    rows = rows_of(evaluated_sweep, width=120)
    for name in ("trial_00000: lr 0.001  ", "trial_00001: lr 0.01, best  ", "2 seeds: lr 0.01  "):
        assert any(row.startswith(name) for row in rows)


def test_settings_without_a_second_seed_form_no_group(one_trial, tmp_path):
    run = write_trials(one_trial, tmp_path / "run", [(0.001, 0), (0.01, 0)])

    found = empo_rllib.evaluate(run, episodes=1)

    assert (len(found.trials), found.groups) == (2, [])


def test_trials_without_a_checkpoint_are_named_and_left_out(evaluated_sweep):
    """The trial left out has the best metric, yet the best one is among those that played."""
    assert len(evaluated_sweep.trials) == 4
    assert evaluated_sweep.best_trial == "trial_00001"
    assert evaluated_sweep.to_dict()["left_out"] == ["trial_00004"]
    assert "Left out, without a checkpoint: trial_00004." in rows_of(evaluated_sweep)


def test_a_run_in_which_no_trial_has_a_checkpoint_is_refused(one_trial, tmp_path):
    run = write_trials(one_trial, tmp_path / "run", [(None, 0), (None, 1)], (0, 1))
    with pytest.raises(CheckpointError, match="no trial has saved a checkpoint yet"):
        empo_rllib.evaluate(run, episodes=1)


def test_json_keeps_the_numbers_of_the_best_trial_and_adds_all(three_seeds, evaluated):
    alone = empo_rllib.evaluate(three_seeds / "trial_00001", episodes=EPISODES)

    written = json.loads(evaluated.to_json())

    added = {"best_trial", "trials", "groups", "left_out"}
    assert {key: written[key] for key in written if key not in added} == json.loads(alone.to_json())
    assert (written["best_trial"], written["left_out"]) == ("trial_00001", [])
    assert [trial["source"]["trial"] for trial in written["trials"]] == IDS
    assert [trial["source"]["params"] for trial in written["trials"]] == [{}, {}, {}]
    (group,) = written["groups"]
    assert (group["runs"], group["params"]) == (IDS, {})
    assert group["episode_return"]["n"] == 3


def test_without_a_metric_the_first_trial_stands_for_the_run(one_trial, tmp_path):
    run = write_trials(one_trial, tmp_path / "run", [(None, 0), (None, 1)])
    summary = read_summary(run)
    for trial in summary.trials:
        trial.metric = None
    summary.best_trial = None
    summary.write()

    found = empo_rllib.evaluate(run, episodes=1)

    assert (found.best_trial, found.source.trial) == (None, "trial_00000")
    assert not any("best" in row.lower() for row in rows_of(found))


def test_a_run_of_one_trial_and_a_trial_of_a_run_are_evaluated_as_before(one_trial, three_seeds):
    run, trial = empo_rllib.evaluate(one_trial, 1), empo_rllib.evaluate(three_seeds / IDS[0], 1)
    assert type(run) is type(trial) is EvaluationResult
    assert run.to_dict() == empo_rllib.evaluate(one_trial / IDS[0], 1).to_dict()
    assert set(run.to_dict()["source"]) == {"name", "run", "trial", "training_seed"}
    assert any(row.startswith("  agent_0") for row in rows_of(run))


def test_several_runs_are_evaluated_with_all_their_trials(one_trial, sweep):
    found = evaluate_runs([one_trial, sweep], episodes=1)

    names = ["one/trial_00000", *(f"sweep/trial_0000{number}" for number in range(4))]
    assert [run.source.name for run in found.runs] == names
    assert (found.best, found.left_out) == (("sweep/trial_00001",), ("sweep/trial_00004",))
    written = json.loads(found.to_json())
    assert written["best"] == ["sweep/trial_00001"]
    assert written["left_out"] == ["sweep/trial_00004"]
    assert any(row.startswith("sweep/trial_00001: lr 0.01, best") for row in rows_of(found, 120))


def test_it_tells_which_of_the_trials_plays(three_seeds):
    told = []
    empo_rllib.evaluate(three_seeds, episodes=1, references=False, tell=told.append)
    assert told == [f"Playing trial {number + 1} of 3: {name}" for number, name in enumerate(IDS)]


def test_the_command_plays_every_trial_of_a_run(command, three_seeds):
    code, out, err = command("evaluate", three_seeds, "--episodes", 1)
    assert (code, err) == (0, "Playing 1 episode with 3 trials\n")
    assert all(name in out for name in (*IDS, "trial_00001, best", "3 seeds"))

    code, out, err = command("evaluate", three_seeds, "--episodes", 1, "--json")
    assert (code, err) == (0, "Playing 1 episode with 3 trials\n")
    assert len(json.loads(out)["trials"]) == 3


def test_seeds_stay_a_group_where_another_environment_is_played_in(sweep):
    found = empo_rllib.evaluate(sweep, episodes=1, settings=["env.kwargs.max_steps=9"])
    assert [group.params for group in found.groups] == [{LR: 0.001}, {LR: 0.01}]


def test_every_trial_of_a_run_takes_part_in_cross_play(three_seeds, sweep):
    found = crossplay([three_seeds], episodes=1)
    assert [player.name for player in found.players] == IDS
    assert [(group.members, group.params) for group in found.groups] == [([0, 1, 2], {})]

    found = crossplay([three_seeds, sweep], episodes=1)
    assert len(found.players) == 7
    assert found.players[3].name == "sweep/trial_00000"
    assert [group.members for group in found.groups] == [[0, 1, 2], [3, 5], [4, 6]]
    assert found.to_dict()["left_out"] == ["sweep/trial_00004"]
    shown = io.StringIO()
    Console(file=shown, width=100).print(render_crossplay(found))
    assert "Left out, without a checkpoint: sweep/trial_00004." in shown.getvalue()


def test_the_best_checkpoints_of_a_run_play_where_they_are_asked_for(one_trial, tmp_path, command):
    run = tmp_path / "run"
    write_trials(one_trial, run, [(None, 1), (None, 2)])
    for number in range(2):
        first = run / f"trial_{number:05d}" / "checkpoint_000001"
        last = shutil.copytree(first, first.with_name("checkpoint_000002"))
        for checkpoint, score in ((first, 0.9), (last, 0.4)):
            state = json.loads((checkpoint / "state.json").read_text())
            (checkpoint / "state.json").write_text(json.dumps(state | {"score": score}))

    def played(*options):
        code, stdout, _ = command("evaluate", run, "--episodes", 1, "--json", *options)
        assert code == 0
        return [trial["protocol"]["checkpoint"][-6:] for trial in json.loads(stdout)["trials"]]

    assert played("--checkpoint", "best") == ["000001"] * 2
    assert played("--checkpoint", "last") == played() == ["000002"] * 2
    result = crossplay([run], episodes=1, checkpoint="best")
    assert {player.checkpoint[-6:] for player in result.players} == {"000001"}
