"""What policies with a memory remember, step by step, is what each agent's own steps say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from wanderers import A, N, Wanderers

from empo_rllib.acting.actor import Actor
from empo_rllib.acting.view import PolicyView
from empo_rllib.rl_modules.recurrent import RecurrentActorCritic
from empo_rllib.sampling.credit import TeamReward
from empo_rllib.sampling.rollout import Rollout

NO_ERRORS = Path("env_error.txt")


def rollout(team=None):
    """Agents that come, wait, leave and are cut off, of one policy with a memory."""
    envs = Wanderers(0, 0.3)
    envs.reset()
    group = envs.groups[0]
    torch.manual_seed(0)
    module = RecurrentActorCritic(
        observation_space=group.observation_space,
        action_space=group.action_space,
        model_config={
            "hidden_sizes": [8],
            "conv_filters": None,
            "shared_trunk": False,
            "memory": "lstm",
            "memory_size": 4,
        },
    )
    view = PolicyView("team", 0, tuple(range(A)), tuple(range(A)), A, with_agent_id=False)
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


@pytest.mark.parametrize("size", [1, 7])
def test_agents_remember_their_own_steps_of_their_own_episode(size):
    module, playing = rollout()
    remembered = {(n, a): zeros(module) for n in range(N) for a in range(A)}
    began, seen_later = 0, 0
    for _ in range(70 // size):
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
    assert began > 20
    assert seen_later > 100


def test_an_action_that_waits_for_its_credit_keeps_what_was_remembered_when_it_was_taken():
    _, playing = rollout(TeamReward("sum", np.ones(A)))
    before, carried = {}, 0
    for _ in range(40):
        fragment, _ = playing.sample(2, 0)
        memory, seen = fragment.memory[0]["memory.h"], fragment.observations[0][0]
        for t, n, a in np.argwhere(fragment.present):
            key = float(seen[t, n, a].ravel()[0])  # no observation is seen twice
            if t < fragment.carried:
                carried += 1
                np.testing.assert_array_equal(memory[t, n, a], before[key])
            before[key] = memory[t, n, a].copy()
    assert carried > 5


def test_new_episodes_remember_nothing():
    _, playing = rollout()
    playing.sample(5, 0)
    playing.restart()
    fragment, _ = playing.sample(1, 0)
    assert not any(part[0].any() for part in fragment.memory[0].values())
