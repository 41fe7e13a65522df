"""What is learned under action masks is what plain loops over the legal actions make of it."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from gymnasium import spaces
from ray.rllib.core.columns import Columns

from empo_rllib.acting.decision import acting_pass, choose_with_logp
from empo_rllib.kernels.acting import CompiledActor
from empo_rllib.kernels.network import describe
from empo_rllib.learning.ppo.batch import PolicyBatch
from empo_rllib.learning.ppo.compiled_training import train_compiled
from empo_rllib.learning.ppo.loss import LossSettings, TorchLoss
from empo_rllib.learning.ppo.training import train
from empo_rllib.learning.ppo.update import plan_update
from empo_rllib.rl_modules.actor_critic import FORBIDDEN, ActorCritic

ACTIONS = {"discrete": spaces.Discrete(5), "several": spaces.MultiDiscrete([3, 2])}
SETTINGS = LossSettings(
    clip_param=0.2,
    vf_clip_param=10.0,
    vf_loss_coeff=0.5,
    entropy_coeff=0.1,
    kl_coeff=0.3,
    use_critic=True,
)
B = 60


def sizes_of(space):
    return [5] if isinstance(space, spaces.Discrete) else [3, 2]


def module_of(actions):
    torch.manual_seed(0)
    seen = spaces.Dict(
        {"observation": spaces.Box(-3, 3, (4,)), "action_mask": spaces.MultiBinary(5)}
    )
    module = ActorCritic(
        observation_space=seen,
        action_space=ACTIONS[actions],
        model_config={"hidden_sizes": [16, 8], "conv_filters": None, "shared_trunk": False},
    )
    torch.nn.init.normal_(module.actor.weight, std=0.5)
    return module


def batch_of(space):
    """Steps with random masks, which allow one action at least in each dimension."""
    torch.manual_seed(1)
    masks = torch.rand(B, 5) < 0.5
    begin = 0
    for size in sizes_of(space):
        masks[torch.arange(B), begin + torch.randint(size, (B,))] = True
        begin += size
    old = torch.where(masks, torch.randn(B, 5), FORBIDDEN)
    parts = [torch.distributions.Categorical(logits=p) for p in old.split(sizes_of(space), 1)]
    actions = torch.stack([part.sample() for part in parts], 1)
    logp = sum(part.log_prob(actions[:, d]) for d, part in enumerate(parts))
    return PolicyBatch(
        observations={"observation": torch.randn(B, 4), "action_mask": masks.to(torch.int8)},
        kind=np.arange(B),
        is_step=np.ones(B, bool),
        actions=actions if len(parts) > 1 else actions[:, 0],
        action_logp=logp,
        action_dist_inputs=old,
        advantages=torch.randn(B),
        value_targets=torch.randn(B),
        mean_weights_seq_no=0.0,
    )


def by_hand(module, batch, space):
    """Returns loss, its parts and gradients, row by row over legal actions alone, in float64."""
    vector = module.encoder.vector(batch.observations).double()
    module = copy.deepcopy(module).double()
    logits = module.actor(module.encoder.hidden(vector))
    values = module.critic(module.critic_encoder.hidden(vector)).squeeze(-1)
    sums = dict.fromkeys(("policy_loss", "vf_loss", "entropy", "mean_kl_loss"), 0.0)
    for b in range(B):
        taken, begin = -batch.action_logp[b].double(), 0
        for d, size in enumerate(sizes_of(space)):
            part = slice(begin, begin + size)
            legal = batch.observations["action_mask"][b, part].bool()
            new, old = (
                torch.log_softmax(x[b, part][legal].double(), 0)
                for x in (logits, batch.action_dist_inputs)
            )
            action = int(batch.actions.reshape(B, -1)[b, d])
            taken = taken + new[int(legal[:action].sum())]
            sums["entropy"] -= (new.exp() * new).sum()
            sums["mean_kl_loss"] += (old.exp() * (old - new)).sum()
            begin += size
        ratio, advantage = taken.exp(), batch.advantages[b].double()
        sums["policy_loss"] -= torch.min(ratio * advantage, ratio.clamp(0.8, 1.2) * advantage)
        sums["vf_loss"] += (values[b] - batch.value_targets[b].double()).square().clamp(0, 10)
    means = {name: total / B for name, total in sums.items()}
    loss = means["policy_loss"] + 0.5 * means["vf_loss"]
    loss = loss - 0.1 * means["entropy"] + 0.3 * means["mean_kl_loss"]
    loss.backward()
    means["total_loss"] = loss
    return {k: v.item() for k, v in means.items()}, [p.grad for p in module.parameters()]


def assert_same(found, expected):
    for mine, wanted in zip(found, expected, strict=True):
        assert (mine.double() - wanted).norm() <= 1e-5 * wanted.norm().clamp_min(1e-3)


@pytest.mark.parametrize("actions", ACTIONS)
@pytest.mark.parametrize("plain_torch", [False, True])
def test_losses_and_gradients_are_those_over_legal_actions(actions, plain_torch, monkeypatch):
    if plain_torch:
        monkeypatch.setattr("empo_rllib.learning.ppo.training._loss", TorchLoss)
    module, batch = module_of(actions), batch_of(ACTIONS[actions])
    gradients = []
    metrics = train(
        module,
        plan_update(batch, np.arange(B)[None], deduplicate=False),
        SETTINGS,
        lambda last: gradients.extend(p.grad.clone() for p in module.parameters()),
    )
    expected, wanted = by_hand(module, batch, ACTIONS[actions])
    for name, number in expected.items():
        assert metrics[name] == pytest.approx(number, abs=1e-5)
    assert_same(gradients, wanted)


@pytest.mark.parametrize("actions", ACTIONS)
def test_kernels_train_as_plain_loops_do(actions):
    module, batch = module_of(actions), batch_of(ACTIONS[actions])
    expected, wanted = by_hand(module, batch, ACTIONS[actions])
    # With an epsilon this large a step of Adam is the gradient, times a number.
    optimizer = torch.optim.Adam(module.parameters(), lr=1e6, eps=1e6, fused=True)
    before = [p.detach().clone() for p in module.parameters()]
    trained = train_compiled(
        describe(module),
        [optimizer],
        plan_update(batch, np.arange(B)[None], deduplicate=False),
        SETTINGS,
        SimpleNamespace(grad_clip=None, grad_clip_by="value"),
    )
    assert trained is not None
    for name, number in expected.items():
        assert trained.metrics[name] == pytest.approx(number, abs=1e-5)
    steps = [b - p.detach() for b, p in zip(before, module.parameters(), strict=True)]
    for step, gradient in zip(steps, wanted, strict=True):
        assert (step.double() - gradient).norm() <= 1e-5 * gradient.norm().clamp_min(1e-2)


@pytest.mark.parametrize("actions", ACTIONS)
@pytest.mark.parametrize("kernels", [False, True])
@pytest.mark.parametrize("greedy", [False, True])
def test_no_illegal_action_is_taken(actions, kernels, greedy):
    module, batch = module_of(actions), batch_of(ACTIONS[actions])
    seen, masks = batch.observations, batch.observations["action_mask"]
    logits = module.forward_inference({Columns.OBS: seen})[Columns.ACTION_DIST_INPUTS]
    taken = set()
    for _ in range(1 if greedy else 30):
        if kernels:
            acted = CompiledActor.of(module).act(seen, greedy)
            chosen, logp = torch.from_numpy(acted.actions), torch.from_numpy(acted.logp)
            assert torch.allclose(torch.from_numpy(acted.logits), logits, atol=1e-5)
        else:
            outputs = acting_pass(module, greedy)({Columns.OBS: seen})
            chosen, logp = choose_with_logp(module, outputs, greedy)
        parts = zip(
            masks.split(sizes_of(ACTIONS[actions]), 1),
            logits.split(sizes_of(ACTIONS[actions]), 1),
            chosen.reshape(B, -1).T,
            strict=True,
        )
        expected = torch.zeros(B)
        for mask, part, action in parts:
            assert mask[torch.arange(B), action].all()
            expected = expected + torch.log_softmax(part, 1)[torch.arange(B), action]
        if not greedy:
            assert torch.allclose(logp, expected, atol=1e-5)
        taken |= {tuple(row) for row in chosen.reshape(B, -1).tolist()}
    assert len(taken) == (5 if actions == "discrete" else 6) or greedy


def test_a_mask_that_is_read_as_categories_is_left_to_torch():
    seen = spaces.Dict(
        {"observation": spaces.Box(-3, 3, (4,)), "action_mask": spaces.MultiDiscrete([2] * 5)}
    )
    module = ActorCritic(
        observation_space=seen,
        action_space=spaces.Discrete(5),
        model_config={"hidden_sizes": [4], "conv_filters": None, "shared_trunk": False},
    )
    assert describe(module) == "the action_mask is read as categories"
