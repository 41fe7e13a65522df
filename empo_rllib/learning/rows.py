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

    Attributes:
        step: int64 [L], t * N + n of the agent's step; for an artificial row, that of its last.
        agent: int64 [L], position among the policy's agents.
        is_step: bool [L]: False for artificial rows.
        seen: int64 [L], t * N + n of the observation; undefined where it is a final one.
        final: int64 [L], its position among the fragment's final observations; else -1.
    """

    step: np.ndarray
    agent: np.ndarray
    is_step: np.ndarray
    seen: np.ndarray
    final: np.ndarray

    def __len__(self) -> int:
        return len(self.step)


def rows_of(fragment: Fragment, policy: PolicyView) -> Rows:
    """Returns the rows of `policy`."""
    present = fragment.present[..., policy.columns]
    over = fragment.episode_over
    num_steps, num_envs, _ = present.shape
    begins, ends = _stretches(fragment, policy, present)
    env, agent, begin = begins
    end = ends[2]
    order = np.lexsort((begin, agent, env, _episode_end(over)[begin, env]))
    env, agent, begin, end = env[order], agent[order], begin[order], end[order]

    length = end - begin + 2  # with the artificial row
    stretch = np.repeat(np.arange(len(length)), length)
    t = np.arange(len(stretch)) - np.repeat(np.cumsum(length) - length - begin, length)
    env, last = env[stretch], end[stretch]
    is_step = t <= last

    number = np.full((num_steps, num_envs), -1)
    number[tuple(fragment.final_index.T)] = np.arange(len(fragment.final_index))
    final = np.where(is_step, -1, number[last, env])
    step = np.minimum(t, last) * num_envs + env
    return Rows(step, agent[stretch], is_step, t * num_envs + env, final)


def _stretches(
    fragment: Fragment, policy: PolicyView, present: np.ndarray
) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    """Returns (n, agent, t) of the first and of the last step of every agent in every episode."""
    ended = fragment.terminated[..., policy.columns] | fragment.truncated[..., policy.columns]
    ended = ended | fragment.episode_over[..., None]
    goes_on = present & ~ended
    goes_on[-1] = False
    follows = np.zeros_like(present)
    follows[1:] = goes_on[:-1]
    by_agent = (1, 2, 0)
    begins = (present & ~follows).transpose(by_agent).nonzero()
    return begins, (present & ~goes_on).transpose(by_agent).nonzero()


def _episode_end(over: np.ndarray) -> np.ndarray:
    """Returns int64 [T, N]: the step with which the episode that is running then ends, T if none.

    Args:
        over: bool [T, N].
    """
    num_steps = len(over)
    ends = np.where(over, np.arange(num_steps)[:, None], num_steps)
    return np.minimum.accumulate(ends[::-1], axis=0)[::-1]
