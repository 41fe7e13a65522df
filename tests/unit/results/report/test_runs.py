"""Run folders are read in full, or refused with one message, before anything is done."""

from __future__ import annotations

import json
import shutil

import pytest
from sweeps import edit_summary, write_sweep

from empo_rllib.errors import ConfigError, EmpoError, RunError
from empo_rllib.results.report.runs import read_runs
from empo_rllib.results.report.write import write_report

PROGRESS = "trial_00000/progress.csv"


def test_a_run_is_its_trials_with_their_own_settings_and_rows(sweep):
    (run,) = read_runs([sweep])

    assert run.label == "sweep"
    assert [trial.id for trial in run.trials] == [f"trial_{i:05d}" for i in range(6)]
    assert [trial.config.algorithm.params["lr"] for trial in run.trials] == [0.001, 0.01] * 3
    assert [trial.config.seed for trial in run.trials] == [0, 0, 1, 1, 2, 2]
    assert [row["env_steps"] for row in run.trials[0].rows] == [100, 200, 300, 400]
    assert run.sessions[0].code["commit"] == "abc123"
    assert run.ranked() == []  # no checkpoints


def test_runs_of_the_same_name_are_told_apart_by_their_folders(tmp_path):
    folders = [write_sweep(tmp_path / place / "sweep") for place in ("a", "b")]

    assert [run.label for run in read_runs(folders)] == ["a/sweep", "b/sweep"]


def test_a_run_without_provenance_is_read(sweep):
    (sweep / "provenance.json").unlink()

    assert read_runs([sweep])[0].sessions == []


def test_a_trial_under_way_may_lack_rows_and_end_in_half_a_line(sweep):
    def start(content):
        content["status"] = "running"
        content["trials"][0] |= {"status": "running", "env_steps": 500}
        content["trials"][1] |= {"status": "pending", "env_steps": 0, "metric": None}

    edit_summary(sweep, start)
    path = sweep / PROGRESS
    path.write_bytes(path.read_bytes()[:-5])
    shutil.rmtree(sweep / "trial_00001")

    trials = read_runs([sweep])[0].trials
    assert len(trials[0].rows) == 3
    assert trials[1].rows == []


def _text(path, content):
    return lambda run: (run / path).write_text(content)


def _bytes(path, content):
    return lambda run: (run / path).write_bytes(content)


def _cut(path, size):
    return lambda run: (run / path).write_bytes((run / path).read_bytes()[:-size])


def _remove(path):
    return lambda run: (run / path).unlink()


def _replace(path, old, new):
    return lambda run: (run / path).write_text((run / path).read_text().replace(old, new))


def _trial(**changes):
    return lambda run: edit_summary(run, lambda content: content["trials"][0].update(changes))


def _hardware(**values):
    session = {"command": "python", "hardware": values}
    return _text("provenance.json", json.dumps({"sessions": [session]}))


DAMAGES = [
    (_remove("summary.json"), "not a run folder: it has no summary.json"),
    (_cut("summary.json", 40), "summary.json: damaged"),
    (_text("summary.json", ""), "summary.json: damaged"),
    (_text("summary.json", "[]"), "summary.json: damaged"),
    (_text("summary.json", "[" * 100_000), "summary.json: damaged"),
    (_bytes("summary.json", b"\xff\xfe\x00"), "summary.json: damaged"),
    (_text("summary.json", '{"name": "of something else"}'), "summary.json: damaged"),
    (_remove("resolved_config.yaml"), "resolved_config.yaml: there is no such file"),
    (_text("resolved_config.yaml", "- a list"), "the file holds a list"),
    (_text("resolved_config.yaml", "!!python/object/apply:os.system [true]"), "invalid YAML"),
    (_replace("resolved_config.yaml", "PPO", "PPPO"), "algorithm.name"),
    (_trial(params={}), "They are not of the same run"),
    (_trial(params={"algorithm.params.gamma": 0.9}), "They are not of the same run"),
    (_trial(params={"algorithm.params.lr": "fast"}), "trial_00000: algorithm.params.lr"),
    (_trial(trial_id="../elsewhere"), "is not the name of a folder"),
    (_trial(trial_id="."), "is not the name of a folder"),
    (_remove(PROGRESS), "progress.csv: missing, though summary.json says 400 env steps"),
    (_cut(PROGRESS, 5), "cut short: it ends at 300 env steps, summary.json says 400"),
    (_cut(PROGRESS, 150), "cut short"),
    (_text(PROGRESS, ""), "cut short: it ends at 0 env steps"),
    (_bytes(PROGRESS, b"\x00\xff" * 100), "progress.csv: damaged"),
    (_replace(PROGRESS, "env_steps,time_s", "steps,seconds"), "rows without env_steps and time_s"),
    (_replace(PROGRESS, ",200,", ",many,"), "1 of 4 rows cannot be read"),
    (_replace(PROGRESS, ",200,", ",200,7,"), "1 of 4 rows cannot be read"),
    (_text("provenance.json", "{"), "provenance.json: damaged"),
    (_text("provenance.json", '{"sessions": [{"started": 3}]}'), "sessions.0"),
    (_text("provenance.json", "[" * 100_000), "provenance.json: damaged"),
    (_hardware(cluster_nodes="many"), "provenance.json: damaged: sessions.0.hardware"),
    (_hardware(cluster_resources={"CPU": "two"}), "damaged: sessions.0.hardware"),
]


@pytest.mark.parametrize(("damage", "message"), DAMAGES)
def test_a_damaged_run_is_refused_and_nothing_is_written(sweep, damage, message):
    damage(sweep)
    before = sorted((path, path.stat().st_mtime_ns) for path in sweep.parent.rglob("*"))

    with pytest.raises(EmpoError) as refusal:
        write_report([sweep], sweep.parent / "report.html", episodes=0)

    assert message in str(refusal.value)
    assert refusal.value.exit_code == 2
    assert sorted((path, path.stat().st_mtime_ns) for path in sweep.parent.rglob("*")) == before


def test_what_is_no_run_folder_is_refused_with_what_was_meant(sweep):
    parent = sweep.parent
    for path, message in (
        (parent / "sweap", f"no such folder. Give a run folder. Did you mean '{sweep}'?"),
        (sweep / "summary.json", "is a file"),
        (parent, f"not a run folder: it has no summary.json. Did you mean {sweep}?"),
        (sweep / "trial_00000", f"a part of a run. Give the run folder, {sweep}."),
    ):
        with pytest.raises(RunError) as refusal:
            read_runs([path])
        assert message in str(refusal.value)


def test_a_run_that_stands_twice_is_refused(sweep):
    with pytest.raises(RunError, match="stands twice"):
        read_runs([sweep, sweep.parent / "." / "sweep"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"out": "report.pdf"}, r"must end in \.html or \.htm"),
        ({"out": "nowhere/report.html"}, "there is no folder"),
        ({"episodes": -1}, "episodes = -1"),
        ({"seed": -1}, "seed = -1"),
        ({"crossplay": "missing.json"}, "there is no such file"),
        ({"runs": []}, "at least one run folder"),
    ],
)
def test_impossible_arguments_are_refused(sweep, tmp_path, arguments, message, monkeypatch):
    monkeypatch.chdir(tmp_path)

    with pytest.raises(ConfigError, match=message):
        write_report(**{"runs": [sweep], "out": "report.html", "episodes": 0, **arguments})
    assert not list(tmp_path.glob("*.html"))


def test_trials_whose_values_a_search_has_yet_to_choose_are_left_out(tmp_path):
    folder = write_sweep(
        tmp_path / "run",
        seeds=(0,),
        seed=0,
        algorithm={"name": "PPO", "params": {"lr": {"uniform": [0.001, 0.1]}}},
        tune={"num_samples": 2, "search": "optuna"},
    )
    unchosen = {"params": {}, "status": "pending", "metric": None, "episode_return_mean": None}
    edit_summary(folder, lambda content: content["trials"][1].update(unchosen))

    (run,) = read_runs([folder])

    assert [trial.id for trial in run.trials] == ["trial_00000"]
    assert run.trials[0].config.algorithm.params["lr"] == 0.001
    assert run.config.tune.search is not None
