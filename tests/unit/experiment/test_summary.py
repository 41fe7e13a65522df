"""`summary.json`: which trial is best, and what the seeds say together."""

from __future__ import annotations

import io
import json
import sys

import numpy as np
import pytest
from matplotlib import pyplot

from empo_rllib.errors import ConfigError, RunError
from empo_rllib.experiment.summary import SUMMARY_FILE, build_groups, read_summary


@pytest.mark.parametrize(("mode", "best"), [("max", "trial_00002"), ("min", "trial_00001")])
def test_the_best_trial_is_the_one_that_the_mode_asks_for(result, trial, mode, best):
    trials = [trial(0, metric=0.5), trial(1, metric=-2.0), trial(2, metric=0.7), trial(3)]
    summary = result(*trials, mode=mode)
    summary.update()
    assert summary.best_trial == best
    assert summary.best().trial_id == best


def test_a_negative_metric_beats_no_metric(result, trial):
    summary = result(trial(0), trial(1, metric=-5.0))
    summary.update()
    assert summary.best_trial == "trial_00001"


def test_without_any_metric_there_is_no_best_trial(result, trial):
    summary = result(trial(0), trial(1))
    summary.update()
    assert summary.best() is None


def test_groups_join_the_trials_that_differ_only_in_the_seed(trial):
    returns = [0.1, 0.9, 0.2, 0.8, 0.3]
    rates = [1e-3, 1e-4, 1e-3, 1e-4, 1e-3]
    trials = [
        trial(number, params={"algorithm.params.lr": rate}, episode_return_mean=value)
        for number, (rate, value) in enumerate(zip(rates, returns, strict=True))
    ]
    first, second = build_groups(trials)
    assert first.params == {"algorithm.params.lr": 1e-3}
    assert first.trials == ["trial_00000", "trial_00002", "trial_00004"]
    assert first.n == 3
    assert first.mean == pytest.approx(0.2)
    assert first.interval_95[0] <= first.mean <= first.interval_95[1]
    assert second.trials == ["trial_00001", "trial_00003"]
    assert second.mean == pytest.approx(0.85)


def test_the_interquartile_mean_leaves_out_the_extreme_seeds(trial):
    returns = [-100.0, 0.4, 0.6, 50.0]
    (group,) = build_groups([trial(i, episode_return_mean=r) for i, r in enumerate(returns)])
    assert group.interquartile_mean == pytest.approx(0.5)
    assert group.mean == pytest.approx(np.mean(returns))


def test_a_single_seed_has_no_interval(trial):
    (group,) = build_groups([trial(0, episode_return_mean=0.5)])
    assert (group.n, group.mean, group.interval_95) == (1, 0.5, None)


def test_a_trial_without_return_is_in_no_group(trial):
    assert build_groups([trial(0), trial(1)]) == []
    (group,) = build_groups([trial(0), trial(1, episode_return_mean=0.0)])
    assert group.trials == ["trial_00001"]


def test_what_is_written_is_read_back(result, trial, tmp_path):
    summary = result(
        trial(0, metric=0.5, episode_return_mean=0.5, params={"model.hidden_sizes": [64]}),
        trial(1, status="failed", error="Traceback"),
        status="failed",
    )
    summary.update()
    summary.write()
    assert read_summary(tmp_path) == summary
    assert [path.name for path in tmp_path.iterdir()] == [SUMMARY_FILE]


def test_the_summary_has_the_keys_that_are_promised_and_no_path_of_this_machine(
    result, trial, tmp_path
):
    summary = result(trial(0, episode_return_mean=0.5))
    summary.update()
    summary.write()
    text = (tmp_path / SUMMARY_FILE).read_text()
    content = json.loads(text)
    assert {"status", "sampler", "best_trial", "trials", "groups"} <= content.keys()
    assert {
        "trial_id",
        "params",
        "seed",
        "status",
        "env_steps",
        "agent_steps",
        "episodes",
        "time_s",
        "env_steps_per_s",
        "episode_return_mean",
        "checkpoint",
    } <= content["trials"][0].keys()
    assert {"n", "mean", "interquartile_mean", "interval_95"} <= content["groups"][0].keys()
    assert str(tmp_path) not in text


def test_a_run_that_was_moved_knows_its_new_place(result, trial, tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    result(trial(0), folder=old).write()
    old.rename(new)
    assert read_summary(new).folder == str(new)


def test_a_folder_without_summary_is_no_run(tmp_path):
    with pytest.raises(RunError, match=r"not a run folder: it has no summary\.json") as raised:
        read_summary(tmp_path)
    assert raised.value.exit_code == 2


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "null", "{}", '{"status": "odd"}', "\xff\x00", "[" * 100_000],
    ids=lambda content: content[:9],
)
def test_a_damaged_summary_is_refused_with_its_file(tmp_path, content):
    (tmp_path / SUMMARY_FILE).write_text(content, encoding="latin-1")
    with pytest.raises(RunError) as raised:
        read_summary(tmp_path)
    assert str(raised.value).startswith(f"{tmp_path / SUMMARY_FILE}: damaged")


def test_a_best_trial_that_is_not_there_is_damage(result, trial, tmp_path):
    result(trial(0)).write()
    path = tmp_path / SUMMARY_FILE
    path.write_text(path.read_text().replace('"best_trial": null', '"best_trial": "trial_00007"'))
    with pytest.raises(RunError, match="best_trial trial_00007 is none of its trials"):
        read_summary(tmp_path)


@pytest.mark.parametrize(
    ("statuses", "interrupted", "settled"),
    [
        (["finished", "stopped"], False, "finished"),
        (["finished", "running"], True, "interrupted"),
        (["finished", "pending"], False, "failed"),
        (["failed", "interrupted"], False, "interrupted"),
    ],
)
def test_a_run_that_nobody_works_on_is_settled(result, trial, statuses, interrupted, settled):
    run = result(*(trial(i, status=status) for i, status in enumerate(statuses)), status="running")
    run.settle(interrupted)
    assert run.status == settled
    assert not {entry.status for entry in run.trials} & {"pending", "running"}


def test_a_trial_that_has_never_started_is_not_interrupted(result, trial):
    never, before = trial(1, status="pending"), trial(2, status="pending", env_steps=100)
    run = result(trial(0, status="finished"), never, before)
    run.settle(interrupted=True)
    assert [entry.status for entry in run.trials] == ["finished", "pending", "interrupted"]
    run = result(trial(0, status="finished"), never)
    run.settle(interrupted=True)
    assert run.status == "interrupted"


def test_a_mean_over_few_episodes_is_the_best_only_where_all_are(result, trial):
    early = trial(0, metric=0.9, is_settled=False)
    summary = result(early, trial(1, metric=0.5))
    summary.update()
    assert summary.best_trial == "trial_00001"
    summary = result(early, trial(1, metric=0.5, is_settled=False))
    summary.update()
    assert summary.best_trial == "trial_00000"


def write_progress(folder, trial_id, *rows):
    (folder / trial_id).mkdir(parents=True)
    lines = [f"{iteration},{steps},{value}" for iteration, steps, value in rows]
    header = "training_iteration,env_steps,episode_return_mean"
    (folder / trial_id / "progress.csv").write_text("\n".join([header, *lines, ""]))


def test_the_history_holds_all_rows_of_all_trials_with_what_each_varied(result, trial, tmp_path):
    key = "algorithm.params.lr"
    summary = result(trial(0, params={key: 1e-3}), trial(1, params={key: 1e-4}), trial(2))
    summary.folder = str(tmp_path)
    write_progress(tmp_path, "trial_00000", (1, 100, ""), (2, 200, 0.5))
    write_progress(tmp_path, "trial_00001", (1, 110, 0.25))
    history = summary.history()
    assert list(history["trial_id"]) == ["trial_00000", "trial_00000", "trial_00001"]
    assert list(history[key]) == [1e-3, 1e-3, 1e-4]
    assert list(history["env_steps"]) == [100, 200, 110]
    assert history["episode_return_mean"].isna().tolist() == [True, False, False]


def test_pandas_has_a_row_for_each_trial(result, trial):
    key = "algorithm.params.lr"
    summary = result(trial(0, params={key: 1e-3}, metric=0.5), trial(1, params={key: 1e-4}))
    frame = summary.to_pandas()
    assert list(frame["trial_id"]) == ["trial_00000", "trial_00001"]
    assert list(frame[key]) == [1e-3, 1e-4]
    assert frame["metric"].isna().tolist() == [False, True]


@pytest.fixture
def swept(result, trial, tmp_path):
    """Two settings, the first with two seeds."""
    key = "algorithm.params.lr"
    summary = result(*(trial(n, params={key: lr}) for n, lr in enumerate((1e-3, 1e-3, 1e-4))))
    for number in range(3):
        rows = [(i, 100 * i, value) for i, value in ((1, ""), (2, number), (3, number + 0.5))]
        write_progress(tmp_path, f"trial_{number:05d}", *rows)
    return summary


def test_a_plot_has_a_line_for_each_trial_and_a_colour_for_each_setting(swept, monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    figure = swept.plot()

    (axes,) = figure.axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("env steps", "episode_return_mean")
    assert [line.get_xydata().tolist() for line in axes.lines] == [
        [[200, number], [300, number + 0.5]] for number in range(3)
    ]
    assert [line.get_color() for line in axes.lines] == ["C0", "C0", "C1"]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["lr 0.001", "lr 0.0001"]
    file = io.BytesIO()
    figure.savefig(file, format="png")
    assert file.getvalue().startswith(b"\x89PNG")
    assert pyplot.get_fignums() == []


def test_a_plot_of_one_setting_has_no_legend(result, trial, tmp_path):
    write_progress(tmp_path, "trial_00000", (1, 100, 0.5))
    assert result(trial(0)).plot("episode_return_mean").axes[0].get_legend() is None


def test_a_column_that_nobody_reported_has_no_plot(swept, result, trial):
    with pytest.raises(ConfigError, match=r"Did you mean 'episode_return_mean'\?"):
        swept.plot("episode_return")
    with pytest.raises(ConfigError, match="no trial has reported 'episode_return_mean'"):
        result(trial(7)).plot()


def test_a_plot_without_matplotlib_says_how_to_get_it(swept, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ConfigError, match=r"pip install matplotlib \(the extra `plot`"):
        swept.plot()


def test_a_result_prints_as_status_best_trial_and_a_table(result, trial):
    key = "algorithm.params.lr"
    summary = result(
        trial(0, params={key: 1e-3}, metric=0.5, env_steps=400, status="finished"),
        trial(1, params={key: 1e-4}, env_steps=100, status="failed"),
    )
    summary.update()
    first, header, *rows = str(summary).splitlines()
    assert first == f"{summary.folder}: {summary.status}, best trial_00000"
    assert header.split() == ["trial_id", "seed", key, "status", "env_steps", summary.metric]
    assert rows[0].split() == ["trial_00000", "0", "0.0010", "finished", "400", "0.5"]
    assert rows[1].split() == ["trial_00001", "1", "0.0001", "failed", "100", "-"]
    assert repr(summary) == str(summary)
