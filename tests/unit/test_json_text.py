"""JSON of strangers is bounded, and wrong in one way."""

from __future__ import annotations

from pathlib import Path

import pytest

from empo_rllib import json_text
from empo_rllib.errors import CheckpointError, EmpoError, RunError
from empo_rllib.experiment.checkpoints import read_counters, read_episodes
from empo_rllib.experiment.summary import read_summary
from empo_rllib.json_text import parse_json, read_json


def nested(levels: int) -> str:
    return "[" * levels + "]" * levels


def test_what_is_nested_as_deep_as_allowed_is_read() -> None:
    assert parse_json(nested(json_text.MAX_DEPTH)) is not None


@pytest.mark.parametrize("levels", [json_text.MAX_DEPTH + 1, 900, 100_000])
def test_deeper_nesting_is_refused(levels: int) -> None:
    with pytest.raises(ValueError, match="more than 50 levels"):
        parse_json(nested(levels))


def test_a_large_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_text, "MAX_BYTES", 10)
    (tmp_path / "a.json").write_text('"more than ten"')
    with pytest.raises(ValueError, match="more than 10 bytes"):
        read_json(tmp_path / "a.json")


@pytest.mark.parametrize(
    ("read", "name", "error"),
    [
        (read_summary, "summary.json", RunError),
        (read_counters, "state.json", CheckpointError),
        (read_episodes, "episodes.json", CheckpointError),
    ],
)
@pytest.mark.parametrize("levels", [900, 100_000])
def test_a_file_of_a_run_that_is_nested_deeply_is_named(
    tmp_path: Path, read: type, name: str, error: type[EmpoError], levels: int
) -> None:
    (tmp_path / name).write_text(nested(levels))
    with pytest.raises(error, match=name):
        read(tmp_path)
