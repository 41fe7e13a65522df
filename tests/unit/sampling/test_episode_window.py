"""Means over episodes in the order of their starts, beside a computation without any cleverness."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from empo_rllib.sampling.episode_window import (
    PATIENCE,
    EpisodeNumbers,
    EpisodeWindow,
    SampledEpisodes,
    episode_columns,
)

SHORT, LONG = 5, 100


def episode(length: int, value: float = 0.0, success: float | None = None) -> EpisodeNumbers:
    return EpisodeNumbers(length, {"a": value}, {"p": value}, success)


# Short episodes are worth 1 and long ones 0; with as many of each, the mean is 0.5.
PLAYED = {1: episode(1, 0.25, success=1.0), SHORT: episode(SHORT, 1.0), LONG: episode(LONG, 0.0)}


class Envs:
    """Envs of one env runner that step together; lengths do not depend on anything."""

    def __init__(self, rng, num_envs, worker_index=0, life=0, lengths=(SHORT, LONG)) -> None:
        self.worker_index, self.life, self.clock = worker_index, life, 0
        self.lengths = rng.choice(lengths, (num_envs, 400))
        self.ends = self.lengths.cumsum(1)

    def sample(self, steps: int) -> SampledEpisodes:
        before, self.clock = self.clock, self.clock + steps
        assert self.clock <= self.ends[:, -1].min()
        ended = [
            (env, end - before, PLAYED[length])
            for env, end, length in zip(
                *(part.tolist() for part in self._ended(before)), strict=True
            )
        ]
        return SampledEpisodes(
            self.worker_index, self.life, before, steps, len(self.ends), 0, ended
        )

    def _ended(self, before: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        where = (self.ends > before) & (self.ends <= self.clock)
        return np.nonzero(where)[0], self.ends[where], self.lengths[where]


def runners(rng: np.random.Generator, number: int, num_envs: int, life: int = 0) -> list[Envs]:
    return [Envs(rng, num_envs, worker_index, life) for worker_index in range(number)]


def mean_of(window: EpisodeWindow) -> float:
    return window.columns().get("episode_return_mean", np.nan)


def brute_force(samples: list[list[SampledEpisodes]], size: int) -> list[dict[str, float]]:
    """Returns the columns after each iteration, from a list of all episodes with their times."""
    slots: dict[tuple[int, int], list[tuple[int, EpisodeNumbers]]] = {}
    found = []
    for iteration in samples:
        for sample in iteration:
            for env in range(sample.num_envs):
                slots.setdefault((sample.worker_index, env), [])
            for env, step, one in sample.ended:
                slots[sample.worker_index, env].append((sample.clock + step, one))
        episodes, running = [], []
        for slot, ends in slots.items():
            starts = [0, *(end for end, _ in ends)]
            running.append(starts[-1])
            episodes += [
                (start, slot, one) for start, (_, one) in zip(starts[:-1], ends, strict=True)
            ]
        entered = sorted(e for e in episodes if e[0] < min(running))
        found.append(episode_columns([one for _, _, one in entered[-size:]]))
    return found


@pytest.mark.parametrize(
    ("number", "num_envs", "steps"), [(1, 1, 30), (1, 7, 13), (3, 4, 10), (2, 20, 1)]
)
def test_the_window_holds_what_a_full_record_of_all_episodes_says(number, num_envs, steps):
    rng = np.random.default_rng(0)
    envs = [Envs(rng, num_envs, index, lengths=(1, SHORT, LONG)) for index in range(number)]
    window, size = EpisodeWindow(20), 20
    samples = [[one.sample(steps) for one in envs] for _ in range(150)]
    found = []
    for iteration, parts in enumerate(samples):
        window.add(iteration, reversed(parts), range(number))
        found.append(window.columns())
    assert found == brute_force(samples, size)
    assert found[-1]
    assert not found[0]


def test_episodes_that_start_together_enter_together():
    window = EpisodeWindow(10)
    window.add(1, [SampledEpisodes(0, 0, 0, 5, 2, 0, [(0, 5, episode(5, 1.0))])], [0])
    assert window.columns() == {}
    window.add(2, [SampledEpisodes(0, 0, 5, 5, 2, 0, [(1, 5, episode(10, 3.0))])], [0])
    assert window.columns()["episode_return_mean"] == 2.0
    assert window.columns()["episode_length_mean"] == 7.5


# Env runners, envs of each, steps of an iteration, iteration before which all starts anew.
SET_UPS = [(1, 40, 25, None), (1, 40, 25, 15), (2, 20, 10, 17), (2, 20, 25, 7), (1, 128, 50, 5)]
SEEDS = 60


def means_by_row(number: int, num_envs: int, steps: int, cut: int | None, seed: int) -> list[float]:
    rng = np.random.default_rng(seed)
    window, envs = EpisodeWindow(100), runners(rng, number, num_envs)
    means = []
    for iteration in range(25):
        if iteration == cut:
            window = EpisodeWindow(100, json.loads(json.dumps(window.state())))
            envs = runners(rng, number, num_envs, life=1)
        window.add(iteration, [one.sample(steps) for one in envs], range(number))
        means.append(mean_of(window))
    return means


def test_the_mean_of_a_policy_that_does_not_change_is_unbiased_in_every_row():
    """Lengths differ by 20x; counted by when they end, the first rows would be off by 0.5."""
    of_seeds = []
    for set_up in SET_UPS:
        measured = np.array([means_by_row(*set_up, seed) for seed in range(SEEDS)])
        there = ~np.isnan(measured)
        assert (there.all(0) == there.any(0)).all()  # whether there is a value depends on no luck
        measured = measured[:, there.all(0)]
        assert measured.shape[1] > 25 - LONG // set_up[2]
        assert np.abs(measured.mean(0) - 0.5).max() <= 0.02, set_up
        of_seeds += measured.mean(1).tolist()  # rows of a seed depend on each other
    error = np.std(of_seeds, ddof=1) / np.sqrt(len(of_seeds))
    assert abs(np.mean(of_seeds) - 0.5) + 2.58 * error <= 0.01  # at 1 %, all cells together


def test_counting_by_the_end_would_be_seen():
    """What the test of the bias measures is there: the last 100 that ended are too short."""
    first_rows = []
    for seed in range(50):
        envs = Envs(np.random.default_rng(seed), 40)
        ended = [one for _ in range(5) for _, _, one in envs.sample(25).ended]
        first_rows.append(episode_columns(ended[-100:])["episode_return_mean"])
    assert np.mean(first_rows) > 0.6


def test_an_env_runner_that_was_lost_and_came_back_leaves_no_bias():
    means = []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        window, envs = EpisodeWindow(100), runners(rng, 2, 20)
        for iteration in range(30):
            samples = [one.sample(20) for one in envs]
            if iteration in (9, 23):  # it dies while it samples, and is back an iteration later
                samples, envs[1] = samples[:1], Envs(rng, 20, 1, life=iteration)
            window.add(iteration, samples, [0] if iteration in (9, 23) else [0, 1])
        means.append(mean_of(window))
    assert abs(np.mean(means) - 0.5) <= 0.02


def sampled(worker_index: int, *lengths: int, life: int = 0, clock: int = 0, num_envs: int = 1):
    ended, step = [], 0
    for length in lengths:
        step += length
        ended.append((0, step, episode(length, float(length))))
    return SampledEpisodes(worker_index, life, clock, max(step, 1), num_envs, 0, ended)


def test_an_env_runner_that_is_gone_blocks_nothing():
    window = EpisodeWindow(10)
    window.add(1, [sampled(1), sampled(2)], [1, 2])
    window.add(2, [sampled(1, 3, clock=1)], [1, 2])
    window.add(3, [sampled(1, 5, clock=4)], [1, 2])
    assert window.columns() == {}  # env runner 2's first episode is under way
    window.add(4, [sampled(1, 7, clock=9)], [1])
    assert mean_of(window) == 5.0


def test_episodes_that_started_after_a_lost_one_are_discarded():
    window = EpisodeWindow(10)
    short = [(0, 3, episode(3, 3.0)), (0, 6, episode(3, 4.0))]
    window.add(1, [SampledEpisodes(1, 0, 0, 6, 2, 0, short)], [1])
    window.add(2, [sampled(1, 2, life=1)], [1])  # all envs of it were reset
    assert mean_of(window) == 2.0


def test_what_ran_when_nobody_looked_is_not_counted():
    window = EpisodeWindow(10)
    window.add(1, [sampled(0, 3)], [0])
    window.add(2, [sampled(0, 50, 4, clock=99)], [0])  # calls before it got lost
    assert mean_of(window) == 3.5


def test_a_call_that_is_handed_over_late_is_put_in_order():
    window = EpisodeWindow(10)
    first, second = sampled(0, 3), sampled(0, 4, clock=3)
    window.add(1, [second, first], [0])
    assert mean_of(window) == 3.5


def test_an_episode_without_an_end_does_not_block_for_ever():
    window = EpisodeWindow(1000)
    for iteration in range(4 * PATIENCE):
        window.add(iteration, [sampled(0, 2, clock=2 * iteration, num_envs=2)], [0])
    assert len(window.state()) == 2 * PATIENCE
    late = SampledEpisodes(0, 0, 8 * PATIENCE, 1, 2, 0, [(1, 1, episode(9, 9.0))])
    window.add(4 * PATIENCE, [late], [0])
    assert len(window.state()) == 4 * PATIENCE + 1
    assert 9.0 in [one["agent_returns"]["a"] for one in window.state()]


def test_it_is_full_with_as_many_episodes_as_asked_for():
    window = EpisodeWindow(3)
    for number in range(7):
        assert window.is_full == (number >= 3)
        assert (window.earlier_return_mean() is None) == (number < 6)
        window.add(number, [replace(sampled(0, number + 1), life=number)], [0])
    assert mean_of(window) == 6.0
    assert window.earlier_return_mean() == 3.0


def test_the_columns_of_episodes():
    episodes = [
        EpisodeNumbers(10, {"a": 1.0, "b": 2.0}, {"p": 3.0}, None),
        EpisodeNumbers(20, {"b": 4.0, "c": -1.0}, {"p": 4.0, "q": -1.0}, 1.0),
        EpisodeNumbers(60, {}, {}, 0.0),
    ]
    assert episode_columns(episodes) == {
        "episode_return_mean": 2.0,
        "episode_return_min": 0.0,
        "episode_return_max": 3.0,
        "episode_length_mean": 30.0,
        "success_rate": 0.5,
        "policy_return_mean/p": 3.5,
        "policy_return_mean/q": -1.0,
        "agent_return_mean/a": 1.0,
        "agent_return_mean/b": 3.0,
        "agent_return_mean/c": -1.0,
    }
    assert "success_rate" not in episode_columns(episodes[:1])
    assert episode_columns([]) == {}
