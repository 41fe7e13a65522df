"""A row of numbers as metrics; Ray's own classes are replaced by ones that write down."""

from __future__ import annotations

import pytest

from empo_rllib.experiment import prometheus
from empo_rllib.experiment.prometheus import TrialMetrics

TAGS = {"experiment": "maze", "trial": "trial_00003"}


class Recorder:
    """Stands in for Ray's Counter and Gauge."""

    made: dict[str, Recorder] = {}

    def __init__(self, name: str, description: str, tag_keys: tuple[str, ...]) -> None:
        self.tag_keys = tag_keys
        self.seen: list[tuple[float, dict[str, str]]] = []
        Recorder.made[name] = self

    def inc(self, value: float, tags: dict[str, str]) -> None:
        assert value > 0  # what Ray says
        self.set(value, tags)

    def set(self, value: float, tags: dict[str, str]) -> None:
        assert set(tags) == set(self.tag_keys)
        self.seen.append((value, tags))


@pytest.fixture
def metrics(monkeypatch):
    monkeypatch.setattr(prometheus, "Counter", Recorder)
    monkeypatch.setattr(prometheus, "Gauge", Recorder)
    monkeypatch.setattr(Recorder, "made", {})
    return TrialMetrics("maze", "trial_00003")


def seen() -> dict[str, list]:
    return {name: metric.seen for name, metric in Recorder.made.items() if metric.seen}


def test_each_number_goes_to_its_metric(metrics):
    row = {
        "env_steps": 900.0,
        "env_steps_per_s": 50.0,
        "episode_return_mean": 0.5,
        "success_rate": 1.0,
        "episode_length_mean": 12.0,
        "time/sample_s": 0.25,
        "time/learn_s": 0.75,
        "learner/a/kl": 0.1,
    }
    metrics.emit(row, 300)
    assert seen() == {
        "empo_env_steps": [(300, TAGS)],
        "empo_env_steps_per_s": [(50.0, TAGS)],
        "empo_episode_return_mean": [(0.5, TAGS)],
        "empo_success_rate": [(1.0, TAGS)],
        "empo_episode_length_mean": [(12.0, TAGS)],
        "empo_sample_s": [(0.25, TAGS)],
        "empo_learn_s": [(0.75, TAGS)],
    }


def test_each_policy_has_its_own_values(metrics):
    metrics.emit({"policy_return_mean/a": 1.0, "policy_return_mean/b": 2.0}, 1)
    metrics.emit({"learner/a/entropy": 3.0, "evaluation/policy_return_mean/a": 9.0}, 1)
    values = seen()
    assert values["empo_policy_return_mean"] == [
        (1.0, {**TAGS, "policy": "a"}),
        (2.0, {**TAGS, "policy": "b"}),
    ]
    assert values["empo_policy_entropy"] == [(3.0, {**TAGS, "policy": "a"})]


def test_what_was_not_measured_is_not_told(metrics):
    metrics.emit({"env_steps_per_s": 0.0}, 0)
    assert seen() == {"empo_env_steps_per_s": [(0.0, TAGS)]}
