"""Critics that see more than their agents, against plain loops over time in double precision."""

from __future__ import annotations

import copy
import dataclasses
import functools

import numpy as np
import pytest
import torch
from fragments import STATE, Team, random_fragment
from learners import TEAMS, build, metrics_of, weights_of
from torch import nn

from empo_rllib.envs.adapting import central_critic_space
from empo_rllib.learning.ppo.learner import FragmentPPOLearner
from empo_rllib.learning.rows import rows_of
from empo_rllib.rl_modules.value_norm import DECAY, ValueNorm

GAMMA, LAMBDA = 0.97, 0.9
KINDS = {
    "all agents": {"critic": "central"},
    "state": {"critic": "state"},
    "all agents, normalised": {"critic": "central", "value_norm": True},
    "own, normalised": {"critic": "own", "value_norm": True},
}


@pytest.fixture(params=TEAMS)
def team(request):
    return TEAMS[request.param]


def learner_of(team: Team, critic: str, value_norm: bool = False, **settings):
    team = team.with_critic(critic)
    extra = {policy.policy: {"value_norm": value_norm} for policy in team.inputs}
    for policy in team.inputs if critic != "own" else ():
        everybody = [
            next(g.observation_space for g in team.groups if column in g.columns)
            for column in range(team.num_agents)
        ]
        seen = STATE if critic == "state" else everybody
        several = len(policy.columns) > 1
        space = central_critic_space(seen, team.num_agents, with_id=several)
        extra[policy.policy]["critic_space"] = space
    return team, build(FragmentPPOLearner, team, model_config=extra, **settings)


def sample(team, learner, count=2, **settings):
    modules = learner.module._rl_modules
    return [random_fragment(team, modules, seed=seed, **settings) for seed in range(count)]


class Plain:
    """What a policy learns from in a fragment, agent by agent and step by step.

    A moment is that of an observation; `over` is the step with which the episode ended where the
    observation is a final one.
    """

    def __init__(self, fragment, policy, module):
        self.fragment, self.policy, self.module = fragment, policy, module

    def trajectories(self):
        """Yields env, column, its steps, the moment after them and the step that ended all."""
        f = self.fragment
        num_steps, num_envs = f.episode_over.shape
        for n in range(num_envs):
            for column in self.policy.columns:
                steps = []
                for t in range(num_steps):
                    if f.present[t, n, column]:
                        steps.append(t)
                    ended = f.terminated[t, n, column] or f.truncated[t, n, column]
                    if ended or f.episode_over[t, n]:
                        if steps:
                            over = t if f.episode_over[t, n] else None
                            yield n, column, steps, t + 1, over, f.terminated[t, n, column]
                        steps = []
                if steps and not f.present_next[n, column]:  # waits: what came of it is not known
                    last = steps.pop()
                    if steps:
                        yield n, column, steps, last, None, False
                elif steps:
                    yield n, column, steps, num_steps, None, False

    def estimates(self):
        """Returns (env, step, column) to advantage, not standardised, and value target."""
        found = {}
        for n, column, steps, after, over, terminated in self.trajectories():
            values = [self.value(n, t, column) for t in steps]
            values.append(0.0 if terminated else self.value(n, after, column, over))
            advantage = 0.0
            for i in reversed(range(len(steps))):
                reward = float(self.fragment.rewards[steps[i], n, column])
                error = reward + GAMMA * values[i + 1] - values[i]
                advantage = error + GAMMA * LAMBDA * advantage
                found[n, steps[i], column] = advantage, advantage + values[i]
        return found

    def value(self, n, moment, column, over=None):
        with torch.no_grad():
            return values_of(self.module, [self.read(n, moment, column, over)]).item()

    def read(self, n, moment, column, over=None):
        """Returns what the critic reads, a batch of one."""
        f, policy = self.fragment, self.policy
        if over is None:
            there = f.there[moment, n].copy()
        else:
            m = f.final_index.tolist().index([over, n])
            there = f.there[over, n] & ~f.terminated[over, n]
        there[column] = True

        def leaf_of(array, final, *place):
            return array[(moment, n, *place)] if over is None else final[(m, *place)]

        def seen_by(agent):
            number = next(i for i, g in enumerate(f.groups) if agent in g.columns)
            group = f.groups[number]
            place = group.columns.index(agent)
            pairs = zip(f.observations[number], f.final_observations[number], strict=True)
            leaves = [leaf_of(array, final, place) for array, final in pairs]
            if not there[agent]:
                leaves = group.leaves.blank()
            return group.leaves.unflatten(
                [torch.as_tensor(np.array(leaf))[None] for leaf in leaves]
            )

        one_hot = torch.eye(policy.num_agents)[None, column]
        if policy.critic == "own":
            seen = seen_by(column)
            if not policy.with_agent_id:
                return seen
            parts = seen if isinstance(seen, dict) else {"observation": seen}
            return {**parts, "agent_id": one_hot}
        several = {"agent_id": one_hot} if len(policy.columns) > 1 else {}
        who = {"there": torch.from_numpy(there)[None], **several}
        if policy.critic == "state":
            state = leaf_of(f.state[0], f.final_state[0])
            return {"state": torch.from_numpy(state.copy())[None], **who}
        return {"observations": tuple(map(seen_by, range(policy.num_agents))), **who}


def batch_of(observations):
    """Stacks batches of one."""
    first = observations[0]
    if isinstance(first, dict):
        return {key: batch_of([one[key] for one in observations]) for key in first}
    if isinstance(first, tuple):
        return tuple(map(batch_of, zip(*observations, strict=True)))
    return torch.cat(observations)


def values_of(module, inputs):
    """Asks the critic, which is shown every observation of every row."""
    read = batch_of(inputs)
    if isinstance(read, dict) and "observations" in read:
        number, num_agents = read["there"].shape
        read["position"] = torch.arange(number)[:, None].expand(number, num_agents)
    return module.compute_values({"obs": read})


def steps_of(fragment, policy):
    """Returns (env, step, column) of each row that is a step, in the batch's order."""
    rows = rows_of(fragment, policy)
    steps, envs = np.divmod(rows.step[rows.is_step], fragment.rewards.shape[1])
    columns = np.array(policy.columns)[rows.agent[rows.is_step]]
    return list(zip(envs.tolist(), steps.tolist(), columns.tolist(), strict=True))


@pytest.mark.parametrize("kind", ["all agents", "state"])
@pytest.mark.parametrize("waiting", [0.0, 0.4])
def test_advantages_and_value_targets_are_those_of_a_loop_over_time(team, kind, waiting):
    team, learner = learner_of(team, **KINDS[kind])
    (fragment,) = sample(team, learner, count=1, waiting=waiting)
    for policy in team.inputs:
        batch = learner._build_batch([fragment], policy.policy)
        plain = Plain(fragment, policy, learner.module[policy.policy].unwrapped()).estimates()
        keys = steps_of(fragment, policy)
        assert sorted(keys) == sorted(plain)
        advantages, targets = np.array([plain[key] for key in keys]).T
        np.testing.assert_allclose(batch.value_targets[batch.is_step], targets, atol=1e-5)
        found = batch.advantages[batch.is_step].numpy()
        # They are standardised with the artificial rows, which are in no loss.
        scale, shift = np.polyfit(advantages, found, 1)
        assert scale > 0
        np.testing.assert_allclose(found, scale * advantages + shift, atol=1e-5)


def plain_gradients(learner, fragment, policy, value_norm):
    """Returns loss and gradients of all steps at once, of the formulas of paper and docs."""
    module = copy.deepcopy(learner.module[policy.policy].unwrapped())
    config, keys = learner.config, steps_of(fragment, policy)
    plain = Plain(fragment, policy, module)
    targets = np.array([target for _, target in map(plain.estimates().get, keys)])
    advantages = learner._build_batch([fragment], policy.policy).advantages
    is_step = rows_of(fragment, policy).is_step
    mean, deviation = 0.0, 1.0
    if value_norm:
        mean, deviation = targets.mean(), max(targets.std(), 1e-2)
        with torch.no_grad():
            module.critic.weight.div_(deviation)
            module.critic.bias.sub_(mean).div_(deviation)
            module.value_norm.mean.fill_(mean)
            module.value_norm.variance.fill_(deviation**2)
    own = Plain(fragment, dataclasses.replace(policy, critic="own"), module)
    seen = batch_of([own.read(n, t, column) for n, t, column in keys])
    logits = module.forward_train({"obs": seen})["action_dist_inputs"].double()
    read = [plain.read(n, t, column) for n, t, column in keys]
    values = (values_of(module, read).double() - mean) / deviation
    number = team_number(fragment, policy)
    acted = [
        (
            fragment.actions[policy.group][t, n, policy.in_group[policy.columns.index(column)]],
            fragment.action_logp[t, n, column],
            fragment.action_dist_inputs[number][t, n, policy.columns.index(column)],
        )
        for n, t, column in keys
    ]
    actions, logp, before = (torch.as_tensor(np.stack(part)) for part in zip(*acted, strict=True))
    dist = module.get_train_action_dist_cls().from_logits(logits)
    ratio = (dist.logp(actions) - logp.double()).exp()
    advantage = advantages[torch.from_numpy(is_step)].double()
    clipped = ratio.clamp(1 - config.clip_param, 1 + config.clip_param)
    error = (values - (torch.from_numpy(targets) - mean) / deviation) ** 2
    old = module.get_exploration_action_dist_cls().from_logits(before.double())
    loss = -torch.min(advantage * ratio, advantage * clipped)
    loss = loss + config.vf_loss_coeff * error.clamp(max=config.vf_clip_param)
    loss = loss - config.entropy_coeff * dist.entropy() + config.kl_coeff * old.kl(dist)
    loss.mean().backward()
    gradients = {name: p.grad for name, p in module.named_parameters() if p.grad is not None}
    return loss.mean().item(), gradients


def team_number(fragment, policy):
    return [one.policy for one in fragment.policies].index(policy.policy)


@pytest.mark.parametrize("kind", KINDS)
def test_losses_and_gradients_are_those_of_the_formulas(team, kind):
    team, learner = learner_of(team, **KINDS[kind], entropy_coeff=0.03, use_kl_loss=True)
    (fragment,) = sample(team, learner, count=1)
    expected = {
        policy.policy: plain_gradients(learner, fragment, policy, "value_norm" in KINDS[kind])
        for policy in team.inputs
    }
    found = {}
    for (policy, _), optimizer in zip(expected.items(), optimizers(learner), strict=True):
        module = learner.module[policy].unwrapped()
        optimizer.step = functools.partial(keep_gradients, found, policy, module)
    settings = {"num_epochs": 1, "minibatch_size": None, "shuffle_batch_per_epoch": False}
    results = dict(metrics_of(learner.update(episodes=[fragment], **settings)))
    for policy, (loss, gradients) in expected.items():
        assert results[f"{policy}/total_loss"] == pytest.approx(loss, abs=1e-5)
        assert found[policy].keys() == gradients.keys()
        for name, gradient in gradients.items():
            torch.testing.assert_close(found[policy][name], gradient, rtol=1e-4, atol=1e-5)


def optimizers(learner):
    return learner._named_optimizers.values()


def keep_gradients(found, policy, module):
    found[policy] = {
        name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None
    }


def train(learner, fragments, epochs=2):
    learner.update(
        episodes=fragments, num_epochs=epochs, minibatch_size=16, shuffle_batch_per_epoch=False
    )
    return weights_of(learner)


@pytest.mark.parametrize("kind", ["all agents, normalised", "state"])
def test_looking_for_equal_inputs_changes_no_result(kind):
    team = TEAMS["several kinds of actions"]
    trained = []
    for deduplicate in (True, False):
        with_critic, learner = learner_of(team, **KINDS[kind], deduplicate=deduplicate, lr=1e-3)
        trained.append(train(learner, sample(with_critic, learner, kinds=2)))
    for name, weights in trained[0].items():
        torch.testing.assert_close(weights, trained[1][name], rtol=1e-4, atol=1e-5)


def test_a_frozen_policy_is_seen_by_the_critics_of_others_and_stays_as_it_is():
    team, learner = learner_of(TEAMS["a policy each"], "central", True, train=["second"], lr=1e-3)
    before = {k: v.clone() for k, v in weights_of(learner).items()}
    after = train(learner, sample(team, learner))
    changed = {name for name, weights in after.items() if (weights != before[name]).any()}
    assert {name.split("/")[0] for name in changed} == {"second"}
    assert "second/critic_encoder.layers.1.weight" in changed


def test_the_running_deviation_is_in_the_learners_state():
    settings = {"lr": 1e-3, "use_kl_loss": False}  # RLlib's state is without the KL coefficient
    (team, through), (_, restored) = (
        learner_of(TEAMS["one policy for all"], "central", True, **settings) for _ in range(2)
    )
    fragments = sample(team, through)
    train(through, fragments)
    restored.set_state(through.get_state())
    first, second = train(through, fragments), train(restored, fragments)
    assert all(torch.equal(first[name], second[name]) for name in first)
    weights = [one.module["all"].value_norm.weight.item() for one in (through, restored)]
    assert weights == pytest.approx([1 + DECAY] * 2)


def test_the_statistics_are_the_weighted_ones_of_all_targets_and_move_no_estimate():
    torch.manual_seed(0)
    norm, head, features = ValueNorm(), nn.Linear(3, 1), torch.randn(20, 3)
    before = norm.denormalize(head(features))
    batches = [torch.randn(50) * spread + 7 * spread for spread in (1.0, 3.0, 0.5)]
    for batch in batches:
        norm.update(batch, head)
    weights = DECAY ** np.array([2, 1, 0])
    means = np.array([b.double().mean() for b in batches])
    mean = np.average(means, weights=weights)
    around = [((b.double() - mean) ** 2).mean() for b in batches]
    assert norm.mean.item() == pytest.approx(mean, rel=1e-5)
    assert norm.variance.item() == pytest.approx(np.average(around, weights=weights), rel=1e-5)
    torch.testing.assert_close(norm.denormalize(head(features)), before, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(norm.normalize(norm.denormalize(before)), before)
