"""Cross-play files of format 1 are shown; all others are refused with what is wrong."""

from __future__ import annotations

import json

import pytest

from empo_rllib.errors import ConfigError
from empo_rllib.results.report.crossplay import CrossPlay, read_crossplay
from empo_rllib.results.report.sections.crossplay import build_crossplay


def test_the_matrix_has_a_shaded_cell_per_pair(crossplay):
    _, matrix, players = build_crossplay(CrossPlay.model_validate(crossplay)).parts

    assert list(matrix.columns) == ["policies", "with red", "with blue"]
    assert [[cell.text for cell in row] for row in matrix.rows] == [
        ["red", "0.900 (0.800 to 1.000), success 100%", "0.250 (0.200 to 0.300), success 50%"],
        ["blue", "0.125 (0.100 to 0.200)", "0.800 (0.700 to 0.900), success 75%"],
    ]
    assert [[cell.level for cell in row[1:]] for row in matrix.rows] == [[9, 2], [1, 8]]
    assert [cell.text for cell in players.rows[1][:5]] == [
        "blue",
        "0.800",
        "0.675",
        "0.200",
        "0.600",
    ]


def test_without_one_the_section_says_how_to_make_it():
    text, code = build_crossplay(None).parts

    assert "No cross-play was given" in text.text
    assert code.text.startswith("python -m empo_rllib crossplay RUN RUN --out crossplay.json\n")


def test_equal_returns_are_shaded_alike(crossplay):
    crossplay["returns"] = [[0.5, 0.5], [0.5, 0.5]]

    matrix = build_crossplay(CrossPlay.model_validate(crossplay)).parts[1]

    assert {cell.level for row in matrix.rows for cell in row[1:]} == {9}


@pytest.mark.parametrize(
    ("returns", "random_partner", "low", "high", "levels"),
    [
        ([[0.96, 0.94], [0.94, 0.96]], [0.9, 0.9], "0.000", "0.960", [[9, 9], [9, 9]]),
        (
            [[-150.0, -152.0], [-190.0, -150.0]],
            [-200.0, -180.0],
            "-200.000",
            "0.000",
            [[2, 2], [0, 2]],
        ),
        ([[1.0, -1.0], [0.0, 0.5]], [0.0, 0.0], "-1.000", "1.000", [[9, 0], [5, 7]]),
        ([[0.0, 0.0], [0.0, 0.0]], [0.0, 0.0], "0.000", "0.000", [[0, 0], [0, 0]]),
    ],
)
def test_shades_are_on_a_scale_with_zero_that_the_text_tells(
    crossplay, returns, random_partner, low, high, levels
):
    content = {**crossplay, "returns": returns, "random_partner": random_partner}

    text, matrix, _ = build_crossplay(CrossPlay.model_validate(content)).parts

    assert f"from {low} to {high}" in text.text
    assert [[cell.level for cell in row[1:]] for row in matrix.rows] == levels


def test_of_one_episode_there_is_no_interval(crossplay, tmp_path):
    path = tmp_path / "crossplay.json"
    path.write_text(json.dumps({**crossplay, "intervals_95": [[[None, None]] * 2] * 2}))

    matrix = build_crossplay(read_crossplay(path)).parts[1]

    assert matrix.rows[0][1].text == "0.900, success 100%"


def test_what_later_versions_add_is_passed_over(crossplay, tmp_path):
    path = tmp_path / "crossplay.json"
    path.write_text(json.dumps({**crossplay, "more": [1]}))

    assert read_crossplay(path).drop == [0.65, 0.675]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 2}, "format: Input should be 1"),
        ({"players": []}, "players: List should have at least 1 item"),
        ({"returns": [[0.9, 0.25]]}, "returns must have 2 rows of 2"),
        ({"returns": [[0.9], [0.1]]}, "returns must have 2 rows of 2"),
        ({"returns": [["a", 0.25], [0.1, 0.2]]}, "returns.0.0: Input should be a valid number"),
        ({"returns": [[float("nan"), 0.25], [0.1, 0.2]]}, "returns.0.0: Input should be a finite"),
        ({"success_rates": [[2.0, 0.5], [None, 0.75]]}, "success_rates.0.0"),
        ({"drop": [0.1]}, "drop must have an entry for each of 2 players"),
        ({"drop": None}, "drop: Input should be a valid array"),
    ],
)
def test_another_file_is_refused(crossplay, tmp_path, changes, message):
    path = tmp_path / "crossplay.json"
    path.write_text(json.dumps({**crossplay, **changes}))

    with pytest.raises(ConfigError) as refusal:
        read_crossplay(path)

    text = str(refusal.value)
    assert text.startswith(f"--crossplay {path}: not a cross-play file of format 1: ")
    assert message in text
    assert text.endswith(
        "Make it with: python -m empo_rllib crossplay RUN RUN --out crossplay.json"
    )
    assert "\n" not in text


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000])
def test_a_damaged_file_is_refused(tmp_path, content):
    path = tmp_path / "crossplay.json"
    path.write_bytes(content)

    with pytest.raises(ConfigError, match="not a cross-play file of format 1"):
        read_crossplay(path)


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        read_crossplay(tmp_path)
