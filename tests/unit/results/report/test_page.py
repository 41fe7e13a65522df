"""The page: every section, the numbers of summary.json, no way out of it, nothing unescaped."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest
from sweeps import edit_summary, write_sweep

from empo_rllib.results.report.write import write_report

SECTIONS = [
    "summary",
    "setup",
    "curves",
    "throughput",
    "evaluation",
    "comparison",
    "crossplay",
    "hyperparameters",
    "pareto-front",
    "population",
    "episodes",
    "visits",
    "repeat",
]
VOID = {"meta", "link", "img", "input"}


class Page(HTMLParser):
    """A page's elements and texts; `open_elements` is empty when all were closed."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open_elements, self.texts = [], [], {}
        self.captions, self.rows, self._section = [], {}, ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.elements.append((tag, attributes))
        if tag not in VOID:
            self.open_elements.append(tag)
        if tag == "section":
            self._section = attributes["id"]
        if tag == "caption":
            self.captions.append("")
        if tag == "tr" and self.captions:
            self.rows.setdefault(self.captions[-1], []).append([])
        if tag in ("td", "th") and "data-value" in attributes:
            self.rows[self.captions[-1]][-1].append(float(attributes["data-value"]))

    def handle_endtag(self, tag):
        assert self.open_elements.pop() == tag

    def handle_data(self, data):
        self.texts[self._section] = self.texts.get(self._section, "") + data
        if "caption" in self.open_elements:
            self.captions[-1] += data

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    def numbers(self, caption):
        """The exact numbers of each row of the table whose caption starts so."""
        (name,) = (name for name in self.rows if name.startswith(caption))
        return self.rows[name][1:]


@pytest.fixture
def report(tmp_path):
    """Writes a report without playing, and reads it."""

    def write(*runs, **arguments):
        out = tmp_path / "report.html"
        write_report(runs, out, **{"episodes": 0, **arguments})
        return Page(out.read_text())

    return write


def test_every_section_is_there_once_and_linked(report, sweep):
    page = report(sweep)

    assert [section["id"] for section in page.all("section")] == SECTIONS
    links = [link["href"] for link in page.all("a")]
    assert links == ["#summary", *(f"#{section}" for section in SECTIONS)]
    assert page.open_elements == []
    ids = [a["id"] for _, a in page.elements if "id" in a]
    assert len(ids) == len(set(ids))


def test_the_numbers_are_those_of_summary_json(report, sweep):
    summary = json.loads((sweep / "summary.json").read_text())

    page = report(sweep)

    names = ("seed", "env_steps", "episodes", "time_s", "env_steps_per_s")
    names += ("episode_return_mean", "metric")
    expected = [[trial[name] for name in names] for trial in summary["trials"]]
    assert page.numbers("Trials") == expected
    groups = page.numbers("Seeds of the same settings")
    assert groups == [
        [g["n"], g["mean"], g["interval_95"][0], g["interquartile_mean"]] for g in summary["groups"]
    ]
    assert f"is {summary['best_trial']}: 1.020 after 400 env steps" in page.texts["summary"]


def test_a_section_without_data_says_why(report, tmp_path):
    folder = write_sweep(tmp_path / "runs" / "one", lrs=(0.1,), seeds=(0,))

    page = report(folder)

    assert "the report was made with --episodes 0" in page.texts["evaluation"]
    assert "the report was made with --episodes 0" in page.texts["visits"]
    assert "python -m empo_rllib crossplay RUN RUN --out crossplay.json" in page.texts["crossplay"]
    assert "No setting differs" in page.texts["hyperparameters"]


def test_a_run_that_has_not_begun_has_a_report(report, sweep):
    def begin(content):
        content |= {"status": "running", "best_trial": None, "groups": []}
        for trial in content["trials"]:
            trial |= {"status": "pending", "env_steps": 0, "metric": None}
            trial |= {"episode_return_mean": None, "env_steps_per_s": None, "stop_reason": ""}

    edit_summary(sweep, begin)
    for progress in sweep.glob("*/progress.csv"):
        progress.unlink()

    page = report(sweep, episodes=1)

    assert "no trial has reported episode_return_mean yet" in page.texts["summary"]
    assert "nothing to draw" in page.texts["curves"]
    assert "No trial has saved a checkpoint yet" in page.texts["episodes"]


def test_the_commands_are_those_that_were_typed(report, sweep):
    text = report(sweep).texts["repeat"]

    assert "git -C /home/me/clone checkout abc123   # with uncommitted changes\n" in text
    assert "cd '/home/me/my work'\npython -m empo_rllib.tune --config my.yaml --set seed=1" in text
    assert f"--config {sweep}/resolved_config.yaml --set name=sweep-again" in text
    assert f"python -m empo_rllib report {sweep} --out " in text
    assert "--episodes 0 --seed 0" in text
    assert f"cd {os.getcwd()}\npython -m empo_rllib report" in text


def test_the_cross_play_that_is_shown_has_its_command(sweep, crossplay, tmp_path):
    crossplay["protocol"] |= {"episodes": 7, "seed": 3, "settings": ["env.kwargs.size=6"]}
    path = tmp_path / "crossplay.json"
    path.write_text(json.dumps(crossplay))

    write_report([sweep], tmp_path / "report.html", episodes=0, crossplay=path)

    text = Page((tmp_path / "report.html").read_text()).texts["repeat"]
    command = next(line for line in text.splitlines() if "empo_rllib crossplay" in line)
    assert command.endswith(
        "--episodes 7 --seed 3 --sampled --set env.kwargs.size=6 --out crossplay.json"
    )
    for player in crossplay["players"]:
        assert player["checkpoint"] in command


def test_a_search_over_the_smoothing_of_curves_is_told(tmp_path):
    window = "metrics_num_episodes_for_smoothing"
    params = {"lr": {"grid_search": [0.001, 0.01]}, window: {"grid_search": [20]}}
    sweep = write_sweep(tmp_path / "sweep", algorithm={"name": "PPO", "params": params})
    key = f"algorithm.params.{window}"
    edit_summary(sweep, lambda s: [trial["params"].update({key: 20}) for trial in s["trials"]])

    write_report([sweep], tmp_path / "report.html", episodes=0)

    text = Page((tmp_path / "report.html").read_text()).texts["curves"]
    assert "the mean over the last 20 training episodes" in text


def test_nothing_is_fetched_and_only_its_own_script_runs(report, sweep, tmp_path):
    page = report(sweep)
    text = (tmp_path / "report.html").read_text()

    (policy,) = (meta["content"] for meta in page.all("meta") if "http-equiv" in meta)
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    for tag in ("script", "style"):
        (content,) = re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert rules[f"{tag}-src"] == f"'sha256-{digest}'"
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    addresses = [a[key] for _, a in page.elements for key in ("src", "href", "action") if key in a]
    assert all(address.startswith(("#", "data:")) for address in addresses)
    assert not [name for _, a in page.elements for name in a if name.startswith("on")]
    assert not [a for _, a in page.elements if "style" in a]
    assert "http://" not in text.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in text


def test_what_runs_are_called_cannot_become_markup(report, tmp_path, crossplay):
    hostile = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'"
    folder = write_sweep(tmp_path / "runs" / "run").rename(tmp_path / "runs" / "<b>run")

    def attack(content):
        content["sampler_reason"] = hostile
        content["trials"][0] |= {"status": "failed", "error": hostile, "stop_reason": hostile}

    edit_summary(folder, attack)
    session = {"command": hostile, "working_folder": hostile, "code": {"commit": hostile}}
    (folder / "provenance.json").write_text(json.dumps({"sessions": [session]}))
    crossplay["players"][0]["name"] = crossplay["env"]["id"] = hostile
    path = tmp_path / "crossplay.json"
    path.write_text(json.dumps(crossplay))

    page = report(folder, crossplay=path)

    assert len(page.all("script")) == 1
    assert page.all("img") == page.all("b") == []
    assert page.open_elements == []
    for section in ("summary", "setup", "crossplay", "repeat"):
        assert hostile in page.texts[section]


def test_tables_and_charts_can_be_read_without_seeing(report, sweep):
    page = report(sweep)

    tables = page.all("table")
    assert len(tables) == len(page.captions)
    assert all(page.captions)
    assert {head["scope"] for head in page.all("th")} == {"col", "row"}
    pictures = [svg for svg in page.all("svg") if "aria-hidden" not in svg]
    assert pictures
    assert all(svg["role"] == "img" and svg["aria-label"] for svg in pictures)
    assert page.all("html") == [{"lang": "en"}]


def test_several_runs_are_named_in_every_row(report, tmp_path):
    folders = [write_sweep(tmp_path / name, seeds=(0,)) for name in ("first", "second")]

    page = report(*folders)

    assert "first/trial_00000" in page.texts["summary"]
    assert "second: lr 0.01" in page.texts["curves"]
    assert len(page.numbers("Trials")) == 4


def test_runs_of_different_environments_have_no_common_effects(report, tmp_path):
    other = {"id": "MultiGrid-Empty-6x6-v0", "num_agents": 2}
    folders = [write_sweep(tmp_path / "first"), write_sweep(tmp_path / "second", env=other)]

    text = report(*folders).texts["hyperparameters"]

    assert "different environments, whose returns do not compare" in text
    assert "rank correlation" not in text


def test_a_failed_trial_tells_its_error(report, sweep):
    error = "Traceback ...\nValueError: the env broke"
    edit_summary(sweep, lambda c: c["trials"][0].update(status="failed", error=error))

    assert "trial_00000 failed: ValueError: the env broke" in report(sweep).texts["summary"]


def test_long_curves_of_many_trials_stay_small(tmp_path):
    lrs = [0.001 * i for i in range(1, 5)]
    folder = write_sweep(tmp_path / "runs" / "long", lrs=lrs, num_rows=2000)

    written = write_report([folder], tmp_path / "report.html", episodes=0)

    assert written.num_trials == 12
    assert written.num_bytes == (tmp_path / "report.html").stat().st_size < 1_500_000


def test_an_old_report_is_replaced_whole_or_left(report, sweep, tmp_path, monkeypatch):
    out = tmp_path / "report.html"
    out.write_text("old")
    (sweep / "summary.json").write_text("{}")
    with pytest.raises(Exception, match="damaged"):
        report(sweep)

    assert out.read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "runs"]


def test_without_playing_neither_ray_nor_torch_is_imported(sweep, tmp_path):
    code = f"""
import sys
from empo_rllib.results.report.write import write_report
write_report([{str(sweep)!r}], {str(tmp_path / "report.html")!r}, episodes=0)
assert not {{"ray", "torch", "multigrid"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
