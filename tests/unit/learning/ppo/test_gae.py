from __future__ import annotations

import numpy as np
import pytest

from empo_rllib.learning.ppo.gae import estimate_advantages

GAMMA, LAMBDA = 0.9, 0.8


def stretches(rng, lengths):
    """Random steps of agents, each stretch with a value for what was seen last."""
    return [
        (rng.normal(size=n + 1).astype(np.float32), rng.normal(size=n).astype(np.float32))
        for n in lengths
    ]


def estimate(agents, terminated):
    values = np.concatenate([value for value, _ in agents])
    rewards = np.concatenate([np.append(reward, np.float32(0)) for _, reward in agents])
    is_step = np.concatenate([np.append(np.ones(len(r), bool), False) for _, r in agents])
    ends = np.cumsum([len(value) for value, _ in agents]) - 2
    flags = np.zeros(len(values), bool)
    flags[ends[terminated]] = True
    return values, is_step, estimate_advantages(values, rewards, flags, is_step, GAMMA, LAMBDA)


def naive_advantages(values, rewards, terminated):
    """Sums of discounted temporal differences, written out (Schulman et al. 2016, equation 16)."""
    n = len(rewards)
    nexts = [*values[1:n], 0.0 if terminated else values[n]]
    deltas = [rewards[t] + GAMMA * nexts[t] - values[t] for t in range(n)]
    decay = GAMMA * LAMBDA
    return [sum(decay ** (k - t) * deltas[k] for k in range(t, n)) for t in range(n)]


def test_value_targets_are_those_of_each_agent_alone():
    agents = stretches(np.random.default_rng(0), [5, 1, 12, 3])
    terminated = np.array([True, False, False, True])
    values, is_step, found = estimate(agents, terminated)
    expected = [
        naive_advantages(*agent, ended) for agent, ended in zip(agents, terminated, strict=True)
    ]
    targets = np.concatenate(expected) + values[is_step]
    np.testing.assert_allclose(found.value_targets[is_step], targets, rtol=1e-5, atol=1e-5)


def test_advantages_are_standardised_over_all_rows():
    agents = stretches(np.random.default_rng(1), [5, 1, 12, 3])
    terminated = np.array([True, False, False, True])
    values, _, found = estimate(agents, terminated)
    assert found.advantages.dtype == found.value_targets.dtype == np.float32
    assert found.advantages.mean() == pytest.approx(0, abs=1e-6)
    assert found.advantages.std() == pytest.approx(1, abs=1e-5)
    raw = found.value_targets - values
    assert found.advantages == pytest.approx((raw - raw.mean()) / raw.std(), abs=1e-5)


def test_what_follows_an_agents_last_step_is_not_in_its_estimates():
    agents = stretches(np.random.default_rng(2), [4, 4])
    terminated = np.array([False, False])
    _, _, found = estimate(agents, terminated)
    others = [agents[0], (agents[1][0] + 7, agents[1][1] * 3)]
    _, _, changed = estimate(others, terminated)
    assert found.value_targets[:4] == pytest.approx(changed.value_targets[:4])
    assert found.value_targets[4] != pytest.approx(changed.value_targets[4])  # the artificial row


def test_equal_advantages_are_not_blown_up():
    zeros = np.zeros(6, np.float32)
    none = np.zeros(6, bool)
    found = estimate_advantages(zeros, zeros, none, np.arange(6) < 5, GAMMA, LAMBDA)
    assert not found.advantages.any()
