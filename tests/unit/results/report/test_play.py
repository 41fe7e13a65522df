"""Episodes of a report: evaluated as `evaluate` does, watched, filmed, counted."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import io
import shutil
import sys

import numpy as np
import pytest
from PIL import Image

from empo_rllib import cli
from empo_rllib.errors import ConfigError, EnvError
from empo_rllib.results.captions import Layout
from empo_rllib.results.evaluate import evaluate
from empo_rllib.results.report import films
from empo_rllib.results.report.films import Filmer
from empo_rllib.results.report.play import Trace, play
from empo_rllib.results.report.runs import read_runs
from empo_rllib.results.report.sections.episodes import build_episodes, pick
from empo_rllib.results.report.sections.evaluation import build_evaluation
from empo_rllib.results.report.sections.visits import build_visits, count_visits
from empo_rllib.results.report.write import write_report

pytestmark = pytest.mark.filterwarnings("ignore")  # RLlib warns about its own parts

EPISODES, SEED = 4, 3


def tell(text):
    pass


@pytest.fixture(scope="module")
def runs(run_folder):
    return read_runs([run_folder])


@pytest.fixture(scope="module")
def played(runs):
    return play(runs, EPISODES, SEED, tell)


@pytest.fixture(scope="module")
def watched(played):
    return played.watched[0]


def test_the_best_trial_is_evaluated_with_sampled_and_with_greedy_actions(run_folder, played):
    sampled, greedy = (one.result for one in played.evaluations)

    for one, is_greedy in ((sampled, False), (greedy, True)):
        told = evaluate(run_folder, EPISODES, SEED, greedy=is_greedy, references=not is_greedy)
        assert dataclasses.replace(one, source=told.source) == told


def test_returns_stand_beside_the_random_policys_and_the_optimum(runs, played):
    references = played.evaluations[0].result.references

    table = build_evaluation(runs, played).parts[1]

    random_policy, optimum = table.rows[-2:]
    assert random_policy[0].text == "random policy"
    assert random_policy[4].value == references.random_policy.episode_return.mean
    assert (optimum[0].text, optimum[4].value) == ("optimum", references.optimum)
    assert references.optimum > 0.5


def test_the_watched_episodes_are_those_that_were_evaluated(played, watched):
    evaluated = played.evaluations[0].result.episodes

    assert [sum(e.returns.values()) for e in watched.episodes] == [
        episode["episode_return"] for episode in evaluated
    ]
    assert [e.length for e in watched.episodes] == [e["episode_length"] for e in evaluated]


def test_a_trace_has_the_places_of_a_reset_and_of_every_step(watched):
    for episode, trace in zip(watched.episodes, watched.traces, strict=True):
        assert len(trace.actions) == episode.length
        assert len(trace.places) == episode.length + 1
        assert trace.places[0] == {"agent_0": (1, 1), "agent_1": (1, 1)}
        for before, after in zip(trace.places, trace.places[1:], strict=False):
            for agent, (x, y) in after.items():
                assert abs(x - before[agent][0]) + abs(y - before[agent][1]) <= 1


def test_the_grid_has_its_walls_and_its_goal(watched):
    assert watched.grid.walls.sum() == 16
    assert np.argwhere(watched.grid.goals).tolist() == [[3, 3]]


def test_every_step_of_an_agent_that_is_there_is_a_visit():
    traces = [
        Trace([], [{"a": (1, 1), "b": (2, 1)}, {"a": (1, 1)}, {"a": (2, 1)}]),
        Trace([], [{"a": (1, 2)}]),
    ]

    visits = count_visits(traces, "a", (3, 3))

    assert visits.tolist() == [[0, 0, 0], [0, 2, 1], [0, 1, 0]]
    assert count_visits(traces, "b", (3, 3)).sum() == 1


def test_visits_have_a_map_per_agent_whose_shares_add_up(played):
    _, charts = build_visits(played).parts

    assert [chart.title for chart in charts.charts] == ["small: agent_0", "small: agent_1"]
    for chart in charts.charts:
        shares = [cell.value for row in chart.views[0].table.rows for cell in row[1:]]
        assert len(shares) == 25
        assert sum(shares) == pytest.approx(1.0)


def test_an_environment_without_a_grid_says_so(write_run, tmp_path):
    folder = write_run(tmp_path / "pole", env={"id": "CartPole-v1"})

    (text,) = build_visits(play(read_runs([folder]), 1, 0, tell)).parts

    assert "CartPole-v1 is no MultiGrid" in text.text


class Finished:
    """An episode with a return."""

    def __init__(self, value):
        self.returns = {"a": value}


@pytest.mark.parametrize(
    ("returns", "chosen"),
    [
        ([3, 1, 2], [("best", 0), ("median", 2), ("worst", 1)]),
        ([4, 1, 3, 2, 0], [("best", 0), ("median", 3), ("worst", 4)]),
        ([1, 2], [("best", 1), ("worst", 0)]),
        ([1], [("best", 0)]),
        ([7, 7, 7], [("best", 2), ("median", 1), ("worst", 0)]),
    ],
)
def test_the_best_the_median_and_the_worst_are_picked_none_twice(returns, chosen):
    assert pick([Finished(value) for value in returns]) == chosen


def _image(uri):
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


@pytest.fixture
def filmer(watched):
    filmer = Filmer(watched, 100)
    yield filmer
    filmer.close()


def test_a_film_shows_every_step_of_the_episode_that_was_played(filmer, watched):
    still, film, every = filmer.film(1, "best")

    assert every == 1
    assert film.startswith("data:image/gif;base64,")
    moving = _image(film)
    durations = []
    for index in range(moving.n_frames):
        moving.seek(index)
        durations.append(moving.info["duration"])
    # Equal pictures in a row are joined.
    assert sum(durations) == 200 * watched.episodes[1].length + 1500
    assert still.startswith("data:image/png;base64,")
    assert _image(still).size == moving.size


def test_a_film_that_is_too_large_is_shown_in_larger_steps(filmer, monkeypatch):
    film = filmer.film(0, "best")[1]
    monkeypatch.setattr(films, "MAX_FILM_BYTES", 1)

    _, smaller, every = filmer.film(0, "best")

    assert every == 2  # 12 frames or less are always shown
    assert len(smaller) < len(film)


def test_a_long_episode_is_shown_in_steps_of_the_same_size(watched):
    index = max(range(EPISODES), key=lambda i: watched.episodes[i].length)
    with contextlib.closing(Filmer(watched, 1)) as filmer:
        every = filmer.film(index, "worst")[2]
    assert every == 2  # 20 steps, at most 12 pictures


def test_an_environment_that_does_not_repeat_itself_is_not_filmed(watched):
    shorter = [Trace(trace.actions[:-1], trace.places) for trace in watched.traces]
    filmer = Filmer(dataclasses.replace(watched, traces=shorter), 100)

    with contextlib.closing(filmer), pytest.raises(EnvError, match="does not repeat an episode"):
        filmer.film(0, "best")


def test_episodes_are_filmed_and_all_told(runs, played, watched):
    _, films_, table = build_episodes(runs, played, tell).parts

    assert [film.title for film in films_.films] == [
        "small: best episode",
        "small: median episode",
        "small: worst episode",
    ]
    assert [row[1].value for row in table.rows] == [
        sum(episode.returns.values()) for episode in watched.episodes
    ]


def test_captions_of_films_tell_which_of_how_many_episodes_it_is(runs, played, monkeypatch):
    seen = []
    draw = Layout.draw

    def remember(self, picture, caption):
        seen.append(caption.title)
        return draw(self, picture, caption)

    monkeypatch.setattr(Layout, "draw", remember)

    build_episodes(runs, played, tell)

    assert len(set(seen)) == 3
    assert seen[0].startswith(f"Best of {EPISODES} episodes (seed ")
    assert f"Worst of {EPISODES} episodes (seed " in seen[-1]


def test_an_environment_without_pictures_is_reported_without_films(runs, played, monkeypatch):
    from empo_rllib.envs.multi_agent_env import ParallelMultiAgentEnv

    monkeypatch.setattr(ParallelMultiAgentEnv, "render", lambda self: "text")

    _, text, table = build_episodes(runs, played, tell).parts

    assert "No films of small: MultiGrid-Empty-5x5-v0 cannot be filmed" in text.text
    assert len(table.rows) == EPISODES


@pytest.fixture
def copy(run_folder, tmp_path):
    """A copy of the run, to be damaged."""
    return shutil.copytree(run_folder, tmp_path / "runs" / "copy")


def command(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["empo_rllib", "report", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    output = capsys.readouterr()
    return ended.value.code, output.out, output.err


def test_the_command_writes_one_file_and_says_so(copy, tmp_path, monkeypatch, capsys):
    before = {path: path.stat().st_mtime_ns for path in copy.rglob("*")}
    out = tmp_path / "report.html"

    code, text, err = command(monkeypatch, capsys, copy, "--out", out, "--episodes", 2)

    size = out.stat().st_size / 1e6
    assert (code, text) == (0, f"{out}: 1 run, 1 trial, {size:.1f} MB\n")
    assert err.startswith("Reading 1 run\n")
    assert {path: path.stat().st_mtime_ns for path in copy.rglob("*")} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "runs"]


def test_the_same_arguments_give_the_same_report(copy, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_report([copy], tmp_path / name / "report.html", episodes=2)

    a, b = ((tmp_path / name / "report.html").read_text() for name in ("a", "b"))
    assert a.replace(str(tmp_path / "a"), "") == b.replace(str(tmp_path / "b"), "")


@pytest.mark.parametrize("number_of_bytes", [0, 100])
def test_damaged_weights_are_one_message_and_nothing_is_written(
    copy, tmp_path, monkeypatch, capsys, number_of_bytes
):
    weights = next(copy.glob("*/*/policies/agent_1.safetensors"))
    weights.write_bytes(weights.read_bytes()[:number_of_bytes])

    code, text, err = command(monkeypatch, capsys, copy, "--out", tmp_path / "report.html")

    assert (code, text) == (2, "")
    assert err.startswith("Reading 1 run\n")
    assert err.count("error: ") == 1
    assert "agent_1.safetensors: damaged weights" in err
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


def test_pickles_of_a_run_are_not_read(copy, tmp_path):
    """A pickle that tells when it is loaded lies wherever RLlib has one."""
    trap = tmp_path / "trap"
    bomb = f"cos\nsystem\n(S'touch {trap}'\ntR.".encode()
    algorithm = next(copy.glob("*/checkpoint_*")) / "algorithm"
    algorithm.mkdir()
    for name in ("algorithm_state.pkl", "class_and_ctor_args.pkl", "state.pkl"):
        (algorithm / name).write_bytes(bomb)

    write_report([copy], tmp_path / "report.html", episodes=1)

    assert not trap.exists()


def test_an_environment_that_is_gone_names_the_way_round(write_run, tmp_path):
    folder = write_run(tmp_path / "runs" / "gone")
    config = folder / "resolved_config.yaml"
    config.write_text(config.read_text().replace("MultiGrid-Empty-5x5-v0", "gone.module:factory"))
    out = tmp_path / "report.html"

    with pytest.raises(ConfigError, match="--episodes 0 makes the report without playing"):
        write_report([folder], out, episodes=1)

    assert not out.exists()
    write_report([folder], out, episodes=0)
    assert out.exists()
