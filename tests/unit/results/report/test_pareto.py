"""The Pareto front of runs with several objectives."""

from __future__ import annotations

from sweeps import edit_summary, write_sweep

from empo_rllib.experiment.summary import read_summary
from empo_rllib.results.report.runs import read_runs
from empo_rllib.results.report.sections.pareto import build_pareto

OBJECTIVES = {"episode_return_mean": "max", "episode_length_mean": "min"}
# Trial 1 is dominated by trial 0, trial 2 equals it in one; trial 3 has not reported both.
SCORES = [(0.5, 10.0), (0.4, 10.0), (0.5, 12.0), (0.9,), (0.7, 30.0), (0.1, 9.0)]
FRONT = ["trial_00000", "trial_00004", "trial_00005"]


def with_objectives(folder):
    def edit(content):
        content["objectives"] = OBJECTIVES
        for trial, scores in zip(content["trials"], SCORES, strict=True):
            trial["scores"] = dict(zip(OBJECTIVES, scores, strict=False))

    write_sweep(folder)
    edit_summary(folder, edit)
    result = read_summary(folder)
    result.update()
    result.write()
    return folder


def test_the_front_is_who_nobody_betters(tmp_path):
    assert read_summary(with_objectives(tmp_path / "run")).pareto_front == FRONT
    assert read_summary(write_sweep(tmp_path / "other")).pareto_front == []


def test_the_section_draws_each_pair_and_lists_the_front_first(tmp_path):
    runs = read_runs([with_objectives(tmp_path / "run"), write_sweep(tmp_path / "other")])
    text, _, charts, table = build_pareto(runs).parts
    assert "3 of 5 trials are on the Pareto front" in text.text
    assert "episode_length_mean (min)" in text.text
    (chart,) = charts.charts
    assert chart.views[0].table.rows[0][0].text == "trial_00005"
    assert [(row[0].text, row[1].text) for row in table.rows][:4] == [
        *((trial, "yes") for trial in FRONT),
        ("trial_00001", "no"),
    ]


def test_without_several_objectives_the_section_says_so(tmp_path):
    (text,) = build_pareto(read_runs([write_sweep(tmp_path / "run")])).parts
    assert "several objectives" in text.text
