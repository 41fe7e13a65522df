"""The same trajectories, as fragments through our learner and as episodes through RLlib's own."""

from __future__ import annotations

import pytest
import torch
from fragments import random_fragment, to_episodes
from learners import TEAMS, build, metrics_of, pair, weights_of
from ray.rllib.algorithms.ppo.torch.ppo_torch_learner import PPOTorchLearner
from ray.rllib.core.learner.training_data import TrainingData

from empo_rllib.learning.ppo.learner import FragmentPPOLearner
from empo_rllib.rl_modules.actor_critic import ActorCritic

CLOSE = {"rtol": 1e-5, "atol": 1e-5}
NO_SHUFFLE = {"minibatch_size": None, "shuffle_batch_per_epoch": False}
OURS_ONLY = "unique_observations"
# RLlib's has the artificial steps in it, which are in no loss.
DIFFERENT = "vf_explained_var"


@pytest.fixture(params=TEAMS)
def team(request):
    return TEAMS[request.param]


def sample(team, learner, count=2, **kwargs):
    modules = learner.module._rl_modules
    return [random_fragment(team, modules, seed=seed, **kwargs) for seed in range(count)]


def episodes_of(fragments):
    return [episode for fragment in fragments for episode in to_episodes(fragment)]


def update_both(ours, stock, fragments, sampled=0, **kwargs):
    kwargs = {"timesteps": {"num_env_steps_sampled_lifetime": sampled}, **NO_SHUFFLE, **kwargs}
    results = ours.update(episodes=fragments, **kwargs)
    theirs = stock.update(episodes=episodes_of(fragments), **kwargs)
    return dict(metrics_of(results)), dict(metrics_of(theirs))


def assert_same_weights(ours, stock):
    theirs = weights_of(stock)
    for name, weights in weights_of(ours).items():
        torch.testing.assert_close(weights, theirs[name], **CLOSE, msg=lambda m, n=name: f"{n} {m}")


def assert_same_metrics(ours, theirs):
    assert {name for name in ours if OURS_ONLY not in name} == set(theirs)
    for name, value in theirs.items():
        if DIFFERENT not in name:
            assert ours[name] == pytest.approx(value, rel=1e-4, abs=1e-5, nan_ok=True), name


@pytest.mark.parametrize("waiting", [0.0, 0.4])
def test_rows_advantages_and_value_targets_are_the_same(team, waiting):
    ours, stock = pair(team)
    fragments = sample(team, ours, count=3, waiting=waiting)
    data = TrainingData(episodes=episodes_of(fragments))
    theirs = stock._make_batch_if_necessary(training_data=data).policy_batches
    assert set(theirs) == {policy.policy for policy in team.inputs}
    for policy, expected in theirs.items():
        batch = ours._build_batch(fragments, policy)
        assert torch.equal(torch.from_numpy(batch.is_step), expected["loss_mask"])
        for ours_key, key in (
            ("actions", "actions"),
            ("action_logp", "action_logp"),
            ("action_dist_inputs", "action_dist_inputs"),
            ("advantages", "advantages"),
            ("value_targets", "value_targets"),
        ):
            torch.testing.assert_close(getattr(batch, ours_key), expected[key], **CLOSE)
        seen = ours.module[policy].forward_train({"obs": batch.observations})
        theirs_seen = stock.module[policy].forward_train({"obs": expected["obs"]})
        kind = torch.from_numpy(batch.kind)
        for name, output in theirs_seen.items():
            torch.testing.assert_close(seen[name][kind], output, **CLOSE)


@pytest.mark.parametrize("deduplicate", [True, False])
def test_gradients_and_metrics_of_one_step_are_the_same(team, deduplicate):
    settings = {"entropy_coeff": 0.03, "use_kl_loss": True}
    # Kernels call no `optimizer.step`, where gradients are looked at here.
    ours, stock = pair(team, deduplicate=deduplicate, kernels=False, **settings)
    gradients = []
    for learner in (ours, stock):
        for optimizer in learner._named_optimizers.values():
            optimizer.step = lambda learner=learner: gradients.append(
                {
                    f"{policy}/{name}": parameter.grad.clone()
                    for policy, module in learner.module._rl_modules.items()
                    for name, parameter in module.named_parameters()
                    if parameter.grad is not None
                }
            )
    metrics = update_both(ours, stock, sample(team, ours), num_epochs=1)
    number = len(team.inputs)
    found = {name: grad for step in gradients[:number] for name, grad in step.items()}
    assert found.keys() == gradients[number].keys()
    for name, gradient in gradients[number].items():
        torch.testing.assert_close(found[name], gradient, **CLOSE)
    assert_same_metrics(*metrics)


def test_several_epochs_lead_to_the_same_weights(team):
    ours, stock = pair(team, shared_trunk=True, lr=1e-3)
    metrics = update_both(ours, stock, sample(team, ours), num_epochs=3)
    assert_same_metrics(*metrics)
    assert_same_weights(ours, stock)


def test_minibatches_of_rows_in_order_lead_to_the_same_weights(team):
    ours, stock = pair(team, lr=1e-3)
    metrics = update_both(ours, stock, sample(team, ours), num_epochs=2, minibatch_size=16)
    assert_same_metrics(*metrics)
    assert_same_weights(ours, stock)


@pytest.mark.parametrize(
    "settings",
    [
        {"clip_param": 0.05},
        {"vf_clip_param": 0.5, "vf_loss_coeff": 0.3},
        {"vf_clip_param": None},
        {"use_kl_loss": False},
        {"use_critic": False},
        {"entropy_coeff": 0.1},
        {"grad_clip": 0.01, "grad_clip_by": "value"},
        {"grad_clip": 0.1, "grad_clip_by": "norm"},
        {"grad_clip": 0.1, "grad_clip_by": "global_norm"},
        {"grad_clip": 0.01, "grad_clip_by": "value", "log_gradients": True},
        {"log_gradients": True},
    ],
    ids=str,
)
def test_every_setting_of_the_loss_does_the_same(settings):
    team = TEAMS["several kinds of actions"]
    ours, stock = pair(team, lr=1e-3, **settings)
    metrics = update_both(ours, stock, sample(team, ours, count=1), num_epochs=2)
    assert_same_metrics(*metrics)
    assert_same_weights(ours, stock)


def test_a_minibatch_of_artificial_rows_only_teaches_nothing(team):
    ours = build(FragmentPPOLearner, team, lr=1e-3)
    before = weights_of(ours)
    ours.update(episodes=sample(team, ours, count=1), num_epochs=1, minibatch_size=1, timesteps={})
    after = weights_of(ours)
    assert all(torch.isfinite(weights).all() for weights in after.values())
    assert any(not torch.equal(after[name], before[name]) for name in after)


def test_coefficients_and_learning_rates_move_the_same_from_update_to_update():
    team = TEAMS["a policy each"]
    settings = {"lr": [[0, 1e-3], [500, 1e-4]], "entropy_coeff": [[0, 0.1], [500, 0.0]]}
    ours, stock = pair(team, **settings, kl_target=0.001)
    moved = set()
    for sampled in (100, 200, 600):
        fragments = sample(team, ours, weights_seq_no=1)
        mine, theirs = update_both(ours, stock, fragments, sampled, num_epochs=2)
        assert_same_metrics(mine, theirs)
        names = ("curr_kl_coeff", "curr_entropy_coeff", "default_optimizer_learning_rate")
        moved.add(tuple(mine[f"first/{name}"] for name in names))
    assert len({kl for kl, _, _ in moved}) == len({rate for _, _, rate in moved}) == 3
    assert len({entropy for _, entropy, _ in moved}) == 3
    assert_same_weights(ours, stock)


def test_a_policy_that_is_not_to_be_trained_stays_as_it_is():
    team = TEAMS["a policy each"]
    ours, stock = pair(team, train=["second"])
    before = weights_of(ours)
    mine, theirs = update_both(ours, stock, sample(team, ours), num_epochs=2)
    assert_same_metrics(mine, theirs)
    assert_same_weights(ours, stock)
    changed = {
        name for name, weights in weights_of(ours).items() if (weights != before[name]).any()
    }
    assert {name.split("/")[0] for name in changed} == {"second"}


class WithoutEmbeddings(ActorCritic):
    def _forward_train(self, batch, **kwargs):
        return self._forward(batch)


def test_networks_whose_critic_starts_from_the_observation_learn_the_same():
    ours, stock = pair(TEAMS["a policy each"], module_class=WithoutEmbeddings, lr=1e-3)
    metrics = update_both(ours, stock, sample(TEAMS["a policy each"], ours), num_epochs=2)
    assert_same_metrics(*metrics)
    assert_same_weights(ours, stock)


def test_episodes_are_learned_from_as_in_rllib():
    team = TEAMS["a policy each"]
    ours, stock = pair(team)
    fragments = sample(team, ours)
    results = [
        learner.update(episodes=episodes_of(fragments), num_epochs=2, **NO_SHUFFLE)
        for learner in (ours, stock)
    ]
    mine, theirs = (dict(metrics_of(result)) for result in results)
    assert mine == pytest.approx(theirs, rel=1e-5, abs=1e-6)
    assert_same_weights(ours, stock)


@pytest.mark.parametrize("first", [PPOTorchLearner, FragmentPPOLearner])
def test_the_state_of_either_learner_goes_on_in_the_other(first):
    team = TEAMS["a policy each"]
    second = FragmentPPOLearner if first is PPOTorchLearner else PPOTorchLearner
    settings = {"lr": 1e-3, "use_kl_loss": False}  # RLlib's state is without the KL coefficient
    start, through = build(first, team, **settings), build(first, team, **settings)
    goal = build(second, team, **settings)
    fragments = sample(team, start)
    for learner in (start, through):
        learn(learner, fragments)
    goal.set_state(start.get_state())
    for learner in (goal, through):
        learn(learner, fragments)
    assert_same_weights(goal, through)


def learn(learner, fragments):
    data = fragments if isinstance(learner, FragmentPPOLearner) else episodes_of(fragments)
    learner.update(episodes=data, num_epochs=2, **NO_SHUFFLE)


def test_optimisers_stay_fused_when_rllibs_state_is_restored():
    team = TEAMS["a policy each"]
    ours, stock = pair(team)
    learn(stock, sample(team, ours))
    ours.set_state(stock.get_state())
    groups = [g for o in ours._named_optimizers.values() for g in o.param_groups]
    assert [(group["fused"], group["foreach"]) for group in groups] == [(True, None)] * 2


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_gradients_that_are_not_finite_are_treated_as_rllib_treats_them(bad, caplog):
    caplog.set_level("WARNING", logger="ray.rllib")  # commands, run in this process, quiet it
    team = TEAMS["a policy each"]
    ours, stock = pair(team, lr=1e-3)
    for learner in (ours, stock):
        spoil(next(learner.module["first"].parameters()), bad)
    fragments = sample(team, ours)
    update_both(ours, stock, fragments, num_epochs=2)
    assert "contain `nan/inf` values" in caplog.text
    assert_same_weights(ours, stock)
    assert all(weights.isfinite().all() for weights in weights_of(ours).values())


def spoil(parameter, value):
    parameter.register_hook(lambda gradient: torch.full_like(gradient, value))
