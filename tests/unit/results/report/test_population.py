"""The lineage of a population, drawn and in numbers."""

from __future__ import annotations

from xml.etree import ElementTree

from sweeps import edit_summary, write_sweep

from empo_rllib.results.report.runs import read_runs
from empo_rllib.results.report.sections.population import build_population

LR = "algorithm.params.lr"


def test_the_best_policys_ancestors_are_thick_and_every_change_is_a_row(tmp_path):
    folder = write_sweep(tmp_path / "population", lrs=(0.001, 0.01), seeds=(0,))

    def edit(content):
        for trial in content["trials"]:
            start = {"round": 0, "env_steps": 0, "params": trial["params"]}
            trial["schedule"] = [start]
        first, second = content["trials"]
        second["schedule"].append(
            {
                "round": 1,
                "env_steps": 200,
                "params": {LR: 0.002},
                "copied_from": first["trial_id"],
                "copied_iteration": 2,
            }
        )
        content["best_trial"] = second["trial_id"]

    edit_summary(folder, edit)
    text, charts = build_population(read_runs([folder])).parts
    assert "2 trials with a schedule. Number of copies: 1" in text.text
    assert "what led to trial_00001. It began in trial_00000" in text.text
    ((view,),) = [chart.views for chart in charts.charts]
    assert [[cell.text for cell in row] for row in view.table.rows] == [
        ["trial_00000", "0", "0", "–", "0.001"],
        ["trial_00001", "0", "0", "–", "0.01"],
        ["trial_00001", "1", "200", "trial_00000", "0.002"],
    ]
    paths = ElementTree.fromstring(str(view.svg)).iter("path")
    lines = [(path.get("class").split()[0], path.get("d").count("L")) for path in paths]
    assert lines == [("member", 1), ("member", 1), ("member", 2), ("line", 1), ("line", 2)]


def test_runs_without_schedules_say_what_a_population_is(tmp_path):
    (only,) = build_population(read_runs([write_sweep(tmp_path / "sweep")])).parts
    assert "tune.scheduler: pbt or pb2" in only.text
