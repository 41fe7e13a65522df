"""A call of an environment that does not return is reported while it lasts."""

from __future__ import annotations

import os
import re
import time

import pytest

from empo_rllib.envs import env_errors, slow_calls
from empo_rllib.envs.env_errors import reporting_env_errors
from empo_rllib.envs.slow_calls import CallWatch, slow_call_reports


@pytest.fixture
def watch(monkeypatch):
    """A watch for which any call is slow."""
    monkeypatch.setattr(slow_calls, "REPORT_AFTER_S", 0.0)
    monkeypatch.setattr(slow_calls, "_LOOK_EVERY_S", 0.01)
    watch = CallWatch()
    monkeypatch.setattr(env_errors, "watch", watch)
    return watch


def wait_until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_call_is_reported_until_it_returns(watch, tmp_path):
    with reporting_env_errors(tmp_path / "env_error.txt", "reset"):
        wait_until(lambda: slow_call_reports(tmp_path))
        (report,) = slow_call_reports(tmp_path)
        text = rf"reset\(\) has not returned for \d+ s \(process {os.getpid()} on .+\)\n"
        assert re.fullmatch(text, report.read_text())
    wait_until(lambda: not slow_call_reports(tmp_path))


def test_a_call_is_reported_again_at_growing_intervals(watch, tmp_path, monkeypatch):
    texts = []
    monkeypatch.setattr(slow_calls, "write_whole", lambda path, text: texts.append(text))
    monkeypatch.setattr(slow_calls.time, "monotonic", iter([0, *range(60, 500, 20)]).__next__)
    watch._call = call = (tmp_path, "step", 0)
    with pytest.raises(StopIteration):
        watch._follow(call)
    seconds = [text.split(" for ")[1].split(" (")[0] for text in texts]
    assert seconds == ["0 s", "60 s", "120 s", "240 s", "480 s"]


def test_calls_that_return_are_not_reported(watch, tmp_path, monkeypatch):
    monkeypatch.setattr(slow_calls, "REPORT_AFTER_S", 60.0)
    looked = []
    monkeypatch.setattr(watch, "_follow", looked.append)
    for _ in range(20):
        with reporting_env_errors(tmp_path / "env_error.txt", "step"):
            time.sleep(0.002)
    assert not looked
    assert watch._call is None


def test_a_call_that_raised_has_returned(watch, tmp_path):
    with pytest.raises(KeyError), reporting_env_errors(tmp_path / "env_error.txt", "step"):
        raise KeyError("a")
    assert watch._call is None
