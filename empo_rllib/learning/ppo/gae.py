"""Generalised advantage estimation over agents' steps, as RLlib's PPO does it (Ray 2.60)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from empo_rllib.envs.compiled import compiled

#: The least standard deviation that advantages are divided by; that of
#: `ray.rllib.connectors.learner.GeneralAdvantageEstimation`.
SMALLEST_STD = 1e-4


class Estimates(NamedTuple):
    """What the losses compare with.

    Attributes:
        advantages: float32 [L], standardised over all rows, artificial ones included.
        value_targets: float32 [L].
    """

    advantages: np.ndarray
    value_targets: np.ndarray


def estimate_advantages(
    values: np.ndarray,
    rewards: np.ndarray,
    terminated: np.ndarray,
    is_step: np.ndarray,
    gamma: float,
    lambda_: float,
) -> Estimates:
    """Returns advantages and value targets (Schulman et al. 2016, equation 16).

    Rows are steps of one agent after another in the order of time. The last step of each agent is
    followed by one artificial row, for what it saw last. Artificial rows get an advantage too, by
    the same recursion, as if the rows behind them went on in time: they enter the mean and the
    standard deviation in RLlib, so they do here. No loss reads them.

    Args:
        values: float32 [L], of the observation before each step.
        rewards: float32 [L].
        terminated: bool [L]: there is nothing to expect after this step.
        is_step: bool [L]: False for artificial rows.
        gamma: discount of rewards.
        lambda_: decay of the estimates over more steps.
    """
    advantages = np.empty(len(values), np.float32)
    _scan(values, rewards, terminated, is_step, gamma, lambda_, advantages)
    targets = advantages + values
    advantages = targets - values  # RLlib's rounding
    spread = max(SMALLEST_STD, float(advantages.std()))
    return Estimates((advantages - advantages.mean()) / np.float32(spread), targets)


@compiled
def _scan(
    values: np.ndarray,
    rewards: np.ndarray,
    terminated: np.ndarray,
    is_step: np.ndarray,
    gamma: float,
    lambda_: float,
    advantages: np.ndarray,
) -> None:
    running = 0.0
    next_value = 0.0
    next_is_step = True
    for i in range(len(values) - 1, -1, -1):
        expected = 0.0 if terminated[i] else gamma * next_value
        if not next_is_step:  # the last step of an agent takes nothing from the rows behind it
            running = 0.0
        running = rewards[i] + expected - values[i] + gamma * lambda_ * running
        advantages[i] = running
        next_value = values[i]
        next_is_step = is_step[i]
