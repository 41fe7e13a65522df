"""What one env runner samples in one go, as arrays [T, N, A]."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from empo_rllib.acting.view import PolicyView
from empo_rllib.envs.vector_env import AgentGroup, Leaves, ObservationLeaves


class Fragment:
    """T steps of N envs; all agents of an env stand side by side.

    With `env.team_reward` the first `carried` of them are actions of fragments before, of which all
    that is paid for them has become known only now, or is still to come (`credit.py`).

    A plain class on purpose: `synchronous_parallel_sample` flattens what env runners return
    with dm_tree, which must take this for one leaf (Ray 2.60).

    Attributes:
        policies: the policies and their agents.
        groups: the agents by their spaces.
        observations: for each group its leaves [T + 1, N, A_g, ...]. Row t is what agents see
            before step t; row T is what they see after the last step. The row after a step in
            which an agent left, while its episode went on, holds that agent's last observation.
        actions: for each group [T, N, A_g, ...].
        action_logp: float32 [T, N, A].
        action_dist_inputs: for each policy float32 [T, N, A_p, K].
        memory: for each policy arrays [T, N, A_p, ...], nested as its network's state is: what it
            remembered before each step; empty for one without a memory.
        rewards: float32 [T, N, A]: what came of the action at step t, until the next one: for the
            team, where agents are paid that.
        present: bool [T, N, A]: the agent acted at step t. Everything else about a step in which
            it did not act, except how it ended, is undefined, and enters no loss or advantage.
        there: bool [T + 1, N, A]: who is in the episode before step t and was given an observation
            in it: those that act and those that wait. The others' rows of `observations` are old.
        present_next: bool [N, A]: who acts in the step after the last.
        pending: bool [N, A]: whose last action is paid more than is known yet: no row has it.
        terminated, truncated: bool [T, N, A]: the agent ended with step t; never both.
        episode_over: bool [T, N]: the episode ended with step t; row t + 1 is of the next one.
        final_index: int64 [M, 2]: (t, n) of each True in `episode_over`, in that order.
        final_observations: for each group its leaves [M, A_g, ...]: what agents saw last.
        state_form: how the environment's `state()` is kept; None where it was not asked for, and
            then it has no leaves.
        state: its leaves [T + 1, N, ...]: before each step, and after the last.
        final_state: its leaves [M, ...]: when episodes ended.
        carried: how many of the steps are of fragments before, and count as sampled there.
        weights_seq_no: which weights acted, as the env runner's `_weights_seq_no` counts them.
    """

    policies: tuple[PolicyView, ...]
    groups: tuple[AgentGroup, ...]
    observations: tuple[Leaves, ...]
    actions: tuple[np.ndarray, ...]
    action_logp: np.ndarray
    action_dist_inputs: tuple[np.ndarray, ...]
    memory: tuple[Any, ...]
    rewards: np.ndarray
    present: np.ndarray
    there: np.ndarray
    present_next: np.ndarray
    pending: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    episode_over: np.ndarray
    final_index: np.ndarray
    final_observations: tuple[Leaves, ...]
    state_form: ObservationLeaves | None
    state: Leaves
    final_state: Leaves
    carried: int
    weights_seq_no: int

    def __init__(self, **arrays: object) -> None:
        self.__dict__.update(arrays)

    def __len__(self) -> int:
        return (self.rewards.shape[0] - self.carried) * self.rewards.shape[1]

    def observations_in(self, env: int) -> Iterator[dict[int, list[np.ndarray]]]:
        """Yields for each step in one of the envs the leaves that those who act see, by column."""
        for t in range(self.carried, len(self.rewards)):
            yield {
                column: [np.asarray(leaf[t, env, position]) for leaf in leaves]
                for group, leaves in zip(self.groups, self.observations, strict=True)
                for position, column in enumerate(group.columns)
                if self.present[t, env, column]
            }

    def env_steps(self) -> int:
        """Sampled steps of all envs, as `MultiAgentEpisode.env_steps`."""
        return len(self)

    def agent_steps(self) -> int:
        """Sampled steps in which an agent acted, as `MultiAgentEpisode.agent_steps`."""
        return sum(self.acted())

    def acted(self) -> list[int]:
        """Returns in how many sampled steps each of the A agents acted."""
        return self.present[self.carried :].sum((0, 1)).tolist()
