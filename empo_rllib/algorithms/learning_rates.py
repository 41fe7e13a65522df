"""Learning rates of a learner that has restored the optimisers of another."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ray.rllib.core.learner.torch.torch_learner import TorchLearner


def set_learning_rates(learner: TorchLearner) -> None:
    """Gives every optimiser the learning rate of the learner's config.

    The state of a torch optimiser holds its learning rate, so restoring another's brings that
    one's; RLlib 2.60 corrects it only after the next update.
    """
    for module_id, _ in learner.module.items():
        rate = learner.config.get_config_for_module(module_id).lr
        if isinstance(rate, list):  # a schedule, which has its own place in every state
            continue
        for _, optimizer in learner.get_optimizers_for_module(module_id):
            for group in optimizer.param_groups:
                group["lr"] = rate
