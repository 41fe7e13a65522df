"""Experiment files and `--set`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from harness import (
    ODD_TEXTS,
    SCALARS,
    TEXTS,
    changed_bytes,
    changed_data,
    fuzz,
    is_finite,
    succeeds_or_tells,
)
from hypothesis import strategies as st

from empo_rllib.config.load import load_config, validate_config
from empo_rllib.config.schema import ExperimentConfig
from empo_rllib.config.search_space import SEARCH_KINDS, leaves
from empo_rllib.config.yaml_text import parse_yaml
from empo_rllib.experiment.run_folder import run_folder_of
from empo_rllib.trials import resolve_trial, sample_trials

ROOT = Path(__file__).parents[2]
SHIPPED = sorted((ROOT / "tune_configs").glob("*.yaml"))
SMALLEST = {"name": "run", "env": {"id": "CartPole-v1"}, "algorithm": {"name": "PPO"}}
KEYS = [key for key, _ in leaves(validate_config(SMALLEST).to_dict())]
NAMES = sorted({part for key in KEYS for part in key.split(".")} | {*SEARCH_KINDS, "lr", "asha"})


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "experiment.yaml"


def read(path: Path, *overrides: str) -> ExperimentConfig:
    """Reads an experiment as far as no environment is made."""
    config = load_config(path, overrides)
    run_folder_of(config)
    for spec in sample_trials(config)[:3]:
        resolve_trial(config, spec)
    return config


def check(path: Path, *overrides: str) -> None:
    config = succeeds_or_tells(read, path, *overrides)
    if config is not None:
        again = validate_config(parse_yaml(config.to_yaml(), "again"))
        assert again == config or not is_finite(config.to_dict())


@st.composite
def changed_experiments(draw: st.DrawFn) -> str:
    data = yaml.safe_load(draw(st.sampled_from(SHIPPED)).read_text())
    changed = draw(changed_data(data, NAMES))
    return yaml.safe_dump(changed, allow_unicode=draw(st.booleans()))


@st.composite
def odd_yaml(draw: st.DrawFn) -> bytes:
    """Characters and words that mean something in YAML, in any order."""
    words = st.sampled_from([*"[]{}:,-?&*!|>'\"%@`#\n\t ", ": ", "- ", "\n  ", "<<: ", "&a ", "*a"])
    return "".join(draw(st.lists(words | TEXTS | st.sampled_from(KEYS), max_size=60))).encode()


@fuzz(text=changed_experiments())
def test_changed_experiments(path: Path, text: str) -> None:
    path.write_text(text)
    check(path)


@fuzz(
    content=st.sampled_from(SHIPPED).flatmap(lambda file: changed_bytes(file.read_bytes()))
    | odd_yaml()
)
def test_files_that_are_hardly_yaml(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    check(path)


@fuzz(
    overrides=st.lists(
        st.tuples(
            st.sampled_from(KEYS)
            | st.builds("{}.{}".format, st.sampled_from(KEYS), TEXTS)
            | st.text(max_size=10),
            st.sampled_from(["=", "=", "=", ""]),
            SCALARS.map(str) | st.sampled_from(ODD_TEXTS) | st.text(max_size=30),
        ).map("".join),
        min_size=1,
        max_size=3,
    )
)
def test_overrides(path: Path, overrides: list[str]) -> None:
    path.write_text(yaml.safe_dump(SMALLEST))
    check(path, *overrides)


@fuzz(value=st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3)))
def test_values_of_python(value: Any) -> None:
    for key in ("env", "seed", "policies"):
        succeeds_or_tells(validate_config, {**SMALLEST, key: value})
