"""When an episode counts as a success."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from empo_rllib import columns
from empo_rllib.algorithms.callbacks import (
    EpisodeMetrics,
    episode_success,
    smoothing_window,
)


@pytest.mark.parametrize(
    ("infos", "expected"),
    [
        ({}, None),
        ({"a": {}, "b": {"moves": 3}}, None),
        ({"a": {"success": True}, "b": {"success": True}}, True),
        ({"a": {"success": False}, "b": {"success": False}}, False),
        ({"a": {"success": False}, "b": {"success": True}}, True),
        ({"a": {}, "b": {"success": False}}, False),
        ({"a": {"is_success": 1.0}}, True),
    ],
)
def test_an_episode_succeeds_when_an_agent_says_so(infos, expected):
    assert episode_success(infos) is expected


class Logger:
    def __init__(self):
        self.logged = []

    def log_value(self, key, value, window):
        self.logged.append((key, value, window))


def episode_of(**last_infos):
    return SimpleNamespace(
        agent_episodes={
            agent: SimpleNamespace(infos=infos, get_infos=lambda index, infos=infos: infos[index])
            for agent, infos in last_infos.items()
        }
    )


def runner(num_env_runners):
    return SimpleNamespace(
        config=SimpleNamespace(
            metrics_num_episodes_for_smoothing=100, num_env_runners=num_env_runners
        )
    )


def test_the_success_rate_comes_from_the_last_infos_of_the_agents():
    logger = Logger()
    episode = episode_of(a=[{"success": True}, {"success": False}], b=[])
    EpisodeMetrics().on_episode_end(
        episode=episode, env_runner=runner(0), metrics_logger=logger, env=None
    )
    assert logger.logged == [(columns.SUCCESS_RATE, 0.0, 100)]


def test_no_success_rate_is_logged_where_the_environment_does_not_tell():
    logger = Logger()
    EpisodeMetrics().on_episode_end(
        episode=episode_of(a=[{}]), env_runner=runner(0), metrics_logger=logger
    )
    assert logger.logged == []


@pytest.mark.parametrize(("num_env_runners", "window"), [(0, 100), (1, 100), (3, 34), (400, 1)])
def test_the_env_runners_share_the_window_of_episodes(num_env_runners, window):
    assert smoothing_window(runner(num_env_runners).config) == window
