"""Operations of networks, counted by hand."""

from __future__ import annotations

import pytest

from empo_rllib.algorithms.builder import build_algorithm_config
from empo_rllib.algorithms.networks import build_rl_modules
from empo_rllib.algorithms.setup import set_up_trial
from empo_rllib.config.load import load_config
from empo_rllib.profiling.arithmetic import operations, speed

OBSERVATION, HIDDEN, ACTIONS = 7 * 7 * 21 + 4, 64, 7


@pytest.mark.parametrize(
    ("critic", "reads"), [("own", OBSERVATION), ("central", 2 * OBSERVATION + 2 + 2)]
)
def test_an_observation_costs_what_its_layers_do(critic, reads):
    config = load_config("tune_configs/ppo.yaml", [f"model.critic={critic}"])
    setup = set_up_trial(config)
    modules = build_rl_modules(build_algorithm_config(setup), setup.policies)
    acting, training = operations(modules["agent_0"])
    body = HIDDEN * HIDDEN
    assert acting == 2 * (OBSERVATION * HIDDEN + body + HIDDEN * ACTIONS)
    assert training == pytest.approx(acting + 2 * (reads * HIDDEN + body + HIDDEN), rel=0.01)


def test_a_memory_counts_too():
    config = load_config("tune_configs/ppo.yaml", ["model.memory=gru", "model.memory_size=32"])
    setup = set_up_trial(config)
    modules = build_rl_modules(build_algorithm_config(setup), setup.policies)
    acting, _ = operations(modules["agent_0"])
    gates = 3 * 32 * (HIDDEN + 32)
    body = OBSERVATION * HIDDEN + HIDDEN * HIDDEN + gates + 32 * ACTIONS
    assert acting == 2 * body


def test_a_core_multiplies_a_positive_number_of_times():
    assert speed() > 1e8
