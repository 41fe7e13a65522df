"""With a team reward, what an action is credited with is the team's return from then on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from wanderers import A, N, Wanderers

from empo_rllib.acting.actor import Decision
from empo_rllib.acting.view import PolicyView
from empo_rllib.learning.ppo.batch import build_batch
from empo_rllib.learning.rows import rows_of
from empo_rllib.sampling.credit import TeamReward
from empo_rllib.sampling.rollout import Rollout

GAMMA = 0.9
NO_ERRORS = Path("env_error.txt")


class Idle:
    """Acts for all, always the same."""

    policy = PolicyView("team", 0, tuple(range(A)), tuple(range(A)), A, with_agent_id=False)
    in_group = columns = slice(0, A)

    def decide(self, observations, env_steps):
        nothing = np.zeros((N, A), np.float32)
        return Decision(nothing.astype(np.int64), nothing, np.zeros((N, A, 2), np.float32))

    def look(self, envs):
        pass

    def advance(self, acted, ended):
        pass

    def restart(self):
        pass


def values_of(seen):
    """A critic by hand."""
    return torch.sin(seen.reshape(-1).double()).float()


def central_values_of(inputs):
    """The same, of what a central critic reads."""
    of_all = zip(inputs["observations"], inputs["position"].T, strict=True)
    seen = torch.stack([one[position, 0] for one, position in of_all], 1)
    own = inputs["agent_id"].argmax(1)
    assert inputs["there"][torch.arange(len(own)), own].all()
    return values_of(seen[torch.arange(len(own)), own])


def learned(
    sizes, kind, gamma=GAMMA, lambda_=0.0, pauses=0.3, value=values_of, seed=0, central=False
):
    """Samples fragments; returns the envs and, by observation, what its step's value target is."""
    envs = Wanderers(seed, pauses)
    envs.reset()
    team = TeamReward(kind, np.full(A, gamma))
    actor = Idle()
    actor.policy = replace(Idle.policy, critic="central" if central else "own")
    rollout = Rollout(envs, [actor], lambda actions, space: actions, NO_ERRORS, team)
    found: dict[float, float] = {}
    counts = 0
    for size in sizes:
        fragment, _ = rollout.sample(size, 0)
        counts += fragment.agent_steps()
        assert fragment.env_steps() == len(fragment) == size * N
        batch = build_batch(
            [fragment], "team", lambda read: value(read["obs"]), gamma, lambda_, False, "cpu"
        )
        rows = rows_of(fragment, Idle.policy)
        for row in np.flatnonzero(rows.is_step):
            seen = float(batch.observations[batch.kind[row]])
            assert seen not in found, "learned from twice"
            found[seen] = float(batch.value_targets[row])
    assert counts == sum(step[0].sum() for step in envs.log)
    return envs, found


def by_hand(envs, kind, gamma=GAMMA, value=values_of):
    """The same by plain loops over each agent's steps in each episode that ended, with lambda 0."""
    expected = {}
    for n in range(N):
        ends = [t for t, step in enumerate(envs.log) if step[5][n]]
        for begin, end in zip([-1, *ends], ends, strict=False):
            for a in range(A):
                expected |= _of_agent(envs.log, n, a, range(begin + 1, end + 1), kind, gamma, value)
    return expected


def _of_agent(log, n, a, steps, kind, gamma, value):
    targets = {}
    for t in steps:
        if not log[t][0][n, a]:
            continue
        total, weight, after = 0.0, 1.0, 0.0
        for k in steps:
            if k < t:
                continue
            if k > t and log[k][0][n, a]:  # it acts again
                after = gamma * value(torch.tensor(log[k][1][n, a])).item()
                break
            team = log[k][2][n].sum()
            total += weight * (team / A if kind == "mean" else team)
            if log[k][4][n, a]:  # cut off: the critic's word for what follows
                last = log[k][7 if log[k][5][n] else 6][n, a]
                after = gamma * value(torch.tensor(last)).item()
                break
            gone = any(log[s][3][n, a] for s in steps if s <= k)
            weight *= gamma if gone else 1.0
        targets[log[t][1][n, a].item()] = total + after
    return targets


@pytest.mark.parametrize(
    ("kind", "size", "central"),
    [("sum", 1, False), ("mean", 7, False), ("mean", 7, True), ("sum", 200, False)],
)
def test_every_action_is_credited_once_with_what_the_team_earns_until_the_next(kind, size, central):
    value = central_values_of if central else values_of
    envs, found = learned([size] * (200 // size), kind, value=value, central=central)
    expected = by_hand(envs, kind)
    assert len(expected) > 300
    assert max(abs(found[seen] - target) for seen, target in expected.items()) < 1e-5


def test_the_objective_is_the_discounted_return_of_the_team():
    # Nobody waits, and the critic knows nothing: targets are returns from a step on.
    envs, found = learned([150], "sum", 0.95, 1.0, 0.0, lambda seen: torch.zeros(len(seen)), 3)
    compared = 0
    for n in range(N):
        ends = [t for t, step in enumerate(envs.log) if step[5][n]]
        for begin, end in zip([-1, *ends], ends, strict=False):
            of_team = 0.0
            cut = np.zeros(A, bool)
            for t in range(end, begin, -1):
                present, seen, rewards, _, truncated = (part[n] for part in envs.log[t][:5])
                of_team = rewards.sum() + 0.95 * of_team
                cut |= truncated
                for a in np.flatnonzero(present & ~cut):
                    assert found[seen[a].item()] == pytest.approx(of_team, abs=1e-5)
                    compared += 1
    assert compared > 100


def test_new_episodes_take_nothing_of_those_that_were_dropped():
    envs = Wanderers(0, 0.3)
    envs.reset()
    rollout = Rollout(envs, [Idle()], lambda a, s: a, NO_ERRORS, TeamReward("sum", np.ones(A)))
    while rollout.sample(2, 0)[0].pending.sum() == 0:
        pass
    rollout.restart()
    assert rollout.sample(2, 0)[0].carried == 0
