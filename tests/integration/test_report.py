"""A run of twelve trials, its report, and what a browser shows of it."""

from __future__ import annotations

import csv
import functools
import itertools
import json
import shutil
import time
from collections.abc import Iterable
from pathlib import Path

import pytest
import yaml
from bars import record_bar
from commands import ROOT, Run, Workplace, snapshot
from look_at_report import CHROMIUM, SCHEMES, WIDTHS, Look, browser
from ray_head import Head
from repository import wait_until

from empo_rllib.experiment.summary import read_summary

SECTIONS = ["summary", "setup", "curves", "throughput", "evaluation", "comparison", "crossplay"]
SECTIONS += ["hyperparameters", "pareto-front", "population", "episodes", "visits", "repeat"]
EPISODES = 20
# For people to look at.
SCREENSHOTS = ROOT / "build" / "report"
SEEDS, LRS = [0, 1, 2], [1e-4, 1e-3, 3e-3, 1e-2]
# What is trained: the first two of the twelve.
TWO = {
    "name": "twelve",
    "seed": {"grid_search": SEEDS[:2]},
    "env": {"kwargs": {"max_steps": 100}},
    "algorithm": {"params": {"lr": {"grid_search": LRS[:1]}}},
    "stop": {"env_steps": 600},
}
needs_chromium = pytest.mark.skipif(
    not CHROMIUM.exists(),
    reason=f"no {CHROMIUM}: tests/testbed/install_browser.sh installs it",
)


@pytest.fixture(scope="module")
def run(place: Workplace, cluster: Head) -> Run:
    cluster.tune(place, "--config", place.write_experiment(**TWO)).check()
    run = place.run("twelve")
    add_ten_trials(run)
    return run


def add_ten_trials(run: Run) -> None:
    """Adds copies of the two trials, with their own settings and with returns that differ."""
    file = run.folder / "resolved_config.yaml"
    experiment = yaml.safe_load(file.read_text())
    experiment["seed"]["grid_search"] = SEEDS
    experiment["algorithm"]["params"]["lr"]["grid_search"] = LRS
    file.write_text(yaml.safe_dump(experiment))
    result = read_summary(run.folder)
    for number, (lr, seed) in list(enumerate(itertools.product(LRS, SEEDS)))[2:]:
        trial = result.trials[number % 2].model_copy(deep=True)
        folder = run.trial(number).folder
        shutil.copytree(run.folder / trial.trial_id, folder)
        rows = run.trial(number).rows()
        for row in filter(lambda row: row["episode_return_mean"], rows):  # an episode has ended
            row["episode_return_mean"] = str(float(row["episode_return_mean"]) + number / 100)
        with (folder / "progress.csv").open("w") as progress:
            writer = csv.DictWriter(progress, rows[0], lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        trial.trial_id = folder.name
        trial.checkpoint = f"{folder.name}/{Path(trial.checkpoint).name}"
        trial.params, trial.seed = {"algorithm.params.lr": lr}, seed
        trial.episode_return_mean = trial.metric = trial.episode_return_mean + number / 100
        result.trials.append(trial)
    result.update()
    result.write()


@pytest.fixture(scope="module")
def crossplay(place: Workplace, run: Run) -> Path:
    """A cross-play file of two of the trials."""
    players = [
        {"name": name, "run": str(run.folder), "trial": name, "checkpoint": "checkpoint_000006"}
        for name in ("trial_00000", "trial_00001")
    ]
    content = {
        "format": 1,
        "env": {"id": "MultiGrid-Empty-5x5-v0"},
        "protocol": {"episodes": 10, "seed": 0, "greedy": False},
        "players": players,
        "returns": [[0.5, 0.25], [0.125, 0.75]],
        "intervals_95": [[[0.4, 0.6], [0.2, 0.3]], [[0.1, 0.2], [0.7, 0.8]]],
        "success_rates": [[1.0, 0.5], [0.5, 1.0]],
        "self_play": [0.5, 0.75],
        "drop": [0.25, 0.625],
        "random_partner": [0.1, 0.2],
        "random_partner_drop": [0.4, 0.55],
    }
    return place.write("crossplay.json", json.dumps(content))


@pytest.fixture(scope="module")
def written(place: Workplace, run: Run, crossplay: Path) -> tuple[Path, float]:
    """The report, and the seconds it took."""
    before = snapshot(run.folder)
    out = place.folder / "report.html"
    arguments = [run.folder, "--out", out, "--episodes", EPISODES, "--crossplay", crossplay]
    start = time.perf_counter()
    outcome = place.shell("report", *arguments).check()
    seconds = time.perf_counter() - start
    assert outcome.stdout.startswith(f"{out}: 1 run, 12 trials, ")
    assert snapshot(run.folder) == before
    return out, seconds


@pytest.fixture(scope="module")
def chromium():
    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def looks(chromium, written):
    """The page in both themes and widths, after a look at all of it."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    seen = {}
    for scheme in SCHEMES:
        for width in WIDTHS:
            look = Look(chromium, written[0], width, scheme)
            look.page.screenshot(path=SCREENSHOTS / f"{scheme}-{width}.png", full_page=True)
            seen[scheme, width] = look
    return seen


@pytest.fixture
def look(chromium, written):
    """The page, newly opened."""
    opened = Look(chromium, written[0], 1280, "light")
    yield opened
    assert opened.console == []
    opened.context.close()


@needs_chromium
def test_bar_a_report_of_twelve_trials_is_quick_small_and_needs_no_network(written, looks):
    out, seconds = written
    size = out.stat().st_size / 1e6
    asked = [url for look in looks.values() for url in look.requests]
    foreign = [url for url in asked if url != out.as_uri() and not url.startswith("data:")]
    told = f"{seconds:.1f} s, 1 file, {size:.2f} MB, {len(foreign)} requests"
    met = seconds < 30 and size < 5 and not foreign
    record_bar(
        "make test-all",
        "report of 12 trials",
        "under 30 s, 1 file, under 5 MB, no request",
        told,
        met,
    )
    print(f"report of 12 trials: {told}")

    assert foreign == []
    assert size < 5
    assert [path for path in out.parent.iterdir() if "report" in path.name] == [out]


@needs_chromium
def test_the_console_is_silent(looks):
    assert [line for look in looks.values() for line in look.console] == []


@needs_chromium
def test_every_section_is_seen_in_both_themes_and_widths(looks):
    for look in looks.values():
        for section in SECTIONS:
            box = look.page.locator(f"section#{section}").bounding_box()
            assert box["height"] > 60, section
        overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert look.page.evaluate(overflow) == 0


@needs_chromium
def test_a_table_wider_than_its_box_says_so_and_scrolls(looks):
    boxes = """[...document.querySelectorAll(".scroll")].filter((b) => b.clientWidth).map((box) => {
        const wide = box.scrollWidth > box.clientWidth;
        box.scrollLeft = 9999;
        return [wide, !box.previousElementSibling.hidden, box.scrollLeft > 0];
    })"""
    for (_, width), look in looks.items():
        look.page.evaluate("document.querySelectorAll('details').forEach((one) => one.open = true)")
        find = functools.partial(look.page.evaluate, boxes)
        # What tells them is called when the page is drawn again.
        wait_until(lambda find=find: all(wide == told for wide, told, _ in find()), "the tables")
        found = find()
        assert all(wide == told == scrolled for wide, told, scrolled in found), width
        assert any(wide for wide, _, _ in found)


@needs_chromium
def test_themes_are_light_and_dark_and_text_stands_out(looks):
    for (scheme, _), look in looks.items():
        page = look.luminance("body", "backgroundColor")
        assert (page > 0.5) == (scheme == "light")
        for selector, of in (("body", "color"), ("nav a", "color"), ("#curves svg text", "fill")):
            lower, higher = sorted([page, look.luminance(selector, of)])
            assert (higher + 0.05) / (lower + 0.05) > 4.5, (scheme, selector)


@needs_chromium
@pytest.mark.parametrize("width", WIDTHS)
def test_bar_axe_finds_no_text_of_low_contrast(chromium, written, width):
    look = Look(chromium, written[0], width, "light")
    look.shorten()
    for scheme in SCHEMES:
        look.page.emulate_media(color_scheme=scheme)
        assert look.contrast_in_pictures() >= 4.5
        assert look.low_contrast() == []
    look.page.evaluate("document.querySelector('#summary p').style.color = '#666666'")
    (found,) = look.low_contrast("#summary")
    assert "rgb(102, 102, 102)" in found
    look.context.close()


@needs_chromium
def test_numbers_are_those_of_summary_json(looks, run):
    trials = run.summary["trials"]
    for look in looks.values():
        assert look.column("Trials", "trial") == [trial["trial_id"] for trial in trials]
        for name, key in (
            ("env steps", "env_steps"),
            ("episodes", "episodes"),
            ("time", "time_s"),
            ("env steps/s", "env_steps_per_s"),
            ("return", "episode_return_mean"),
            ("metric", "metric"),
        ):
            assert look.exact("Trials", name) == [trial[key] for trial in trials]
        groups = look.exact("Seeds of the same settings", "mean return")
        assert groups == [group["mean"] for group in run.summary["groups"]]


@needs_chromium
def test_curves_end_where_the_groups_of_summary_json_are(look, run):
    ends = [
        rows[-1]
        for group in run.summary["groups"]
        if (rows := look.exact("return (sum over agents) against env steps", _label(group)))
    ]
    means = [group["mean"] for group in run.summary["groups"]]
    assert ends == pytest.approx(means)


def _label(group) -> str:
    return f"lr {group['params']['algorithm.params.lr']:g} (3 seeds)"


@needs_chromium
def test_evaluation_has_every_trial_and_the_numbers_of_the_command(look, place, run):
    trials = look.column("Evaluation: the return", "trial")
    assert len(trials) == 15  # the best one also greedy
    assert trials[-2:] == ["random policy", "optimum"]
    assert look.exact("Evaluation: the return", "return")[-1] > 0.5
    assert look.exact("Seeds of the same settings, evaluated", "seeds") == [3] * 4
    arguments = ["evaluate", run.folder, "--episodes", EPISODES, "--sampled", "--json"]
    told = json.loads(place.type(*arguments).check().stdout)
    assert look.exact("Evaluation: the return", "return")[0] == told["episode_return"]["mean"]
    best = run.summary["best_trial"]
    assert look.exact(f"All episodes of twelve, {best}", "return") == [
        episode["episode_return"] for episode in told["episodes"]
    ]


@needs_chromium
def test_hyperparameters_crossplay_films_and_visits_hold_real_numbers(look):
    assert look.column("Effect of each setting", "setting") == ["lr"]
    assert -1 <= look.exact("Effect of each setting", "rank correlation")[0] <= 1
    assert look.exact("Return of every pair", "with trial_00001") == [0.25, 0.75]
    assert look.page.locator("#visits .heat").count() > 0
    films = look.page.locator("#episodes figure")
    assert films.count() == 3
    for index in range(3):
        films.nth(index).locator("summary").click()
        moving = films.nth(index).locator("details > img")
        assert moving.is_visible()
        assert moving.evaluate("image => image.decode().then(() => image.naturalWidth)") > 100


@needs_chromium
def test_a_click_on_a_column_sorts_by_it_and_another_one_the_other_way(look):
    before = look.exact("Trials", "return")
    table = look.page.locator("table", has=look.page.get_by_text("Trials: the numbers"))
    head = table.locator("th[scope=col]", has_text="return")

    head.get_by_role("button").click()
    assert look.exact("Trials", "return") == sorted(before)
    assert head.get_attribute("aria-sort") == "ascending"
    head.get_by_role("button").click()
    assert look.exact("Trials", "return") == sorted(before, reverse=True)
    assert head.get_attribute("aria-sort") == "descending"


@needs_chromium
def test_everything_works_by_keyboard(look):
    page, keyboard = look.page, look.page.keyboard
    keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "theme"
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    assert page.evaluate(outline) == "solid"
    keyboard.press("Enter")
    assert look.luminance("body", "backgroundColor") < 0.1
    page.locator("#summary th button").first.focus()
    keyboard.press("Space")
    assert page.locator("#summary th").first.get_attribute("aria-sort") == "ascending"
    page.locator("input[value=env_steps]").focus()
    keyboard.press("ArrowRight")
    assert page.locator(".view[data-axis=time_s] svg").first.is_visible()
    assert not page.locator(".view[data-axis=env_steps] svg").first.is_visible()
    page.locator("#episodes summary").first.focus()
    keyboard.press("Enter")
    assert page.locator("#episodes details > img").first.is_visible()


@needs_chromium
def test_the_arrow_keys_and_the_pointer_read_a_curve_off(look):
    view = look.page.locator(".view[data-axis=env_steps]").first
    chart, readout = view.locator("svg"), view.locator(".readout")
    chart.focus()
    look.page.keyboard.press("End")
    title = "return (sum over agents) against env steps"
    last = look.column(title, "lr 0.01 (3 seeds)")[-1]
    assert f"lr 0.01 (3 seeds): {last}" in readout.text_content()
    box = chart.bounding_box()
    look.page.mouse.move(box["x"] + 1, box["y"] + 50)
    first = look.column(title, "lr 0.01 (3 seeds)")[0]
    assert f"lr 0.01 (3 seeds): {first}" in readout.text_content()


@needs_chromium
def test_a_theme_is_kept_and_the_policy_stops_foreign_code(chromium, written):
    look = Look(chromium, written[0], 1280, "light")
    look.page.get_by_role("button", name="Dark theme").click()
    look.page.reload()
    assert look.luminance("body", "backgroundColor") < 0.1
    assert look.console == []
    look.page.evaluate(
        """() => {
            const script = document.createElement("script");
            script.textContent = "document.title = 'taken over'";
            document.body.append(script);
            document.body.append(Object.assign(new Image(), { src: "http://127.0.0.1:9/x.png" }));
        }"""
    )
    for directive in ("script-src", "img-src"):
        look.wait_for_console(directive)
    assert look.page.title() == "twelve: report"
    look.context.close()


def test_damaged_runs_end_the_command_with_one_message(place, run, tmp_path):
    for name, damage in (
        ("cut", lambda copy: _cut(copy / "trial_00003" / "progress.csv", 30)),
        ("weights", lambda copy: _cut_all(copy.glob("trial_00003/*/policies/*"), 30)),
        ("foreign", lambda copy: (copy / "summary.json").write_text('{"epochs": 3}')),
    ):
        copy = shutil.copytree(run.folder, tmp_path / name)
        damage(copy)
        out = tmp_path / "report.html"
        outcome = place.type("report", copy, "--out", out)
        assert (outcome.code, outcome.stdout) == (2, "")
        assert outcome.stderr.startswith("Reading 1 run\n")
        assert outcome.stderr.count("error: ") == 1
        assert "Traceback" not in outcome.stderr
        assert not out.exists()


def _cut_all(paths: Iterable[Path], size: int) -> None:
    """Of one damaged checkpoint the one before it takes the place."""
    for path in (found := list(paths)):
        _cut(path, size)
    assert found


def _cut(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:-size])
