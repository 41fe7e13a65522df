"""Effects of hyperparameters: trials are compared at equal env steps, in order, without limits."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest
from sweeps import edit_summary, row, write_rows, write_sweep

from empo_rllib.results.report.groups import group_trials
from empo_rllib.results.report.runs import read_runs
from empo_rllib.results.report.sections.hyperparameters import build_hyperparameters
from empo_rllib.results.report.settings import compare, samples_of


def change(folder, number, rows, status):
    """Gives a trial other rows and another status."""
    write_rows(folder / f"trial_{number:05d}", rows)

    def edit(content):
        trial = content["trials"][number]
        trial["env_steps"] = rows[-1]["env_steps"]
        trial["status"] = status
        trial["metric"] = trial["episode_return_mean"] = rows[-1]["episode_return_mean"]

    edit_summary(folder, edit)


def rows_at(*points):
    """Rows of progress.csv from pairs of env steps and return."""
    return [row(i, value, env_steps=steps) for i, (steps, value) in enumerate(points, start=1)]


@pytest.fixture
def stopped_early(tmp_path):
    """The large rate learns fast and is stopped first; at the end the small rate is ahead."""
    folder = write_sweep(tmp_path / "asha", lrs=(0.01, 0.001, 0.1), seeds=(0,))
    change(folder, 0, rows_at((100, 0.3), (200, 0.6)), "stopped")
    change(folder, 1, rows_at((150, 0.1), (250, 0.2), (900, 0.9)), "finished")
    change(folder, 2, rows_at((100, 0.0), (300, 0.8)), "finished")
    return folder


def tables(section):
    """Texts of all tables, by caption."""
    found = [part for part in section.parts if part.kind == "table"]
    for part in section.parts:
        if part.kind == "charts":
            found += [view.table for chart in part.charts for view in chart.views]
    return {table.caption: [[cell.text for cell in r] for r in table.rows] for table in found}


def test_trials_are_compared_where_all_have_been(stopped_early):
    """All were at 200: 0.6; midway between 0.1 and 0.2; midway between 0.0 and 0.8."""
    _, samples = samples_of(read_runs([stopped_early]))

    compared = compare(samples)

    assert compared.env_steps == 200
    assert [s.settings["algorithm.params.lr"] for s in compared.samples] == [0.01, 0.001, 0.1]
    assert [s.score for s in compared.samples] == pytest.approx([0.6, 0.15, 0.4])


def test_effects_and_charts_hold_the_scores_there_and_say_where(stopped_early):
    section = build_hyperparameters(read_runs([stopped_early]))

    assert "at 200 env steps" in section.parts[0].text
    assert "All trials that finished or were stopped early got that far" in section.parts[0].text
    found = tables(section)
    effects = next(rows for caption, rows in found.items() if caption.startswith("Effect"))
    assert effects == [["lr", "3", "3", "–", "0.01", "0.600"]]
    by_value = found["episode_return_mean at 200 env steps by lr"]
    assert [(r[0], r[2]) for r in by_value] == [
        ("0.001", "0.150"),
        ("0.01", "0.600"),
        ("0.1", "0.400"),
    ]
    trials = found["Settings that differ, and the result of each trial"]
    assert [r[-3:] for r in trials] == [
        ["0.600", "200", "0.600"],
        ["0.900", "900", "0.150"],
        ["0.800", "300", "0.400"],
    ]


def test_a_failed_trial_does_not_shorten_the_comparison_and_counts_if_it_got_there(stopped_early):
    change(stopped_early, 0, rows_at((100, 0.3), (200, 0.6)), "failed")
    runs = read_runs([stopped_early])
    compared = compare(samples_of(runs)[1])

    assert compared.env_steps == 300
    assert [s.label for s in compared.samples] == ["trial_00001", "trial_00002"]
    text = build_hyperparameters(runs).parts[0].text
    assert "Left out, without a value there: 1 of 3 trials." in text
    change(stopped_early, 0, rows_at((100, 0.3), (500, 0.7)), "failed")
    scores = [s.score for s in compare(samples_of(read_runs([stopped_early]))[1]).samples]
    assert scores == pytest.approx([0.5, 0.2 + 0.7 * 50 / 650, 0.8])


def test_of_a_run_under_way_the_trials_that_run_set_the_place(stopped_early):
    for number in range(3):
        edit_summary(stopped_early, lambda c, n=number: c["trials"][n].update(status="running"))

    assert compare(samples_of(read_runs([stopped_early]))[1]).env_steps == 200


def test_before_any_value_there_is_nothing_to_compare(tmp_path):
    folder = write_sweep(tmp_path / "new", seeds=(0,))
    for number in range(2):
        (folder / f"trial_{number:05d}" / "progress.csv").unlink()
    pending = {"status": "pending", "env_steps": 0, "metric": None, "episode_return_mean": None}
    edit_summary(folder, lambda content: [t.update(pending) for t in content["trials"]])
    section = build_hyperparameters(read_runs([folder]))

    assert section.parts[0].text == "No trial has reported episode_return_mean yet."
    assert [part.kind for part in section.parts] == ["paragraph", "table"]


@pytest.mark.parametrize("stop", [{"time_s": 60}, {"env_steps": 1000}])
def test_limits_get_no_effect_and_no_chart(tmp_path, stop):
    folders = [write_sweep(tmp_path / "a"), write_sweep(tmp_path / "b", stop=stop)]

    section = build_hyperparameters(read_runs(folders))

    charts = next(part for part in section.parts if part.kind == "charts").charts
    assert [chart.title for chart in charts] == ["episode_return_mean at 400 env steps against lr"]
    only_limits = [
        write_sweep(tmp_path / "c", (0.1,)),
        write_sweep(tmp_path / "d", (0.1,), stop=stop),
    ]
    section = build_hyperparameters(read_runs(only_limits))
    assert section.parts[0].text.startswith("Only limits (stop) differ")
    assert [part.kind for part in section.parts] == ["paragraph", "table"]


def test_numbers_of_an_axis_are_in_order_and_null_comes_last(tmp_path):
    folders = []
    for name, grad_clip in (("a", 40.0), ("b", None), ("c", 0.5), ("d", 9.0)):
        params = {"lr": {"grid_search": [0.1]}}
        if grad_clip is not None:
            params["grad_clip"] = grad_clip
        algorithm = {"name": "PPO", "params": params}
        folders.append(write_sweep(tmp_path / name, (0.1,), seeds=(0,), algorithm=algorithm))

    section = build_hyperparameters(read_runs(folders))

    chart = next(part for part in section.parts if part.kind == "charts").charts[0]
    svg = ElementTree.fromstring(chart.views[0].svg)
    texts = [element.text for element in svg.findall("text")]
    assert [text for text in texts if text in ("0.5", "9", "40", "null")] == [
        "0.5",
        "9",
        "40",
        "null",
    ]
    assert [r[0].text for r in chart.views[0].table.rows] == ["0.5", "9", "40", "null"]


def test_algorithms_are_compared_by_name(tmp_path):
    """Each with its own default of a parameter that only one of the trials would set."""
    folder = write_sweep(
        tmp_path / "run", seeds=(0,), algorithm={"name": {"grid_search": ["PPO", "DQN"]}}
    )

    def edit(content):
        for trial, name in zip(content["trials"], ("PPO", "DQN"), strict=True):
            trial["params"] = {"algorithm.name": name}

    edit_summary(folder, edit)
    section = build_hyperparameters(read_runs([folder]))

    found = tables(section)
    effects = next(rows for caption, rows in found.items() if caption.startswith("Effect"))
    assert effects == [["algorithm", "2", "2", "categories", "DQN", "1.000"]]
    (chart,) = (part for part in section.parts if part.kind == "charts")
    assert [one.title for one in chart.charts] == [
        "episode_return_mean at 400 env steps against algorithm"
    ]
    assert [group.label for group in group_trials(read_runs([folder]))] == [
        "algorithm PPO",
        "algorithm DQN",
    ]


@pytest.mark.parametrize(("num_seeds", "is_weighed"), [(8, True), (6, False)])
def test_settings_that_decide_are_important(tmp_path, num_seeds, is_weighed):
    """The rate decides the return; the decay is drawn without any effect on it."""
    params = {"lr": {"grid_search": [0.01, 0.001, 0.1]}, "gamma": {"uniform": [0.5, 0.9]}}
    folder = write_sweep(
        tmp_path / "run",
        lrs=(0.01, 0.001, 0.1),
        seeds=range(num_seeds),
        algorithm={"name": "PPO", "params": params},
    )

    def edit(content):
        rng = np.random.default_rng(0)
        for trial in content["trials"]:
            trial["params"]["algorithm.params.gamma"] = rng.uniform(0.5, 0.9)

    edit_summary(folder, edit)
    section = build_hyperparameters(read_runs([folder]))

    found = tables(section)
    caption, effects = next((c, rows) for c, rows in found.items() if c.startswith("Effect"))
    assert ("PED-ANOVA" in caption) == is_weighed
    assert [len(r) for r in effects] == [7, 7] if is_weighed else [6, 6]
    if is_weighed:
        shares = {r[0]: float(r[-1]) for r in effects}
        assert sum(shares.values()) == pytest.approx(1, abs=0.011)
        assert shares["lr"] > 0.7


@pytest.fixture
def searched(tmp_path):
    """Two searched numbers, of which the second decides, and a choice of names."""
    params = {
        "lr": {"loguniform": [1e-4, 1e-1]},
        "clip_param": {"uniform": [0.1, 0.5]},
        "grad_clip_by": {"choice": ["norm", "value"]},
    }
    folder = write_sweep(
        tmp_path / "searched",
        lrs=(0.001,),
        seeds=range(24),
        seed=0,
        algorithm={"name": "PPO", "params": params},
        tune={"num_samples": 24},
    )
    rng = np.random.default_rng(5)

    def edit(content):
        for number, trial in enumerate(content["trials"]):
            clip = float(rng.uniform(0.1, 0.5))
            trial["params"] = {
                "algorithm.params.lr": float(10 ** rng.uniform(-4, -1)),
                "algorithm.params.clip_param": clip,
                "algorithm.params.grad_clip_by": "norm" if number % 3 else "value",
            }
            rows = [row(i, clip * i) for i in (1, 2)]
            trial["env_steps"] = rows[-1]["env_steps"]
            write_rows(folder / trial["trial_id"], rows)
            trial["metric"] = trial["episode_return_mean"] = 2 * clip

    edit_summary(folder, edit)
    return folder


def pictures(section):
    """Pictures by title, as XML."""
    charts = [chart for part in section.parts if part.kind == "charts" for chart in part.charts]
    return {chart.title: ElementTree.fromstring(str(chart.views[0].svg)) for chart in charts}


def test_parallel_coordinates_have_a_line_for_each_trial_which_ends_at_its_score(searched):
    found = pictures(build_hyperparameters(read_runs([searched])))
    drawn = found["episode_return_mean at 200 env steps across settings"]
    lines = [one for one in drawn.iter("path") if "across" in one.get("class")]
    assert len(lines) == 24
    names = [one.text for one in drawn.iter("text") if one.get("class") == "label"]
    assert names == ["lr", "clip_param", "grad_clip_by", "episode_return_mean"]
    ends = {line.find("title").text: float(line.get("d").split()[-1]) for line in lines}
    scores = [float(text.rpartition(" ")[2]) for text in ends]
    by_height = [score for _, score in sorted(zip(ends.values(), scores, strict=True))]
    assert by_height == sorted(scores, reverse=True)  # upwards is less
    strengths = [line.get("class") for line in lines]
    assert strengths[0] == "across h0 s0"
    assert strengths[-1] == "across h9 s0"


def test_the_two_numbers_that_decide_most_are_drawn_as_a_surface(searched):
    """The score is twice clip_param everywhere, so is what lies between the trials."""
    found = pictures(build_hyperparameters(read_runs([searched])))
    (title,) = (one for one in found if " by " in one)
    assert title == "episode_return_mean at 200 env steps by clip_param and lr"
    cells = [one for one in found[title].iter("rect") if "heat" in one.get("class")]
    assert len(cells) > 50
    assert len(list(found[title].iter("circle"))) == 24
    lefts = sorted({float(cell.get("x")) for cell in cells})
    for left in lefts:
        column = [c.find("title").text for c in cells if float(c.get("x")) == left]
        values = [float(text.removeprefix("about ")) for text in column]
        assert max(values) - min(values) < 1e-6 + 0.001 * max(values)


def test_with_few_trials_no_two_settings_are_singled_out(stopped_early):
    found = pictures(build_hyperparameters(read_runs([stopped_early])))
    assert not [title for title in found if " by " in title or "across" in title]
