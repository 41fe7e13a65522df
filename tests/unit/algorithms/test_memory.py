"""`model.memory`: where it is refused, and which networks train on the fast path."""

from __future__ import annotations

import pytest

from empo_rllib.algorithms.builder import build_algorithm_config
from empo_rllib.algorithms.networks import build_rl_modules, rl_module_args, why_torch
from empo_rllib.algorithms.setup import set_up_trial
from empo_rllib.errors import ConfigError

OWN = {"class": "recurrent_net:Recurrent"}


@pytest.mark.parametrize("algorithm", ["DQN", "SAC", "IMPALA", "APPO"])
def test_an_algorithm_without_memories_refuses_one(experiment, algorithm):
    config = experiment(algorithm=algorithm, model={"memory": "lstm"})
    with pytest.raises(
        ConfigError, match=f"'lstm' is for PPO, and algorithm.name is '{algorithm}'"
    ):
        rl_module_args(config, {})


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ({"memory_size": 32}, "model.memory_size = 32 has no effect: model.memory is none"),
        ({"max_seq_len": 5}, "model.max_seq_len = 5 has no effect: model.memory is none"),
        ({"memory_size": 32, **OWN}, "model.memory_size = 32 has no effect"),
        ({"memory": "gru", **OWN}, "model.class = 'recurrent_net:Recurrent' has a memory"),
    ],
)
def test_a_setting_of_no_memory_is_refused(experiment, model, told):
    with pytest.raises(ConfigError, match=told):
        rl_module_args(experiment(model=model), {})


@pytest.mark.parametrize("model", [{"memory": "gru"}, {**OWN, "max_seq_len": 5}])
@pytest.mark.parametrize("sampler", ["auto", "rllib"])
def test_networks_with_a_memory_take_the_fast_path_in_torch(experiment, model, sampler):
    setup = set_up_trial(experiment(model=model, resources={"sampler": sampler}))
    assert setup.sampler.name == ("python" if sampler == "auto" else "rllib")
    algorithm = build_algorithm_config(setup)
    modules = build_rl_modules(algorithm, setup.policies)
    wanted = "the network has a memory" if sampler == "auto" else "RLlib's own learner"
    assert set(why_torch(algorithm, modules).values()) == {wanted}
    lengths = {module.model_config["max_seq_len"] for module in modules.values()}
    assert lengths == {model.get("max_seq_len", 20)}
