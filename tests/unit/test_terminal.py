"""Names, exceptions and answers of others reach the terminal as text, and steer nothing."""

from __future__ import annotations

import json
import logging
import re
import sys

import pytest
from rich.table import Table
from rich.text import Text

from empo_rllib import cli, columns
from empo_rllib.command_line import echo, reporting_errors
from empo_rllib.console import PrintableConsole
from empo_rllib.errors import ConfigError
from empo_rllib.experiment.outcome import render_outcome
from empo_rllib.experiment.summary import ExperimentResult, TrialSummary
from empo_rllib.service.jobs import Job, describe_end
from empo_rllib.service.table import render_jobs
from empo_rllib.terminal import printable, printable_drawn, printable_styled

# Colour, window title, clearing the screen, overwriting a line, bell, C1, DEL, direction.
EVIL = "\x1b[31mred\x1b]0;title\x07\x1b[2J\rover\x08\x9b31m\x7f\u202egnp\u2066\udcff\x00"
RAW = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def test_every_control_is_shown_as_its_number() -> None:
    assert (
        printable("\x1b[31m \x7f \x9b \u202e \u2066") == r"\u001b[31m \u007f \u009b \u202e \u2066"
    )
    assert not RAW.search(printable(EVIL))


def test_ordinary_text_stays_as_it_is() -> None:
    text = "två\n\tlines – 日本語 👋"
    assert printable(text) == text


def test_json_stays_json() -> None:
    text = json.dumps({"name": EVIL})
    assert json.loads(printable(text)) == {"name": EVIL}


def test_colours_stay_where_they_are_asked_for_and_live_displays_too() -> None:
    assert printable_styled("\x1b[1;31mred\x1b[0m\x1b[2K") == "\x1b[1;31mred\x1b[0m\\u001b[2K"
    assert (
        printable_drawn("\r\x1b[2K\x1b[1A\x1b[?25l\x1b[2J") == "\r\x1b[2K\x1b[1A\x1b[?25l\\u001b[2J"
    )


def test_an_error_cannot_steer_the_terminal(capsys) -> None:
    with pytest.raises(SystemExit), reporting_errors():
        raise ConfigError(f"env.id = {EVIL}")
    told = capsys.readouterr().err
    assert "env.id" in told
    assert not RAW.search(told)


def test_a_warning_cannot_steer_the_terminal(capsys, monkeypatch) -> None:
    monkeypatch.setattr(logging.root, "handlers", [])  # pytest's
    with reporting_errors():
        logging.getLogger("empo_rllib.some").warning("%s: damaged", EVIL)
    told = capsys.readouterr().err
    assert "damaged" in told
    assert not RAW.search(told)


def test_what_nobody_escaped_is_escaped_by_the_stream(capsys) -> None:
    with reporting_errors():
        print("\x1b]0;title\x07 \u202e \udcff")
    assert capsys.readouterr().out == "\\u001b]0;title\\u0007 \\u202e \\udcff\n"


def test_a_command_shows_a_key_of_an_experiment_as_text(tmp_path, monkeypatch, capsys) -> None:
    path = tmp_path / "x\x1b[31m.yaml"
    path.write_text(
        r'{name: run, env: {id: "a\e[31m\u202E:b"}, "se\ed": 1, algorithm: {name: PPO}}'
    )
    monkeypatch.setattr(sys, "argv", ["empo_rllib", "doctor", "--config", str(path)])
    with pytest.raises(SystemExit):
        cli.main()
    told = capsys.readouterr().err
    assert r"x\u001b[31m.yaml: se\u001bd" in told
    assert not RAW.search(told)


def test_an_exception_of_a_trial_is_shown_as_text(capsys) -> None:
    trial = TrialSummary(trial_id="trial_00000", params={}, seed=0, status="failed", error=EVIL)
    result = ExperimentResult(
        status="failed", sampler="python", sampler_reason="", metric="episode_return_mean",
        mode="max", trials=[trial], folder=f"/tmp/{EVIL}",
    )  # fmt: skip
    with reporting_errors():
        echo(render_outcome(result, "command"))
    told = capsys.readouterr().out
    assert "trial_00000 failed" in told
    assert not RAW.search(told)


def test_an_answer_of_a_cluster_is_shown_as_text(capsys) -> None:
    job = Job(EVIL, "run", "lost", None, 0.0, 1.0, EVIL, EVIL)
    with reporting_errors():
        PrintableConsole(soft_wrap=True).print(render_jobs([job]))
        echo(describe_end(job))
    assert not RAW.search(capsys.readouterr().out)


def test_a_table_keeps_its_own_styles_and_escapes_its_cells(capsys) -> None:
    table = Table()
    table.add_column("name")
    table.add_row(Text(EVIL, style="bold"))
    PrintableConsole(force_terminal=True, color_system="standard").print(table)
    told = capsys.readouterr().out
    assert "\x1b[1m" in told
    assert "\x1b[31m" not in told
    assert not RAW.search(re.sub(r"\x1b\[[0-9;]*m", "", told))


def test_no_column_of_progress_begins_like_a_formula_of_a_spreadsheet() -> None:
    """All cells are numbers; agents and policies name columns, but only after these."""
    names = [value for name, value in vars(columns).items() if name.isupper()]
    assert names
    assert all(name[0].isalpha() for name in names)
