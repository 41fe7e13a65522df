from __future__ import annotations

import random
import shutil

import gymnasium as gym
import numpy as np
import pytest
import torch
from ray.rllib.connectors.module_to_env import NormalizeAndClipActions
from ray.rllib.core.columns import Columns
from ray.rllib.core.distribution.torch.torch_distribution import (
    TorchCategorical,
    TorchDiagGaussian,
    TorchMultiCategorical,
    TorchSquashedGaussian,
)
from safetensors.torch import load_file, save_file

from empo_rllib.acting.policies import ActingPolicy
from empo_rllib.envs.registry import make_env
from empo_rllib.errors import CheckpointError, ConfigError
from empo_rllib.experiment.run_folder import locate
from empo_rllib.results.load import load_policies
from empo_rllib.rl_modules.actor_critic import ActorCritic
from empo_rllib.seeding import repeatable

pytestmark = pytest.mark.filterwarnings("ignore")  # RLlib warns about its own parts

BOX = gym.spaces.Box(np.array([-3.0, 0.0]), np.array([1.0, 10.0]), dtype=np.float32)


class StubModule:
    """Returns fixed outputs, and remembers how it was asked."""

    def __init__(self, outputs, distribution=None):
        self.outputs = outputs
        self.distribution = distribution
        self.asked = None

    def is_stateful(self):
        return False

    def eval(self):
        return self

    def _forward_inference(self, batch):
        self.asked = ("inference", batch[Columns.OBS])
        return self.outputs

    def _forward_exploration(self, batch, t):
        self.asked = ("exploration", t)
        return self.outputs

    def get_inference_action_dist_cls(self):
        return self.distribution

    get_exploration_action_dist_cls = get_inference_action_dist_cls


def acting(module, space, normalize=True):
    return ActingPolicy(module, space, normalize_actions=normalize, env_steps=1234)


def from_logits(logits, distribution, space, **settings):
    outputs = {Columns.ACTION_DIST_INPUTS: torch.tensor(logits)}
    return acting(StubModule(outputs, distribution), space, **settings)


def rllib_actions_for_env(actions, space, normalize):
    connector = NormalizeAndClipActions(
        None, space, normalize_actions=normalize, clip_actions=False
    )
    batch = {Columns.ACTIONS: {("episode",): list(actions)}}
    batch = connector(rl_module=None, batch=batch, episodes=[])
    return batch.get(Columns.ACTIONS_FOR_ENV, batch[Columns.ACTIONS])[("episode",)]


@pytest.mark.parametrize("normalize", [True, False])
def test_box_actions_are_brought_into_the_space_as_rllib_does(normalize):
    actions = np.array([[0.0, 0.0], [0.5, -0.5], [4.0, -7.0], [-1.0, 1.0]], np.float32)
    policy = acting(StubModule({Columns.ACTIONS: torch.tensor(actions)}), BOX, normalize)

    ours = policy.act([np.zeros(1)] * 4, greedy=True)

    expected = rllib_actions_for_env(actions, BOX, normalize)
    np.testing.assert_array_equal(np.array(ours), np.array(expected))


def test_greedy_discrete_action_is_the_most_likely():
    policy = from_logits(
        [[0.0, 3.0, 1.0], [2.0, 0.0, 0.0]], TorchCategorical, gym.spaces.Discrete(3)
    )

    assert policy.act([0, 1], greedy=True) == [1, 0]


def test_greedy_multi_discrete_action_is_the_most_likely_of_each_part():
    space = gym.spaces.MultiDiscrete([2, 3])
    distribution = TorchMultiCategorical.get_partial_dist_cls(input_lens=[2, 3])
    policy = from_logits([[0.0, 1.0, 5.0, 0.0, 0.0]], distribution, space)

    (action,) = policy.act([0], greedy=True)

    assert np.asarray(action).tolist() == [1, 0]


def test_greedy_gaussian_action_is_the_unsquashed_mean():
    policy = from_logits([[0.5, -0.5, 0.0, 0.0]], TorchDiagGaussian, BOX)

    np.testing.assert_allclose(policy.act([0], greedy=True), [[0.0, 2.5]])


def test_greedy_squashed_gaussian_action_is_the_tanh_of_the_mean():
    space = gym.spaces.Box(-1.0, 1.0, (2,))
    policy = from_logits([[0.5, -2.0, 0.0, 0.0]], TorchSquashedGaussian, space)

    np.testing.assert_allclose(policy.act([0], greedy=True), np.tanh([[0.5, -2.0]]), rtol=1e-6)


def test_sampled_actions_follow_the_probabilities_and_repeat_with_the_seed():
    probabilities = np.array([0.1, 0.6, 0.3], np.float32)
    logits = np.tile(np.log(probabilities), (5000, 1))
    policy = from_logits(logits, TorchCategorical, gym.spaces.Discrete(3))

    with repeatable(1):
        first = policy.act([0] * 5000, greedy=False)
    with repeatable(1):
        again = policy.act([0] * 5000, greedy=False)
    with repeatable(2):
        other = policy.act([0] * 5000, greedy=False)

    assert first == again
    assert first != other
    np.testing.assert_allclose(np.bincount(first) / 5000, probabilities, atol=0.03)


def test_actions_sampled_in_kernels_follow_the_networks_probabilities(monkeypatch):
    torch.manual_seed(0)
    space, actions = gym.spaces.Discrete(3), gym.spaces.MultiDiscrete([3, 4])
    sizes = {"hidden_sizes": [8], "conv_filters": None, "shared_trunk": False}
    module = ActorCritic(observation_space=space, action_space=actions, model_config=sizes)
    torch.nn.init.normal_(module.actor.weight)
    (logits,) = module._forward_inference({Columns.OBS: torch.tensor([1])})["action_dist_inputs"]
    policy = acting(module, actions)
    monkeypatch.setitem(policy._passes, False, None)  # torch is not asked

    seen = np.ones(20_000, np.int64)
    with repeatable(1):
        first = policy.choose(seen, greedy=False)
    with repeatable(1):
        again = policy.choose(seen, greedy=False)

    np.testing.assert_array_equal(first, again)
    expected = torch.outer(logits[:3].softmax(0), logits[3:].softmax(0)).detach().numpy()
    counted = np.zeros((3, 4))
    np.add.at(counted, tuple(first.T), 1)
    deviation = np.sqrt(expected * (1 - expected) / len(seen))
    assert (np.abs(counted / len(seen) - expected) < 4 * deviation).all()


def test_sampling_explores_as_at_the_checkpoint_and_greedy_does_not():
    module = StubModule({Columns.ACTIONS: torch.tensor([0])})
    policy = acting(module, gym.spaces.Discrete(2))

    policy.act([0], greedy=False)
    assert module.asked == ("exploration", 1234)
    policy.act([0], greedy=True)
    assert module.asked[0] == "inference"


def test_observations_are_batched_in_their_structure():
    module = StubModule({Columns.ACTIONS: torch.tensor([0, 1])})
    seen = [{"image": np.full((2, 2), i, np.uint8), "direction": i} for i in range(2)]

    acting(module, gym.spaces.Discrete(2)).act(seen, greedy=True)

    batch = module.asked[1]
    assert batch["direction"].tolist() == [0, 1]
    assert batch["image"].shape == (2, 2, 2)
    assert batch["image"].dtype == torch.uint8


def test_a_module_that_returns_no_actions_is_refused():
    with pytest.raises(ConfigError, match="StubModule must return 'actions'"):
        acting(StubModule({"embeddings": 0}), BOX).act([0], greedy=True)


def test_repeatable_leaves_the_generators_and_threads_as_they_were():
    before = (random.getstate(), np.random.get_state()[1].tolist(), torch.get_num_threads())
    torch_state = torch.random.get_rng_state()

    with repeatable(7):
        assert torch.get_num_threads() == 1
        random.random(), np.random.rand(), torch.rand(1)

    after = (random.getstate(), np.random.get_state()[1].tolist(), torch.get_num_threads())
    assert after == before
    assert torch.equal(torch.random.get_rng_state(), torch_state)


@pytest.mark.parametrize("algorithm", ["PPO", "APPO", "IMPALA", "DQN", "SAC"])
def test_every_algorithms_policies_are_restored_whole(tmp_path, write_run, algorithm):
    trained = locate(write_run(tmp_path / "run", algorithm=algorithm))

    policies = load_policies(trained)

    assert policies.of_agent == {"agent_0": "agent_0", "agent_1": "agent_1"}
    for name, policy in policies.by_name.items():
        saved = load_file(trained.checkpoint / "policies" / f"{name}.safetensors")
        restored = policy.module.state_dict()
        assert restored.keys() == saved.keys()
        assert all(torch.equal(restored[key], saved[key]) for key in saved)


@pytest.mark.parametrize("algorithm", ["PPO", "SAC"])
def test_continuous_actions_are_of_the_environments_space(tmp_path, write_run, algorithm):
    run = write_run(tmp_path / "run", env={"id": "Pendulum-v1"}, algorithm=algorithm)
    policies = load_policies(locate(run))
    space = gym.spaces.Box(-2.0, 2.0, (1,))
    seen = {"agent_0": np.array([1.0, 0.0, 8.0], np.float32)}

    for greedy in (True, False):
        with repeatable(0):
            (actions,) = policies.act([seen], greedy)
        assert space.contains(actions["agent_0"])


def test_sampled_dqn_takes_random_actions_as_often_as_its_schedule_says(tmp_path, write_run):
    seen = {"agent_0": np.zeros(4, np.float32)}
    shares = []
    for env_steps in (0, 5000, 20_000):  # epsilon goes from 1 to 0.05 in 10,000 steps
        run = write_run(
            tmp_path / str(env_steps), {"id": "CartPole-v1"}, "DQN", env_steps=env_steps
        )
        policies = load_policies(locate(run))
        (best,) = policies.act([seen], greedy=True)
        with repeatable(0):
            drawn = policies.act([seen] * 2000, greedy=False)
        shares.append(np.mean([actions != best for actions in drawn]))

    np.testing.assert_allclose(shares, [0.5, 0.2625, 0.025], atol=0.04)


def test_a_shared_policy_acts_for_all_agents_in_one_batch(tmp_path, write_run):
    policies = load_policies(locate(write_run(tmp_path / "run", policies="shared")))
    space = make_env("MultiGrid-Empty-5x5-v0").observation_space("agent_0")
    seen = [{agent: space.sample() for agent in policies.of_agent} for _ in range(3)]

    actions = policies.act(seen, greedy=True)

    alone = [
        {agent: policies.act([{agent: o}], greedy=True)[0][agent] for agent, o in episode.items()}
        for episode in seen
    ]
    assert actions == alone
    assert [list(a) for a in actions] == [list(s) for s in seen]


def test_weights_of_another_network_are_refused(tmp_path, write_run):
    run = write_run(tmp_path / "run")
    trained = locate(run)
    file = trained.checkpoint / "policies" / "agent_1.safetensors"
    weights = load_file(file)

    missing = dict(weights)
    missing.pop("actor.bias")
    wrong_shape = {**weights, "actor.bias": torch.zeros(3)}
    unknown = {**weights, "another.bias": torch.zeros(3)}
    for changed in (missing, wrong_shape, unknown):
        save_file(changed, file)
        with pytest.raises(CheckpointError, match=r"'agent_1'.* are not of the network"):
            load_policies(trained)


def test_a_checkpoint_that_training_removes_meanwhile_gives_way_to_the_newest(
    run_folder, tmp_path, caplog
):
    trial = shutil.copytree(run_folder, tmp_path / "run") / "trial_00000"
    trained = locate(trial)
    trained.checkpoint.rename(trial / "checkpoint_000002")
    assert load_policies(trained).by_name
    (warning,) = caplog.messages
    assert "Using checkpoint_000002" in warning
    shutil.rmtree(trial / "checkpoint_000002")
    with pytest.raises(CheckpointError, match="removed meanwhile, and there is no other"):
        load_policies(trained)
