"""Policies act alike where arrays are sampled and where rows of observations are played."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium import spaces
from ray.rllib.core.columns import Columns
from ray.rllib.core.distribution.torch.torch_distribution import (
    TorchCategorical,
    TorchSquashedGaussian,
)

from empo_rllib.acting.actor import Actor
from empo_rllib.acting.decision import choose_actions, choose_with_logp, sample_categorical
from empo_rllib.acting.policies import ActingPolicy
from empo_rllib.acting.view import PolicyView
from empo_rllib.envs.vector_env import AgentGroup
from empo_rllib.errors import ConfigError
from empo_rllib.rl_modules.actor_critic import ActorCritic

NUM_ENVS = 16
SEEN = spaces.Box(-1.0, 1.0, (3,))
BOX = spaces.Box(np.array([-3.0, 0.0], np.float32), np.array([1.0, 10.0], np.float32))
SIZES = {"hidden_sizes": [8], "conv_filters": None, "shared_trunk": False}


class Squashed(ActorCritic):
    """Acts within bounds, as SAC's policies do."""

    def setup(self):
        super().setup()
        self.action_dist_cls = TorchSquashedGaussian


class Names(ActorCritic):
    """Returns actions itself."""

    def _forward(self, batch, **kwargs):
        outputs = super()._forward(batch, **kwargs)
        return {Columns.ACTIONS: outputs[Columns.ACTION_DIST_INPUTS].argmax(-1)}


@pytest.mark.parametrize(
    ("kind", "space"),
    [
        (ActorCritic, spaces.Discrete(4)),
        (ActorCritic, spaces.MultiDiscrete([2, 5, 3])),
        (ActorCritic, BOX),
        (Squashed, BOX),
        (Names, spaces.Discrete(4)),
    ],
)
def test_greedy_actions_are_the_same_in_arrays_and_on_rows(kind, space):
    torch.manual_seed(0)
    module = kind(observation_space=SEEN, action_space=space, model_config=SIZES)
    torch.nn.init.normal_(module.actor.weight)
    group = AgentGroup((0, 1), SEEN, space)
    view = PolicyView("both", 0, (0, 1), (0, 1), 2, with_agent_id=False)
    actor = Actor(module, view, group, NUM_ENVS, explore=False, device=torch.device("cpu"))
    policy = ActingPolicy(module, space, normalize_actions=False, env_steps=0)
    seen = np.random.default_rng(0).uniform(-1, 1, (NUM_ENVS, 2, 3)).astype(np.float32)

    in_arrays = actor.decide([(seen,)], env_steps=0).actions
    on_rows = policy.act(list(seen.reshape(-1, 3)), greedy=True)

    assert np.array_equal(in_arrays.reshape(2 * NUM_ENVS, *space.shape), np.array(on_rows))
    assert len(np.unique(in_arrays)) > 1


def module_of(distribution):
    class Module:
        get_inference_action_dist_cls = get_exploration_action_dist_cls = lambda _: distribution

    return Module()


def test_log_probabilities_are_those_of_the_squashed_actions():
    inputs = torch.randn(50, 4)
    module = module_of(TorchSquashedGaussian)

    actions, logp = choose_with_logp(module, {Columns.ACTION_DIST_INPUTS: inputs}, greedy=False)

    assert actions.abs().max() < 1
    expected = TorchSquashedGaussian.from_logits(inputs).logp(actions)
    assert torch.equal(logp, expected)


def test_actions_of_the_networks_own_keep_its_log_probabilities_or_get_those_of_its_inputs():
    actions, logits = torch.tensor([1, 0]), torch.tensor([[0.0, 1.0], [0.0, 3.0]])
    module = module_of(TorchCategorical)
    own = {Columns.ACTIONS: actions, Columns.ACTION_LOGP: torch.tensor([-1.0, -2.0])}

    assert choose_with_logp(module, own, greedy=False)[1].tolist() == [-1.0, -2.0]
    drawn_from = {Columns.ACTIONS: actions, Columns.ACTION_DIST_INPUTS: logits}
    found = choose_with_logp(module, drawn_from, greedy=False)
    assert torch.equal(found[0], actions)
    expected = torch.log_softmax(logits, -1)[[0, 1], actions]
    assert torch.allclose(found[1], expected)


@pytest.mark.parametrize("greedy", [True, False])
@pytest.mark.parametrize("choose", [choose_actions, choose_with_logp])
def test_a_network_without_actions_is_refused_wherever_it_acts(choose, greedy):
    with pytest.raises(ConfigError, match=r"must return 'actions' or 'action_dist_inputs'; it"):
        choose(module_of(TorchCategorical), {"embeddings": 0}, greedy)


def test_the_race_of_clocks_draws_from_the_distribution():
    from scipy.stats import chisquare

    torch.manual_seed(0)
    probabilities = torch.tensor([0.5, 0.25, 0.125, 0.125])
    actions, logp = sample_categorical(probabilities.log().expand(20_000, 4) + 3.0)
    counts = torch.bincount(actions, minlength=4).numpy()
    assert chisquare(counts, 20_000 * probabilities.double().numpy()).pvalue > 0.01
    assert torch.allclose(logp, probabilities[actions].log(), atol=1e-5)
