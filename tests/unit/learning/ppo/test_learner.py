"""What the learner decides by itself: what to deduplicate, and what it refuses."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
import tree
from fragments import random_fragment
from learners import TEAMS, build, metrics_of, weights_of
from torch import nn

from empo_rllib.config.algorithms import ALGORITHMS
from empo_rllib.learning.ppo.learner import FragmentPPOLearner
from empo_rllib.rl_modules.actor_critic import ActorCritic

TEAM = TEAMS["one policy for all"]


class WithDropout(ActorCritic):
    def setup(self):
        super().setup()
        self.encoder.layers.append(nn.Dropout(0.5))


class WithBatchNorm(ActorCritic):
    def setup(self):
        super().setup()
        self.encoder.layers.append(nn.BatchNorm1d(self.encoder.num_features))


class Watched(ActorCritic):
    """Keeps what it was shown in training."""

    def _forward_train(self, batch, **kwargs):
        self.__dict__.setdefault("shown", []).append(batch["obs"]["image"])
        return super()._forward_train(batch, **kwargs)


def update(learner, team=TEAM, kinds=6, **kwargs):
    settings = {"num_epochs": 2, "minibatch_size": 64, "shuffle_batch_per_epoch": True, **kwargs}
    fragment = random_fragment(team, learner.module._rl_modules, num_steps=20, kinds=kinds)
    for module in learner.module._rl_modules.values():
        module.__dict__.pop("shown", None)
    return dict(metrics_of(learner.update(episodes=[fragment], **settings)))


def rows_shown(module):
    return [image.flatten(1) for image in module.shown]


def test_the_network_sees_each_observation_of_a_minibatch_once():
    learner = build(FragmentPPOLearner, TEAM, Watched)
    share = update(learner)["all/unique_observations"]
    shown = rows_shown(learner.module["all"])
    assert all(len(rows) <= 6 for rows in shown)
    assert sum(map(len, shown)) < 0.2 * 64 * len(shown)
    assert 0 < share < 0.2


def test_the_network_sees_every_step_where_that_is_wanted():
    learner = build(FragmentPPOLearner, TEAM, Watched, deduplicate=False)
    assert update(learner)["all/unique_observations"] == 1.0
    shown = rows_shown(learner.module["all"])
    assert all(48 < len(rows) <= 64 for rows in shown)  # without artificial rows


def test_the_network_sees_every_step_where_hardly_any_are_the_same():
    learner = build(FragmentPPOLearner, TEAM, Watched)
    assert update(learner, kinds=5000)["all/unique_observations"] == 1.0


def test_agents_that_see_the_same_differ_where_the_policy_is_told_for_whom_it_acts():
    team = TEAMS["one policy that knows for whom"]
    plain = update(build(FragmentPPOLearner, TEAM), kinds=2)["all/unique_observations"]
    told = update(build(FragmentPPOLearner, team), team, kinds=2)["all/unique_observations"]
    assert told == pytest.approx(3 * plain, rel=0.1)


@pytest.mark.parametrize("kind", [WithDropout, WithBatchNorm])
def test_networks_that_look_at_more_than_one_observation_see_every_step(kind):
    assert update(build(FragmentPPOLearner, TEAM, kind))["all/unique_observations"] == 1.0


def test_shuffling_follows_the_seed():
    weights = []
    for seed in (5, 5, 6):
        learner = build(FragmentPPOLearner, TEAM, lr=0.01)
        fragment = random_fragment(TEAM, learner.module._rl_modules, num_steps=20)
        torch.manual_seed(seed)
        learner.update(
            episodes=[fragment], num_epochs=2, minibatch_size=16, shuffle_batch_per_epoch=True
        )
        weights.append(learner.module["all"].critic.weight.detach().clone())
    assert torch.equal(weights[0], weights[1])
    assert not torch.allclose(weights[0], weights[2])


def test_a_policy_whose_agents_never_acted_is_left_out():
    team = TEAMS["a policy each"]
    learner = build(FragmentPPOLearner, team)
    fragment = random_fragment(team, learner.module._rl_modules)
    for name in ("present", "terminated", "truncated"):
        getattr(fragment, name)[..., 1] = False
    fragment.present[..., 0] = True
    before = learner.module["second"].critic.weight.detach().clone()
    metrics = dict(metrics_of(learner.update(episodes=[fragment], num_epochs=2)))
    assert "first/total_loss" in metrics
    assert "second/total_loss" not in metrics
    assert torch.equal(before, learner.module["second"].critic.weight)


def test_nothing_to_train_is_no_error():
    learner = build(FragmentPPOLearner, TEAM, train=[])
    metrics = update(learner)
    assert metrics["__all_modules__/num_env_steps_trained"] == 0


def test_fragments_from_the_object_store_which_are_read_only_are_learned_from():
    learner = build(FragmentPPOLearner, TEAM)
    fragment = pickle.loads(pickle.dumps(random_fragment(TEAM, learner.module._rl_modules)))
    for array in tree.flatten(vars(fragment)):
        if isinstance(array, np.ndarray):
            array.flags.writeable = False
    learner.update(episodes=[fragment], num_epochs=2)


#: Values that make a difference in the second update.
OTHER_VALUES = {
    "clip_param": 0.01,
    "entropy_coeff": 0.5,
    "gamma": 0.1,
    "grad_clip": 1e-3,
    "grad_clip_by": "value",
    "kl_coeff": 5.0,
    "kl_target": 1.0,
    "lambda_": 0.1,
    "lr": 1e-4,
    "use_critic": False,
    "use_kl_loss": False,
    "vf_clip_param": 1e-3,
    "vf_loss_coeff": 0.1,
}


def weights_after_updates(**overrides):
    team = TEAMS["a policy each"]
    learner = build(FragmentPPOLearner, team, lr=1e-3, grad_clip=0.1, overrides=overrides)
    for seed in range(2):
        torch.manual_seed(seed)
        update(learner, team)
    return weights_of(learner)


@pytest.fixture(scope="module")
def plain_weights():
    return weights_after_updates()


def test_every_parameter_that_may_differ_by_policy_is_tried():
    row = ALGORITHMS["PPO"]
    assert OTHER_VALUES.keys() | {"log_gradients"} == row.by_policy | row.by_policy_in_fragments


@pytest.mark.parametrize("name", OTHER_VALUES)
def test_a_parameter_of_one_policy_acts_on_it_and_on_no_other(plain_weights, name):
    changed = weights_after_updates(first={name: OTHER_VALUES[name]})
    differs = {key.split("/")[0] for key, w in changed.items() if not w.equal(plain_weights[key])}
    assert differs == {"first"}


def test_the_age_of_the_weights_that_acted_is_reported():
    learner = build(FragmentPPOLearner, TEAM)
    modules = learner.module._rl_modules
    fragments = [random_fragment(TEAM, modules, weights_seq_no=number) for number in (0, 1)]
    metrics = dict(metrics_of(learner.update(episodes=fragments, num_epochs=1)))
    name = "all/diff_num_grad_updates_vs_sampler_policy"
    assert metrics[name] == pytest.approx(1 - np.mean([0, 1]))


def test_kl_coefficients_are_part_of_the_state_for_they_have_adapted():
    trained = build(FragmentPPOLearner, TEAM, kl_coeff=0.2, kl_target=1e-9)
    trained.curr_kl_coeffs_per_module["all"].data.fill_(0.45)
    restored = build(FragmentPPOLearner, TEAM, kl_coeff=0.2, kl_target=1e-9)
    restored.set_state(pickle.loads(pickle.dumps(trained.get_state())))
    assert float(restored.curr_kl_coeffs_per_module["all"]) == pytest.approx(0.45)
    without = {key: value for key, value in trained.get_state().items() if "kl" not in key}
    build(FragmentPPOLearner, TEAM).set_state(without)  # an older version's
