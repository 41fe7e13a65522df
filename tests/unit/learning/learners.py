"""Learners of both kinds with the same networks, to be compared."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from fragments import VECTOR, VIEW, Team
from gymnasium import spaces
from ray.rllib.algorithms.ppo.ppo import PPOConfig
from ray.rllib.algorithms.ppo.torch.ppo_torch_learner import PPOTorchLearner
from ray.rllib.core.rl_module.multi_rl_module import MultiRLModuleSpec
from ray.rllib.core.rl_module.rl_module import RLModule, RLModuleSpec

from empo_rllib.learning.ppo.learner import FragmentPPOLearner
from empo_rllib.rl_modules.actor_critic import ActorCritic

DISCRETE, CHOICES, BOX = spaces.Discrete(5), spaces.MultiDiscrete([3, 2]), spaces.Box(-1, 1, (2,))

TEAMS = {
    "a policy each": Team(
        {"first": [0], "second": [1]}, {"first": (VIEW, DISCRETE), "second": (VIEW, DISCRETE)}
    ),
    "one policy for all": Team({"all": [0, 1, 2]}, {"all": (VIEW, DISCRETE)}),
    "one policy that knows for whom": Team(
        {"all": [0, 1, 2]}, {"all": (VIEW, DISCRETE)}, with_agent_id=["all"]
    ),
    "several kinds of actions": Team(
        {"walker": [0, 2], "arm": [1, 3], "panel": [4]},
        {"walker": (VIEW, DISCRETE), "arm": (VECTOR, BOX), "panel": (VECTOR, CHOICES)},
        with_agent_id=["arm"],
    ),
}


def build(
    kind: type[PPOTorchLearner],
    team: Team,
    module_class: type[RLModule] = ActorCritic,
    shared_trunk: bool = False,
    train: list[str] | None = None,
    deduplicate: bool = True,
    kernels: bool = True,
    log_gradients: bool = False,
    overrides: dict[str, dict[str, Any]] | None = None,
    model_config: dict[str, dict[str, Any]] | None = None,
    **training: Any,
) -> PPOTorchLearner:
    """Returns a learner whose networks are the same for the same arguments."""
    config = PPOConfig().multi_agent(
        policies={policy.policy for policy in team.inputs},
        policy_mapping_fn=lambda agent, episode, **kwargs: team.policy_of[agent],
        policies_to_train=train,
    )
    config.training(**{"gamma": 0.97, "lambda_": 0.9, **training})
    config.learners(learner_config_dict={"deduplicate": deduplicate, "kernels": kernels})
    config.reporting(log_gradients=log_gradients)
    config.rl_module(algorithm_config_overrides_per_module=overrides or {})
    sizes = {"hidden_sizes": [16, 8], "conv_filters": None, "shared_trunk": shared_trunk}
    spec = MultiRLModuleSpec(
        rl_module_specs={
            policy.policy: RLModuleSpec(
                module_class=module_class,
                observation_space=team.input_space(policy.policy),
                action_space=team.action_space(policy.policy),
                model_config=sizes | (model_config or {}).get(policy.policy, {}),
            )
            for policy in team.inputs
        }
    )
    torch.manual_seed(1)
    learner = kind(config=config, module_spec=spec)
    learner.build()
    return learner


def pair(team: Team, **settings: Any) -> tuple[FragmentPPOLearner, PPOTorchLearner]:
    """Returns the learner of the fast path and RLlib's own, with the same networks."""
    ours, stock = (
        build(FragmentPPOLearner, team, **settings),
        build(PPOTorchLearner, team, **settings),
    )
    stock.module.set_state(ours.module.get_state())
    return ours, stock


def metrics_of(results: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """Yields the names and numbers of a learner's results, those of its connectors left out."""
    for key, value in results.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            yield from metrics_of(value, f"{name}/")
        elif "learner_connector" not in name:
            yield name, float(value.peek())


def weights_of(learner: PPOTorchLearner) -> dict[str, torch.Tensor]:
    return {
        f"{policy}/{name}": parameter.detach().clone()
        for policy, module in learner.module._rl_modules.items()
        for name, parameter in module.named_parameters()
    }
