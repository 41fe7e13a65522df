"""Notices that training has broken a policy: its loss or its weights are NaN or infinite.

RLlib (2.60) sets gradients that are not finite to zero and continues. A loss may then stay NaN
beside weights that are finite and no longer improve, so both are checked.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from empo_rllib.errors import TrialError

if TYPE_CHECKING:
    from ray.rllib.algorithms.algorithm import Algorithm
    from ray.rllib.core.learner.learner import Learner

_ADVICE = (
    "Start a new run with a lower algorithm.params.lr, with algorithm.params.grad_clip, or with "
    "smaller rewards."
)


def check_training(
    result: Mapping[str, Any], algorithm: Algorithm, iteration: int, saved_iteration: int
) -> None:
    """Checks the losses and weights of all policies after a training iteration.

    Args:
        result: What RLlib's `Algorithm.train` returned.
        algorithm: What was trained.
        iteration: The number of this iteration.
        saved_iteration: That of the last checkpoint; 0 if there is none.

    Raises:
        TrialError: one of them is NaN or infinite.
    """
    found = [*broken_losses(result), *broken_weights(algorithm)]
    if found:
        saved = f"is from iteration {saved_iteration}" if saved_iteration else "does not exist yet"
        raise TrialError(
            f"training iteration {iteration}: {'; '.join(found)}. The last checkpoint {saved}. "
            f"{_ADVICE}"
        )


def broken_losses(result: Mapping[str, Any]) -> list[str]:
    """Returns a phrase about each policy that learned with a loss that is NaN or infinite.

    RLlib reports NaN for a loss that was not measured: of a policy that did not learn in this
    iteration, for want of agents or before `num_steps_sampled_before_learning_starts`. Statistics
    other than losses may be NaN rightly, such as the explained variance of equal returns.
    """
    phrases = []
    for policy, stats in sorted(result.get("learners", {}).items()):
        has_learned = stats.get("num_module_steps_trained", 0) > 0  # NaN is not
        if policy == "__all_modules__" or not has_learned:
            continue
        losses = {name: float(value) for name, value in stats.items() if name.endswith("loss")}
        wrong = [f"{name} = {x}" for name, x in sorted(losses.items()) if not math.isfinite(x)]
        if wrong:
            phrases.append(f"policy {policy} learned with {', '.join(wrong)}")
    return phrases


def broken_weights(algorithm: Algorithm) -> list[str]:
    """Returns a phrase about each policy with parameters that are NaN or infinite."""
    found: dict[str, list[str]] = {}
    for answer in algorithm.learner_group.foreach_learner(_broken_parameters).ignore_errors():
        found |= answer.get()
    return [
        f"{len(names)} parameters of policy {policy} are not finite ({names[0]})"
        for policy, names in sorted(found.items())
    ]


def _broken_parameters(learner: Learner) -> dict[str, list[str]]:
    """Returns the names of parameters that are not finite, of the policies that have any."""
    import torch

    broken = {
        policy: [
            name
            for name, parameter in learner.module[policy].unwrapped().named_parameters()
            if not torch.isfinite(parameter).all()
        ]
        for policy in learner.module.keys()  # noqa: SIM118  # a MultiRLModule is no dict
    }
    return {policy: names for policy, names in broken.items() if names}
