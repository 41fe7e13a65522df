"""The steps of a policy's agents in a `Fragment`, as rows in the order of RLlib's train batch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from empo_rllib.acting.view import PolicyView
from empo_rllib.sampling.fragment import Fragment


@dataclass(frozen=True)
class Rows:
    """Rows of one policy in one fragment.

    The steps that an agent takes in an episode follow each other, and then comes one artificial row
    for what it saw last. Episodes that ended come first, in the order (t, n) of their ends, then
    those that go on, by n; within an episode, agents by column. This is the order in which RLlib's
    env runner returns episodes, and its learner connectors put them into a batch.

    An agent that waits when the fragment ends has not been shown what came of its last action: that
    step is left out, and the artificial row is what it acted on, at the moment when it did. So it
    is, with a team reward, where it left and the team goes on.

    Attributes:
        step: int64 [L], t * N + n of the agent's step; for an artificial row, that of its last.
        agent: int64 [L], position among the policy's agents.
        is_step: bool [L]: False for artificial rows.
        terminated: bool [L]: the step was the last before the agent ended for good.
        seen: int64 [L], t * N + n of the observation; undefined where it is a final one.
        final: int64 [L], its position among the fragment's final observations; else -1.
    """

    step: np.ndarray
    agent: np.ndarray
    is_step: np.ndarray
    terminated: np.ndarray
    seen: np.ndarray
    final: np.ndarray

    def __len__(self) -> int:
        return len(self.step)


def rows_of(fragment: Fragment, policy: PolicyView) -> Rows:
    """Returns the rows of `policy`."""
    num_steps, num_envs = fragment.episode_over.shape
    env, agent, step, end = _steps(fragment, policy)
    is_last = np.ones(len(step), bool)
    is_last[:-1] = np.diff([env, agent, end]).any(0)
    artificial = np.flatnonzero(is_last) + np.arange(is_last.sum()) + 1
    is_step = np.ones(len(step) + len(artificial), bool)
    is_step[artificial] = False
    of = np.cumsum(is_step) - 1  # for an artificial row, the step before it
    env, agent, step, end, is_last = env[of], agent[of], step[of], end[of], is_last[of]

    ended = end < num_steps
    within = np.where(ended, end, 0)
    terminated = fragment.terminated[within, env, np.array(policy.columns)[agent]] & ended
    number = np.full((num_steps, num_envs), -1)
    number[tuple(fragment.final_index.T)] = np.arange(len(fragment.final_index))
    follows = np.where(ended, end + 1, _next_turn(fragment, policy)[env, agent])
    seen = np.where(is_step, step, follows)
    return Rows(
        step=step * num_envs + env,
        agent=agent,
        is_step=is_step,
        terminated=terminated & is_last & is_step,
        seen=seen * num_envs + env,
        final=np.where(is_step | ~ended, -1, number[within, env]),
    )


def _steps(fragment: Fragment, policy: PolicyView) -> tuple[np.ndarray, ...]:
    """Returns the steps of all agents, in the order of `Rows`.

    Returns:
        env, agent, step: int64 [K].
        end: int64 [K], the step with which the agent ended, T if it goes on, or its last action is
            pending: the same for all its steps in an episode.
    """
    columns = list(policy.columns)
    present, over = fragment.present[..., columns], fragment.episode_over
    ended = fragment.terminated[..., columns] | fragment.truncated[..., columns] | over[..., None]
    env, agent, step = present.transpose(1, 2, 0).nonzero()
    episode_end = _next(over)[step, env]
    pending = fragment.pending[:, columns][env, agent] & (episode_end == len(over))
    end = np.where(pending, len(over), _next(ended)[step, env, agent])
    is_last = np.append(np.diff([env, agent, end]).any(0), True)[: len(step)]
    order = np.lexsort((step, agent, env, episode_end))
    order = order[~(is_last & pending)[order]]
    return env[order], agent[order], step[order], end[order]


def _next_turn(fragment: Fragment, policy: PolicyView) -> np.ndarray:
    """Returns int64 [N, A_p]: T, or where the last action is pending the step it was taken in."""
    columns = list(policy.columns)
    last = len(fragment.present) - 1 - fragment.present[::-1, :, columns].argmax(0)
    return np.where(fragment.pending[:, columns], last, len(fragment.present))


def _next(happens: np.ndarray) -> np.ndarray:
    """Returns int64 [T, ...]: the first step from t on in which it happens, T if none.

    Args:
        happens: bool [T, ...].
    """
    num_steps = len(happens)
    steps = np.arange(num_steps).reshape(-1, *[1] * (happens.ndim - 1))
    found = np.where(happens, steps, num_steps)
    return np.minimum.accumulate(found[::-1], axis=0)[::-1]
