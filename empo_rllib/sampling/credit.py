"""What each action is credited with that is paid later: while its agent waits, or after it left.

An agent's last action is credited until the agent acts again, or its episode ends. Where a fragment
ends before that, the credit is not complete. With a team reward such an action is handed on to
the next fragment, until it is; otherwise it is left out, as RLlib leaves it out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import tree

from empo_rllib.envs.vector_env import Leaves
from empo_rllib.sampling.fragment import Fragment


@dataclass(frozen=True)
class TeamReward:
    """`env.team_reward`: every agent is paid what the team earns.

    Attributes:
        kind: the sum of all agents' rewards of a step, or that divided by the number of agents
            that there may be.
        discounts: float64 [A], of each agent's policy: those of what is paid after the agent left.
    """

    kind: Literal["sum", "mean"]
    discounts: np.ndarray

    def pay(self, rewards: np.ndarray) -> np.ndarray:
        """Returns what each agent is paid where the environment pays `rewards` [N, A]."""
        team = rewards.sum(1, keepdims=True)
        team = team / rewards.shape[1] if self.kind == "mean" else team
        return np.broadcast_to(team, rewards.shape)


@dataclass(frozen=True)
class Carried:
    """Actions that the next fragment begins with: in K rows, those of each env by their time.

    The arrays are those of a `Fragment`, [K, N, ...]; `present` tells whose action a row is of.

    Attributes:
        reach: float64 [K, N, A]: how much of what is paid in the next fragment belongs to it.
    """

    observations: tuple[Leaves, ...]
    state: Leaves
    there: np.ndarray
    actions: tuple[np.ndarray, ...]
    action_dist_inputs: tuple[np.ndarray, ...]
    memory: tuple[Any, ...]
    action_logp: np.ndarray
    rewards: np.ndarray
    present: np.ndarray
    terminated: np.ndarray
    reach: np.ndarray


def reach_of_rewards(
    there: np.ndarray, truncated: np.ndarray, over: np.ndarray, discounts: np.ndarray
) -> np.ndarray:
    """Returns float64 [T, N, A]: what a reward of step t + 1 counts at step t, for an older action.

    All of it while the agent is in the episode, its discount after it left. Nothing where the
    episode is over, or the agent was truncated: the critic's estimate stands for what follows.

    Args:
        there: bool [T + 1, N, A].
        truncated: bool [T, N, A].
        over: bool [T, N].
        discounts: [A].
    """
    reach = np.where(there[1:], 1.0, discounts)
    reach[over] = 0.0
    reach[truncated] = 0.0
    return reach


def credit_actions(rewards: np.ndarray, present: np.ndarray, reach: np.ndarray) -> None:
    """Adds to what actions are paid what follows until the agent acts again, in place.

    As RLlib's `MultiAgentEpisode` does it for agents that wait. What is paid for an action before
    the first step is not counted: that action is in no batch.

    Args:
        rewards: float32 [T, N, A]; those of steps without an action are overwritten, too.
        present: bool [T, N, A]: who acted.
        reach: what `reach_of_rewards` returns.
    """
    if not rewards[~present].any():
        return
    later = np.zeros(rewards.shape[1:])
    for t in reversed(range(len(rewards))):
        later = rewards[t] + reach[t] * later
        rewards[t] = later
        later[present[t]] = 0.0


def pending_actions(
    present: np.ndarray, present_next: np.ndarray, ended: np.ndarray, over: np.ndarray
) -> np.ndarray:
    """Returns bool [N, A]: whose last action is to be credited with more than is known yet.

    Args:
        present: bool [T, N, A]: who acted.
        present_next: bool [N, A]: who acts next, whose last action is complete.
        ended: bool [T, N, A]: whose last action is complete since then.
        over: bool [T, N].
    """
    running = np.logical_and.accumulate(~over[::-1])[::-1, :, None]
    acted, done = (present & running).any(0), (ended & running).any(0)
    pending: np.ndarray = acted & ~present_next & ~done
    return pending


def carry_on(fragment: Fragment, reach: np.ndarray) -> Carried | None:
    """Returns the pending actions of a fragment; None where there are none.

    Args:
        fragment: whose credit is complete as far as it goes.
        reach: what `reach_of_rewards` returned for it.
    """
    if not fragment.pending.any():
        return None
    num_steps, num_envs, _ = fragment.present.shape
    last = num_steps - 1 - fragment.present[::-1].argmax(0)
    steps = [np.unique(last[n, fragment.pending[n]]) for n in range(num_envs)]
    source = np.zeros((max(map(len, steps)), num_envs), np.int64)
    whose = np.zeros((*source.shape, fragment.present.shape[2]), bool)
    for n, found in enumerate(steps):
        source[: len(found), n] = found
        whose[: len(found), n] = fragment.pending[n] & (last[n] == found[:, None])
    whole = np.multiply.accumulate(reach[::-1])[::-1]

    def rows(array: np.ndarray) -> np.ndarray:
        return array[source, np.arange(num_envs)]

    return Carried(
        observations=tuple(tuple(map(rows, leaves)) for leaves in fragment.observations),
        state=tuple(map(rows, fragment.state)),
        there=rows(fragment.there),
        actions=tuple(map(rows, fragment.actions)),
        action_dist_inputs=tuple(map(rows, fragment.action_dist_inputs)),
        memory=tree.map_structure(rows, fragment.memory),
        action_logp=rows(fragment.action_logp),
        rewards=np.where(whose, rows(fragment.rewards), 0),
        present=whose,
        terminated=whose & ~fragment.there[-1],  # those that wait are there
        reach=np.where(whose, rows(whole), 1.0),
    )
