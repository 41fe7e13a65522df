"""The plain RLlib scripts of `examples/` sample and learn on the fast path, without Ray."""

from __future__ import annotations

from importlib import import_module

import pytest
import torch
from ray.rllib.utils.metrics import ALL_MODULES

import empo_rllib
from empo_rllib.learning.ppo.learner import FragmentPPOLearner
from empo_rllib.sampling.accelerated import AcceleratedEnvRunner
from empo_rllib.sampling.fragment import Fragment

pytestmark = pytest.mark.filterwarnings("ignore")  # RLlib warns about its own parts


def weights(learner, policies):
    """All parameters of each policy in one vector."""
    return {
        name: torch.nn.utils.parameters_to_vector(learner.module[name].parameters()).detach()
        for name in policies
    }


@pytest.mark.parametrize("script", ["cartpole", "pettingzoo", "rl_module"])
def test_a_script_samples_fragments_and_learns_from_them(script):
    config = import_module(f"examples.accelerate.{script}").build_config()
    config.training(minibatch_size=16, num_epochs=1)
    fast = empo_rllib.accelerate(config)
    runner = AcceleratedEnvRunner(config=fast, worker_index=0)
    samples = runner.sample(num_timesteps=32)
    spec = fast.get_multi_rl_module_spec(spaces=runner.get_spaces(), inference_only=False)
    learner = FragmentPPOLearner(config=fast, module_spec=spec)
    learner.build()
    before = weights(learner, fast.policies)
    learner.update(episodes=samples, minibatch_size=16, num_epochs=1)
    runner.stop()

    assert [type(sample) for sample in samples] == [Fragment]
    policies = {policy.policy for policy in samples[0].policies}
    assert policies == set(fast.policies) == set(learner.metrics.reduce()) - {ALL_MODULES}
    after = weights(learner, fast.policies)
    assert all(not torch.equal(after[policy], before[policy]) for policy in policies)
