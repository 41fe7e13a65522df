"""What policies with a memory remember, step by step, is what each agent's own steps say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from wanderers import A, N, Wanderers

from empo_rllib.acting.actor import Actor
from empo_rllib.acting.view import PolicyView
from empo_rllib.envs.adapting import central_critic_space
from empo_rllib.learning.ppo.batch import build_batch
from empo_rllib.learning.rows import rows_of
from empo_rllib.rl_modules.recurrent import RecurrentActorCritic
from empo_rllib.sampling.credit import TeamReward
from empo_rllib.sampling.rollout import Rollout

NO_ERRORS = Path("env_error.txt")


def rollout(team=None, critic="own"):
    """Agents that come, wait, leave and are cut off, of one policy with a memory."""
    envs = Wanderers(0, 0.3)
    envs.reset()
    group = envs.groups[0]
    torch.manual_seed(0)
    sizes = {}
    if critic == "central":
        seen = [group.observation_space] * A
        sizes["critic_space"] = central_critic_space(seen, A, with_id=True)
    module = RecurrentActorCritic(
        observation_space=group.observation_space,
        action_space=group.action_space,
        model_config={
            "hidden_sizes": [8],
            "conv_filters": None,
            "shared_trunk": False,
            "memory": "lstm",
            "memory_size": 4,
            **sizes,
        },
    )
    view = PolicyView("team", 0, tuple(range(A)), tuple(range(A)), A, False, critic)
    actor = Actor(module, view, group, N, True, torch.device("cpu"))
    return module, Rollout(envs, [actor], lambda actions, space: actions, NO_ERRORS, team)


def zeros(module):
    return {key: part.numpy() for key, part in module.get_initial_state().items()}


def step(module, state, seen):
    batch = {
        "obs": torch.from_numpy(seen)[None, None],
        "state_in": {key: torch.from_numpy(part)[None] for key, part in state.items()},
    }
    with torch.no_grad():
        after = module.forward_exploration(batch)["state_out"]
    return {key: part[0].numpy() for key, part in after.items()}


def test_agents_remember_their_own_steps_of_their_own_episode():
    module, playing = rollout()
    remembered = {(n, a): zeros(module) for n in range(N) for a in range(A)}
    began, seen_later = 0, 0
    for size in (1, 7, 1, 1, 7, 7, 1):
        fragment, _ = playing.sample(size, 0)
        ended = fragment.terminated | fragment.truncated | fragment.episode_over[..., None]
        for t, n, a in np.ndindex(fragment.present.shape):
            own = remembered[n, a]
            if fragment.present[t, n, a]:
                for key, part in own.items():
                    stored = fragment.memory[0][key][t, n, a]
                    np.testing.assert_allclose(stored, part, rtol=1e-4, atol=1e-6)
                fresh = all(not part.any() for part in own.values())
                began, seen_later = began + fresh, seen_later + (not fresh)
                seen = fragment.observations[0][0][t, n, a]
                remembered[n, a] = step(module, own, seen)
            if ended[t, n, a]:
                remembered[n, a] = zeros(module)
    assert began > 10
    assert seen_later > 50


def test_an_action_that_waits_for_its_credit_keeps_what_was_remembered_when_it_was_taken():
    _, playing = rollout(TeamReward("sum", np.ones(A)))
    before, carried = {}, 0
    for _ in range(20):
        fragment, _ = playing.sample(2, 0)
        memory, seen = fragment.memory[0]["memory.h"], fragment.observations[0][0]
        for t, n, a in np.argwhere(fragment.present):
            key = float(seen[t, n, a].ravel()[0])  # no observation is seen twice
            if t < fragment.carried:
                carried += 1
                np.testing.assert_array_equal(memory[t, n, a], before[key])
            before[key] = memory[t, n, a].copy()
    assert carried > 3


def test_new_episodes_remember_nothing():
    _, playing = rollout()
    playing.sample(5, 0)
    playing.restart()
    fragment, _ = playing.sample(1, 0)
    assert not any(part[0].any() for part in fragment.memory[0].values())


def test_a_central_critic_values_each_step_by_all_that_it_has_seen_of_the_episode():
    module, playing = rollout(critic="central")
    memory, remembered = module.critic_memory, {}
    seen = []

    def value(batch):
        seen.append(module.compute_values(batch))
        return seen[-1]

    compared = 0
    for _ in range(4):
        fragment, _ = playing.sample(7, 0)
        batch = build_batch([fragment], "team", value, 0.9, 0.9, False, "cpu", max_seq_len=3)
        index, is_row = batch.sequences.side_by_side(np.arange(len(batch.sequences.starts)))
        rows = rows_of(fragment, fragment.policies[0])
        found = dict(zip(index[is_row].tolist(), seen[-1].numpy()[is_row].tolist(), strict=True))
        valued = {
            (*divmod(int(rows.step[row]), N), int(rows.agent[row])): found[row]
            for row in np.flatnonzero(rows.is_step)
        }
        ended = fragment.terminated | fragment.truncated | fragment.episode_over[..., None]
        for t, n, a in np.ndindex(fragment.present.shape):
            if fragment.present[t, n, a]:
                there = torch.from_numpy(fragment.there[t, n])
                all_seen = torch.from_numpy(fragment.observations[0][0][t, n]) * there[:, None]
                inputs = {
                    "observations": tuple(all_seen[:, None]),
                    "position": torch.zeros(1, A, dtype=torch.int64),
                    "there": there[None],
                    "agent_id": torch.eye(A)[a][None],
                }
                with torch.no_grad():
                    features = module.critic_encoder(inputs)[None]
                    state = remembered.get((n, a)) or {
                        part: torch.zeros(1, 4) for part in memory.parts
                    }
                    output, remembered[n, a] = memory(features, state)
                    expected = module.critic(output).item()
                if (t, n, a) in valued:  # others wait for their credit
                    assert valued[t, n, a] == pytest.approx(expected, rel=1e-3, abs=1e-5)
                    compared += 1
            if ended[t, n, a]:
                remembered.pop((n, a), None)
    assert compared > 50
