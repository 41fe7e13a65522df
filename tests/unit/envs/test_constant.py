"""Agents that always see the same are warned of when training begins."""

from __future__ import annotations

import logging

import numpy as np

from empo_rllib.envs.constant import ConstantWatch, FirstSeen
from empo_rllib.envs.env_errors import ReportingEnv
from empo_rllib.envs.env_warnings import keep_warnings, read_warnings


def test_who_has_seen_the_same_in_any_part():
    seen = FirstSeen()
    image = np.zeros((2, 2))
    for step in range(3):
        seen.look({"a": image, "b": {"image": image, "parts": (step, image)}, "c": 1, "d": "text"})
    image[0] = 1.0  # an environment may change its arrays in place
    assert seen.unchanged() == ["a", "c", "d"]
    seen.look({"a": image})
    assert seen.unchanged() == ["c", "d"]


def test_the_warning_names_agents_once_after_60_steps(caplog):
    watch = ConstantWatch()
    for step in range(200):
        watch.look({"agent_1": np.zeros(3), "agent_0": np.zeros(3), "moves": np.full(3, step)})
        assert len(caplog.messages) == (step >= 59)
    assert watch.over
    (text,) = caplog.messages
    assert text.startswith("the observations of agent_0, agent_1 were the same in the first 60")


def test_an_agent_that_was_hardly_there_is_not_judged(caplog):
    watch = ConstantWatch()
    for step in range(60):
        watch.look({"a": step, "b": 0} if step < 5 else {"a": step})
    assert not caplog.messages


def test_rllibs_own_path_warns(scripted_env, tmp_path, caplog):
    class Black(scripted_env):
        def _observation(self, agent):
            return np.zeros(2, np.float32)

    env = ReportingEnv(tmp_path / "env_error.txt", Black([{"agents": "ab"}] * 80))
    env.reset()
    for _ in range(70):
        env.step({"a": 0, "b": 0})
    (text,) = read_warnings(tmp_path)
    assert text == caplog.messages[0]


def test_warnings_of_a_process_are_kept_once_in_the_folder_of_its_trial(tmp_path):
    (tmp_path / "before").mkdir()
    for folder in (tmp_path / "before", tmp_path, tmp_path):
        keep_warnings(folder)
    logger = logging.getLogger("empo_rllib.envs.batched.any")
    for text in ("one\nline", "two", "two"):
        logger.warning(text)
    logger.info("no warning")
    assert read_warnings(tmp_path) == ["one line", "two"]
    assert read_warnings(tmp_path / "before") == []
