"""The table of trials, as it stands on terminals of three widths.

`GOLDEN` holds every screen; after a change of the table, look at the new text and save that.
"""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from empo_rllib.console import PrintableConsole
from empo_rllib.experiment.trial_table import (
    TrialTable,
    describe_counts,
    describe_params,
    describe_status,
)

GOLDEN = Path(__file__).with_name("trial_tables.txt")
WIDTHS = (80, 100, 200)
COUNTS = (1, 3, 20, 200)
PARAMS = ("algorithm.params.lr", "algorithm.params.entropy_coeff", "model.hidden_sizes")


@pytest.fixture
def sweep(experiment, result, trial):
    """Returns a function from a number of trials to a run under way, and its newest rows.

    Half of the trials are over, two run, and the others wait.
    """

    def build(count, **sections):
        trials, rows = [], {}
        for number in range(count):
            one = trial(number, seed=number % 2)
            if count > 1:
                values = (10 ** (-2 - number % 5 / 2), 0.01 * (number % 3), [64] * (number % 2 + 1))
                one.params = dict(zip(PARAMS, values, strict=True))
            if number < count // 2 + 2:
                begin(one, number, number < count // 2)
            if one.status == "running":
                rows[one.trial_id] = row_of(one)
            trials.append(one)
        config = experiment(**{"stop": {"env_steps": 200_000}, **sections})
        return config, result(*trials), rows

    return build


def begin(one, number, is_over):
    one.status = ("finished", "stopped", "failed")[number % 3] if is_over else "running"
    one.env_steps = 200_000 if one.status == "finished" else 40_000 + 1000 * number
    one.time_s, one.episodes = one.env_steps / 2000, one.env_steps // 100
    one.metric = one.episode_return_mean = (number * 37 % 100) / 100


def row_of(one):
    return {
        "env_steps_per_s": 2345.6,
        "policy_return_mean/agent_0": one.episode_return_mean / 2,
        "policy_return_mean/agent_1": one.episode_return_mean / 2,
    }


def screen(sweep, width, height=40, **encoding):
    """Returns what stands on a terminal without colours."""
    config, result, rows = sweep
    file = io.TextIOWrapper(io.BytesIO(), **{"encoding": "utf-8", **encoding})
    console = Console(file=file, width=width)
    console.print(TrialTable(config, result).render(rows, width, height))
    file.seek(0)
    return "".join(f"{line.rstrip()}\n" for line in file.read().splitlines())


def screens(sweep):
    return "\n".join(
        f"== {count} trials, {width} columns\n{screen(sweep(count), width)}"
        for count in COUNTS
        for width in WIDTHS
    )


def test_the_table_stands_as_it_was_looked_at(sweep):
    assert screens(sweep) == GOLDEN.read_text()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("count", COUNTS)
def test_nothing_wraps_or_is_clipped(sweep, count, width):
    for height in (10, 24, 60):
        lines = screen(sweep(count), width, height).splitlines()
        assert max(map(cell_len, lines)) <= width
        assert len(lines) < height
        assert not any("…" in line for line in lines)


def test_running_trials_are_shown_where_not_all_fit_and_the_best_comes_first(sweep):
    lines = screen(sweep(200), 80, 12).splitlines()
    assert sum("left" in line for line in lines) == 2
    returns = [float(line.split()[-3]) for line in lines if line.endswith("left")]
    assert returns == sorted(returns, reverse=True)
    assert "not shown: 95 more trials that have begun" in lines


def test_a_smaller_metric_may_be_the_better_one(sweep):
    config, result, rows = sweep(3)
    result.mode = "min"
    first = screen((config, result, rows), 80).splitlines()[1]
    assert first.startswith(min(result.trials, key=lambda one: one.metric).trial_id)


def test_a_mean_over_few_episodes_does_not_come_first(sweep):
    config, result, rows = sweep(3)
    best = max(result.trials, key=lambda one: one.metric)
    best.is_settled = False
    assert screen((config, result, rows), 80).splitlines()[3].startswith(best.trial_id)


def test_another_metric_has_a_column(sweep):
    config, result, rows = sweep(3, tune={"metric": "success_rate"})
    result.trials[0].metric = 0.125
    text = screen((config, result, rows), 100)
    assert "metric" in text
    assert "0.125" in text


def test_columns_that_do_not_fit_in_are_named(sweep):
    assert screen(sweep(20), 80).splitlines()[-1].startswith("not shown in 80 columns: ")
    assert "not shown in" not in screen(sweep(20), 200)


def test_a_run_that_only_its_return_ends_has_no_bar(sweep):
    text = screen(sweep(1, stop={"env_steps": None, "episode_return_mean": 0.9}), 80)
    assert "progress" not in text
    assert "running" in text


def test_before_a_trial_has_begun_there_are_only_counts(sweep):
    config, result, rows = sweep(3)
    for one in result.trials:
        one.status, one.env_steps = "pending", 0
    assert screen((config, result, rows), 80) == "3 to go\n"


def test_a_terminal_without_unicode_shows_it_too(sweep):
    assert "--" in screen(sweep(3), 80, encoding="ascii", errors="strict")


def test_values_of_others_neither_steer_the_terminal_nor_wrap(experiment, result, trial):
    trials = [
        trial(number, status="running", params={"env.kwargs.map": f"{number}\x1b[2J\n{'x' * 99}"})
        for number in range(2)
    ]
    file = io.StringIO()
    console = PrintableConsole(file=file, width=80)
    console.print(TrialTable(experiment(), result(*trials)).render({}, 80, 24))
    assert "map" in file.getvalue()
    assert "\x1b" not in file.getvalue()
    assert max(map(len, file.getvalue().splitlines())) <= 80


# The lines


def test_the_counts_say_how_long_the_whole_run_takes(sweep):
    config, run, _ = sweep(20)
    assert describe_counts(config, run) == (
        "2 running, 4 finished, 3 stopped, 3 failed, 8 to go, about 6 min"
    )


def test_a_run_that_may_end_earlier_says_at_most(sweep):
    config, run, _ = sweep(20, tune={"scheduler": "asha"})
    assert describe_counts(config, run).endswith("at most 6 min")


@pytest.mark.parametrize(
    ("stop", "text"),
    [
        ({"env_steps": 200_000}, "1m15s left"),
        ({"env_steps": 200_000, "episode_return_mean": 0.9}, "at most 1m15s"),
        ({"env_steps": None, "episode_return_mean": 0.9}, "running"),
    ],
)
def test_the_status_of_a_running_trial_is_its_time_left(experiment, trial, stop, text):
    one = trial(status="running", env_steps=50_000, time_s=25.0)
    assert describe_status(experiment(stop=stop), one, has_row=True) == text


def test_a_trial_without_a_row_is_starting(experiment, trial):
    assert describe_status(experiment(), trial(status="running"), has_row=False) == "starting"


def test_what_varies_has_short_names_unless_two_end_alike(trial):
    trials = [
        trial(
            number,
            params={
                "env.kwargs.size": 8 + number,
                "model.kwargs.size": 0.000123456 * (number + 1),
                "algorithm.params.lr": 1.0,  # the same by chance
            },
        )
        for number in range(2)
    ]
    assert describe_params(trials)["trial_00001"] == {
        "env.kwargs.size": "9",
        "model.kwargs.size": "0.000247",
        "seed": "1",
    }


def test_algorithms_are_not_called_names(trial):
    trials = [trial(i, params={"algorithm.name": name}) for i, name in enumerate(["PPO", "DQN"])]
    assert describe_params(trials)["trial_00001"]["algorithm"] == "DQN"


def test_a_value_that_depends_on_another_is_missing_where_it_was_not_drawn(trial):
    key = "algorithm.params.clip_param"
    trials = [trial(0, params={key: None}), trial(1, params={})]
    assert [one["clip_param"] for one in describe_params(trials).values()] == ["None", "-"]


def test_a_trial_alone_varies_nothing(trial):
    assert describe_params([trial(0, params={"algorithm.params.lr": 0.1})]) == {"trial_00000": {}}


def test_metrics_of_the_users_come_last_and_are_left_out_first(sweep):
    config, result, rows = sweep(1)
    for row in rows.values():
        row |= {"custom/forward_share": 0.25, "evaluation/custom/other": 1.0}
    wide = screen((config, result, rows), 120).splitlines()
    assert wide[0].split().index("forward_share") == wide[0].split().index("status") - 1
    assert " 0.250 " in wide[1]
    assert "other" not in wide[0]
    narrow = screen((config, result, rows), 80)
    assert narrow.splitlines()[-1] == "not shown in 80 columns: steps/s, forward_share"
