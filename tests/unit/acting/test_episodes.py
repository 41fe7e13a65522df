"""One recorder counts the episodes of training and of evaluation."""

from __future__ import annotations

import numpy as np
import pytest

from empo_rllib.acting.episodes import EpisodeRecorder, FinishedEpisode


class Envs:
    """The arrays that a recorder reads, of two envs with two agents."""

    num_envs, agents = 2, ("a", "b")

    def __init__(self):
        self.episode_over = np.zeros(2, bool)
        self.success = np.full(2, -1, np.int8)


@pytest.fixture
def envs():
    return Envs()


def test_an_agent_that_never_acted_took_no_part(envs):
    recorder = EpisodeRecorder(envs)
    envs.episode_over[0] = True

    acted = np.array([[True, False], [True, True]])
    found = recorder.add_step(acted, np.ones((2, 2)) * [1, 0], np.ones(2, bool))

    assert list(found) == [0]
    assert found[0] == FinishedEpisode(None, {"a": 1.0}, {"a": 1}, 1, None)


def test_an_env_that_takes_no_step_ends_nothing(envs):
    recorder = EpisodeRecorder(envs)
    recorder.seeds[1] = 7
    envs.episode_over[:] = True
    envs.success[1] = 1
    nobody, paid = np.zeros((2, 2), bool), np.zeros((2, 2))

    assert recorder.add_step(nobody, paid, nobody.any(1)) == {}
    someone = nobody | [[False, False], [True, True]]
    found = recorder.add_step(someone, np.array([[0, 0], [0.1, 0.2]]), someone.any(1))

    assert found == {1: FinishedEpisode(7, {"a": 0.1, "b": 0.2}, {"a": 1, "b": 1}, 1, True)}


def test_returns_keep_the_precision_of_the_rewards(envs):
    recorder = EpisodeRecorder(envs)
    everyone = np.ones((2, 2), bool)
    for over in (False, False, True):
        envs.episode_over[:] = over
        found = recorder.add_step(everyone, np.full((2, 2), 0.1), everyone.any(1))

    assert found[0].returns == {"a": 0.1 + 0.1 + 0.1, "b": 0.1 + 0.1 + 0.1}
    assert found[0].agent_steps() == 6
