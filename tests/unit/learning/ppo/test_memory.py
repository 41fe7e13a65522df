"""A network with a memory learns what a plain loop over each agent's steps says, in float64."""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest
import torch
import tree
from fragments import random_fragment
from learners import TEAMS, build

from empo_rllib.learning.minibatches import deal_sequences
from empo_rllib.learning.ppo.categorical import CategoricalLoss
from empo_rllib.learning.ppo.learner import FragmentPPOLearner
from empo_rllib.learning.ppo.loss import LossSettings
from empo_rllib.learning.ppo.training import train
from empo_rllib.learning.rows import rows_of
from empo_rllib.rl_modules.recurrent import RecurrentActorCritic

TEAM = TEAMS["one policy that knows for whom"]
GAMMA, LAMBDA, MAX_SEQ_LEN = 0.97, 0.9, 4
SETTINGS = LossSettings(0.2, 0.8, 0.7, 0.05, 0.3, True)


@pytest.fixture
def in_float64(monkeypatch):
    monkeypatch.setattr(CategoricalLoss, "fits", lambda *_: False)  # the kernel takes float32
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def sampled(num_steps, memory, shared_trunk=False):
    """Returns module, fragment, and the batch that the learner makes of that."""
    config = {"memory": memory, "memory_size": 6, "max_seq_len": MAX_SEQ_LEN}
    learner = build(
        FragmentPPOLearner,
        TEAM,
        RecurrentActorCritic,
        shared_trunk=shared_trunk,
        model_config={"all": config},
        gamma=GAMMA,
        lambda_=LAMBDA,
    )
    module = learner.module["all"].double()
    for name, parameter in module.named_parameters():  # biases begin at 0, actors nearly so
        if "bias" in name or name.startswith("actor"):
            torch.nn.init.normal_(parameter, 0, 0.3)
    fragment = random_fragment(TEAM, {"all": module}, num_steps, seed=num_steps)
    fragment.memory = tree.map_structure(np.float64, fragment.memory)
    return learner, module, fragment


def cell_step(cell, features, state):
    """One step of torch's GRU or LSTM by its equations; returns output and state."""
    of_input = cell.weight_ih_l0 @ features + cell.bias_ih_l0
    of_state = cell.weight_hh_l0 @ state["h"] + cell.bias_hh_l0
    if isinstance(cell, torch.nn.GRU):
        r_x, z_x, n_x = of_input.chunk(3)
        r_h, z_h, n_h = of_state.chunk(3)
        reset, update = torch.sigmoid(r_x + r_h), torch.sigmoid(z_x + z_h)
        h = (1 - update) * torch.tanh(n_x + reset * n_h) + update * state["h"]
        return h, {"h": h}
    i, f, g, o = (of_input + of_state).chunk(4)
    c = torch.sigmoid(f) * state["c"] + torch.sigmoid(i) * torch.tanh(g)
    h = torch.sigmoid(o) * torch.tanh(c)
    return h, {"h": h, "c": c}


def runs(fragment):
    """Yields for each agent's part of an episode its env, column, steps, and how it ended."""
    ended = fragment.terminated | fragment.truncated | fragment.episode_over[..., None]
    for n, a in np.ndindex(fragment.present.shape[1:]):
        steps = []
        for t in range(len(fragment.present)):
            if fragment.present[t, n, a]:
                steps.append(t)
            if steps and ended[t, n, a]:
                yield n, a, steps, t
                steps = []
        if steps:
            yield n, a, steps, None


def observation(fragment, n, a, t=None, final=None):
    """Returns what an agent saw before a step, or at the end of an episode, with its id."""
    leaves = [
        leaf[t, n, a] if final is None else leaf[final, a]
        for leaf in (fragment.observations if final is None else fragment.final_observations)[0]
    ]
    nested = fragment.groups[0].leaves.unflatten([torch.as_tensor(x)[None] for x in leaves])
    return {**nested, "agent_id": torch.eye(3)[a][None]}


def outputs_by_hand(module, fragment):
    """Returns by (t, n, a) logits and value, and by run the value of what came last."""
    found, last = {}, {}
    for n, a, steps, end in runs(fragment):
        seen = [observation(fragment, n, a, t) for t in steps]
        over = end is not None and fragment.episode_over[end, n]
        if over:
            number = fragment.final_index.tolist().index([end, n])
            seen.append(observation(fragment, n, a, final=number))
        else:
            after = end + 1 if end is not None else len(fragment.present)
            seen.append(observation(fragment, n, a, after))
        for place, look in enumerate(seen):
            if place % MAX_SEQ_LEN == 0 and place < len(steps):
                begin = {
                    key: torch.from_numpy(leaf[steps[place], n, a])
                    for key, leaf in fragment.memory[0].items()
                }
                state = {k.removeprefix("memory."): v for k, v in begin.items() if k[0] == "m"}
                of_critic = {k[-1]: v for k, v in begin.items() if k[0] == "c"}
            output, state = cell_step(module.memory.cell, module.encoder(look)[0], state)
            valued = output
            if module.critic_memory is not None:
                features = module.critic_encoder(look)[0]
                valued, of_critic = cell_step(module.critic_memory.cell, features, of_critic)
            pair = module.actor(output), module.critic(valued)[0]
            if place < len(steps):
                found[steps[place], n, a] = pair
            else:
                last[n, a, steps[-1]] = pair[1]
    return found, last


def targets_by_hand(fragment, found, last):
    """Value targets by (t, n, a): generalised advantage estimation backwards over each run."""
    targets = {}
    for n, a, steps, end in runs(fragment):
        following, advantage = last[n, a, steps[-1]].item(), 0.0
        if end is not None and fragment.terminated[end, n, a]:
            following = 0.0
        for t in reversed(steps):
            value = found[t, n, a][1].item()
            error = float(fragment.rewards[t, n, a]) + GAMMA * following - value
            advantage = error + GAMMA * LAMBDA * advantage
            targets[t, n, a], following = value + advantage, value
    return targets


def loss_by_hand(keys, found, batch, row_of):
    """The mean of PPO's loss over steps, one after the other."""
    losses = []
    for key in keys:
        logits, value = found[key]
        row = row_of[key]
        logp, old = logits.log_softmax(0), batch.action_dist_inputs[row].log_softmax(0)
        ratio = torch.exp(logp[batch.actions[row]] - batch.action_logp[row])
        advantage, kept = batch.advantages[row], SETTINGS.clip_param
        surrogate = torch.min(advantage * ratio, advantage * ratio.clamp(1 - kept, 1 + kept))
        error = ((value - batch.value_targets[row]) ** 2).clamp(max=SETTINGS.vf_clip_param)
        entropy, kl = -(logp.exp() * logp).sum(), (old.exp() * (old - logp)).sum()
        losses.append(
            SETTINGS.vf_loss_coeff * error
            - surrogate
            - SETTINGS.entropy_coeff * entropy
            + SETTINGS.kl_coeff * kl
        )
    return torch.stack(losses).mean()


@pytest.mark.parametrize(
    ("num_steps", "memory", "shared_trunk"),
    [(1, "gru", False), (7, "lstm", False), (50, "gru", True)],
)
def test_values_losses_and_gradients_are_those_of_a_loop_over_time(
    in_float64, num_steps, memory, shared_trunk
):
    learner, module, fragment = sampled(num_steps, memory, shared_trunk)
    batch = learner._build_batch([fragment], "all")
    rows = rows_of(fragment, TEAM.inputs[0])
    row_of = {
        (*divmod(int(rows.step[row]), 3), int(rows.agent[row])): row
        for row in np.flatnonzero(rows.is_step)
    }
    found, last = outputs_by_hand(module, fragment)
    assert found.keys() == row_of.keys()
    for key, target in targets_by_hand(fragment, found, last).items():
        assert float(batch.value_targets[row_of[key]]) == pytest.approx(target, abs=1e-5)

    dealt = {}
    plan = learner._plan([fragment], num_epochs=1, minibatch_size=30, shuffle=True)
    update = plan.policy_batches["all"]
    gradients = []

    def step(is_last):
        gradients.append([p.grad.clone() for p in module.parameters()])

    metrics = train(module, update, SETTINGS, step)
    key_of = {row: key for key, row in row_of.items()}
    for minibatch, ours in zip(update.minibatches, gradients, strict=True):
        keys = [key_of[row] for row in minibatch.rows.tolist()]
        dealt |= dict.fromkeys(keys)
        loss = loss_by_hand(keys, found, update.batch, row_of)
        expected = torch.autograd.grad(loss, list(module.parameters()), retain_graph=True)
        for ours_one, expected_one in zip(ours, expected, strict=True):
            torch.testing.assert_close(ours_one, expected_one, rtol=1e-8, atol=1e-10)
    assert metrics["total_loss"] == pytest.approx(loss.item(), rel=1e-8)
    assert len(dealt) == len(found)
    assert len(update.minibatches) == math.ceil(len(batch) / 30)


def test_minibatches_have_whole_sequences_each_as_often_as_there_are_epochs():
    sizes = np.array([4, 2, 3, 1, 4, 4])
    count = math.ceil(2 * sizes.sum() / 5)
    dealt = deal_sequences(sizes, 5, count, shuffle=True)
    assert len(dealt) == count
    assert all(abs(sizes[chosen].sum() - 5) < 4 for chosen in dealt)
    seen = np.bincount(np.concatenate(dealt), minlength=6)
    assert (seen >= 2).all()
    orders = np.concatenate(dealt)
    assert sorted(orders[:6]) == list(range(6)) == sorted(orders[6:12])


@functools.cache
def learner_of_two_kinds():
    config = {"memory": "gru", "memory_size": 6, "max_seq_len": MAX_SEQ_LEN}
    return build(
        FragmentPPOLearner, TEAM, RecurrentActorCritic, model_config={"all": config}, lr=1e-3
    )


def test_the_learner_trains_it_in_torch_without_deduplication():
    learner = learner_of_two_kinds()
    fragments = [random_fragment(TEAM, learner.module._rl_modules, 9, waiting=0.3)]
    before = {name: p.clone() for name, p in learner.module["all"].named_parameters()}
    learner.update(
        episodes=fragments, num_epochs=2, minibatch_size=16, shuffle_batch_per_epoch=True
    )
    assert not learner._deduplicates("all")
    for name, parameter in learner.module["all"].named_parameters():
        assert not torch.equal(parameter, before[name]), name
