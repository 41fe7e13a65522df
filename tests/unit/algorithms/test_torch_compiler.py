"""What a trial does with a policy that kernels train needs no part of torch's compiler."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from empo_rllib.algorithms.torch_compiler import leave_out_torch_compiler

TRAINED = """
import sys
from empo_rllib.algorithms.builder import build_algorithm_config
from empo_rllib.algorithms.setup import set_up_trial
from empo_rllib.algorithms.torch_compiler import leave_out_torch_compiler
from empo_rllib.config.load import load_config
from ray.rllib.utils.debug.deterministic import update_global_seed_if_necessary

leave_out_torch_compiler()
config = build_algorithm_config(set_up_trial(load_config("tune_configs/smoke.yaml", [])))
update_global_seed_if_necessary("torch", config.seed)  # as RLlib's Algorithm does
runner = config.env_runner_cls(config=config)
learner = config.build_learner(spaces=runner.get_spaces())
learner.build()
before = learner.get_state()
learner.update(
    episodes=runner.sample(num_timesteps=100),
    timesteps={"num_env_steps_sampled_lifetime": 100},
    num_epochs=1,
    minibatch_size=50,
)
learner.set_state(before)
print([name for name in ("torch._inductor", "torch._dynamo", "sympy") if name in sys.modules])
"""


def test_training_in_kernels_does_not_load_it():
    """To load it takes as long as to load the rest of torch."""
    done = subprocess.run([sys.executable, "-c", TRAINED], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1:] == ["[]"], done.stderr


@pytest.fixture
def deterministic(monkeypatch):
    monkeypatch.setattr(torch, "use_deterministic_algorithms", torch.use_deterministic_algorithms)
    before = torch.are_deterministic_algorithms_enabled()
    leave_out_torch_compiler()
    yield
    torch.use_deterministic_algorithms(before)


def test_algorithms_are_deterministic_as_before(deterministic):
    torch.use_deterministic_algorithms(True)
    assert torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    assert torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(False)
    assert not torch.are_deterministic_algorithms_enabled()


def test_optimisers_do_what_they_did(deterministic):
    weights = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    optimizer = torch.optim.SGD([weights], lr=0.5)
    weights.grad = torch.tensor([2.0, 4.0])
    optimizer.step()
    assert weights.tolist() == [0.0, 0.0]
    optimizer.zero_grad()
    assert weights.grad is None
    state = optimizer.state_dict()
    state["param_groups"][0]["lr"] = 0.25
    optimizer.load_state_dict(state)
    assert optimizer.param_groups[0]["lr"] == 0.25
