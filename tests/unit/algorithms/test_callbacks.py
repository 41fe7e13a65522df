"""What is logged of each episode of RLlib's own env runner."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from empo_rllib.algorithms.callbacks import EpisodeMetrics
from empo_rllib.envs.success import episode_success
from empo_rllib.sampling.episode_window import SAMPLED_EPISODES, EpisodeNumbers


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
        ({"a": {"success": np.bool_(True)}, "b": {"success": np.float32(0)}}, True),
        ({"a": {"success": np.array([0])}}, False),
        ({"a": {"success": None}}, None),
        ({"a": {"success": "no"}}, None),
        ({"a": {"success": 0.3}}, None),
        ({"a": {"success": float("nan")}}, None),
        ({"a": {"success": [False]}}, None),
        ({"a": {"success": np.array([True, False])}}, None),
        ({"a": {"success": "no"}, "b": {"success": False}}, False),
    ],
)
def test_an_episode_succeeds_when_an_agent_says_so(infos, expected):
    assert episode_success(infos) is expected


def test_a_success_that_is_neither_true_nor_false_is_told_once(caplog):
    for _ in range(3):
        episode_success({"a": {"success": "nearly"}})
    (record,) = caplog.records
    assert "infos[...]['success'] = 'nearly' is neither true nor false" in record.getMessage()


class Part(list):
    """One agent's steps in a chunk of an episode: their rewards."""

    def __init__(self, rewards, module_id="p", infos=()):
        super().__init__(rewards)
        self.module_id, self.infos = module_id, infos

    def get_return(self):
        return sum(self)

    def get_infos(self, index):
        return self.infos[index]


class Chunk(SimpleNamespace):
    def __len__(self):
        return self.length


def chunk(length, **parts):
    return Chunk(length=length, agent_episodes=parts)


class Session:
    """What RLlib calls in two envs, and what that logs."""

    def __init__(self):
        self.callback = EpisodeMetrics()
        self.logged = []
        for env in range(2):
            self.callback.on_episode_created(env_index=env)
        self.start()

    def start(self):
        for env in range(2):
            self.callback.on_episode_start(env_index=env)

    def step(self, **ended):
        for env in range(2):
            self.callback.on_episode_step(env_index=env)
            if (episode := ended.get(f"env_{env}")) is not None:
                chunks = ended.get("earlier", [])
                self.callback.on_episode_end(
                    episode=episode, prev_episode_chunks=chunks, env_index=env, env=None
                )
                self.callback.on_episode_created(env_index=env)

    def sample_end(self):
        runner = SimpleNamespace(worker_index=3, num_envs=2)
        self.callback.on_sample_end(env_runner=runner, metrics_logger=self, samples=[])
        return self.logged[-1]

    def log_value(self, key, value, reduce):
        assert (key, reduce) == (SAMPLED_EPISODES, "item_series")
        self.logged.append(value)


def test_an_episode_is_all_its_chunks():
    session = Session()
    last = chunk(1, a=Part([1.0], infos=[{}, {"success": True}]), b=Part([], infos=[]))
    earlier = [chunk(2, a=Part([1.0, 2.0]), b=Part([0.5], "q")), chunk(1, a=Part([4.0]))]
    session.step(env_1=last, earlier=earlier)
    ((env, _, episode),) = session.sample_end().ended
    assert env == 1
    assert episode == EpisodeNumbers(4, {"a": 8.0, "b": 0.5}, {"p": 8.0, "q": 0.5}, 1.0)


def test_an_agent_that_never_acted_has_no_return_and_a_silent_environment_no_success():
    session = Session()
    session.step(env_0=chunk(1, a=Part([0.0], infos=[{}]), b=Part([])))
    ((_, _, episode),) = session.sample_end().ended
    assert episode == EpisodeNumbers(1, {"a": 0.0}, {"p": 0.0}, None)


def test_the_steps_of_all_envs_are_the_clock():
    session = Session()
    session.step()
    session.step(env_0=chunk(2, a=Part([0.0, 0.0])))
    first = session.sample_end()
    assert (first.worker_index, first.num_envs) == (3, 2)
    assert (first.clock, first.steps) == (0, 3)  # the reset is one
    assert [step for _, step, _ in first.ended] == [3]
    session.step(env_1=chunk(3, a=Part([0.0] * 3)))
    second = session.sample_end()
    assert (second.life, second.clock, second.steps) == (first.life, 3, 1)
    assert [(env, step) for env, step, _ in second.ended] == [(1, 1)]


def test_a_reset_of_all_envs_begins_a_new_life():
    session = Session()
    session.step()
    first = session.sample_end()
    for env in range(2):
        session.callback.on_episode_created(env_index=env)
    session.start()
    session.step()
    second = session.sample_end()
    assert second.life > first.life
    assert (second.clock, second.steps) == (0, 2)
