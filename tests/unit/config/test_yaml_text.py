"""YAML in and out gives the same values, with the numbers people write."""

from __future__ import annotations

from typing import Any

import pytest

from empo_rllib.config.yaml_text import parse_yaml, render_yaml


@pytest.mark.parametrize(
    "value",
    [
        "1e-4",
        "1.0",
        "010",
        "1:30",
        "yes",
        "null",
        "2024-01-01",
        "0x10",
        "",
        "a: b",
        "é",
        1e-4,
        1e-5,
        1e22,
        10,
    ],
)
def test_yaml_text_gives_the_same_value_and_type_back(value: Any) -> None:
    again = parse_yaml(render_yaml({"key": value}), "text")["key"]
    assert again == value
    assert type(again) is type(value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("5.0e-4", 5e-4),
        ("2e5", 2e5),
        ("1E3", 1e3),
        ("-1.5", -1.5),
        ("3", 3),
        ("0", 0),
        ("0x10", 16),
    ],
)
def test_numbers_may_be_written_as_people_write_them(text: str, value: float) -> None:
    assert parse_yaml(text, "text") == value
