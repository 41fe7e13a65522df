"""What the values of `algorithm.params` must be, and which of them are set somewhere else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

_NOT_IN_A_FILE = "it takes a Python object, which a file cannot hold"

# Parameters of RLlib that this package sets itself, and where to say the same thing.
ELSEWHERE = {
    "env": "use env.id",
    "env_config": "use env.kwargs",
    "seed": "use the top-level key seed",
    "framework": "it is always torch",
    "num_env_runners": "use resources.num_env_runners",
    "num_envs_per_env_runner": "use resources.num_envs_per_env_runner",
    "num_learners": "use resources.num_learners",
    "num_gpus_per_learner": "use resources.num_gpus_per_learner",
    "num_gpus": "use resources.num_gpus_per_learner",
    "env_runner_cls": "use resources.sampler",
    "policies": "use the top-level key policies",
    "policy_mapping_fn": "use the top-level key policies",
    "policies_to_train": "use train: false in policies",
    "callbacks_class": "use algorithm.callbacks",
    "model": "use the top-level key model",
    "model_config": "use the top-level key model",
    "rl_module_spec": "use model.class",
    "vf_share_layers": "use model.shared_trunk",
    "observation_space": "the env has it",
    "action_space": "the env has it",
    "clip_actions": "actions are always clipped to the bounds of their space",
    "evaluation_interval": "use evaluation.interval",
    "evaluation_duration": "use evaluation.num_episodes",
    "checkpoint_trainable_policies_only": "use the top-level key checkpoint",
    "train_batch_size": "use train_batch_size_per_learner",
    "num_sgd_iter": "use num_epochs",
    "sgd_minibatch_size": "use minibatch_size",
    "lambda": "use lambda_",
    "lr_schedule": "give the schedule as lr: [[0, 1.0e-3], [100000, 1.0e-4]]",
    "entropy_coeff_schedule": "give the schedule as entropy_coeff: [[0, 0.01], [100000, 0.0]]",
    "custom_stats_cls_lookup": _NOT_IN_A_FILE,
    "learner_class": _NOT_IN_A_FILE,
    "learner_connector": _NOT_IN_A_FILE,
    "env_to_module_connector": _NOT_IN_A_FILE,
    "module_to_env_connector": _NOT_IN_A_FILE,
}

# What other libraries call a key.
OTHER_NAMES = {
    "learning_rate": "algorithm.params.lr",
    "batch_size": "algorithm.params.train_batch_size_per_learner",
    "frames_per_batch": "algorithm.params.train_batch_size_per_learner",
    "n_epochs": "algorithm.params.num_epochs",
    "update_epochs": "algorithm.params.num_epochs",
    "ppo_epoch": "algorithm.params.num_epochs",
    "num_minibatches": "algorithm.params.minibatch_size",
    "gae_lambda": "algorithm.params.lambda_",
    "ent_coef": "algorithm.params.entropy_coeff",
    "entropy_coef": "algorithm.params.entropy_coeff",
    "vf_coef": "algorithm.params.vf_loss_coeff",
    "clip_range": "algorithm.params.clip_param",
    "clip_coef": "algorithm.params.clip_param",
    "max_grad_norm": "algorithm.params.grad_clip",
    "discount": "algorithm.params.gamma",
    "num_workers": "resources.num_env_runners",
    "n_envs": "resources.num_envs_per_env_runner",
    "num_envs": "resources.num_envs_per_env_runner",
    "total_timesteps": "stop.env_steps",
    "timesteps": "stop.env_steps",
    "timesteps_total": "stop.env_steps",
}

CHOICES = {
    "batch_mode": ("truncate_episodes", "complete_episodes"),
    "count_steps_by": ("env_steps", "agent_steps"),
    "grad_clip_by": ("value", "norm", "global_norm"),
    "num_cpus_per_learner": ("auto",),
    "placement_strategy": ("PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD"),
    "rollout_fragment_length": ("auto",),
    "target_entropy": ("auto",),
    "td_error_loss_fn": ("huber", "mse"),
}


@dataclass(frozen=True)
class Range:
    """What a number must be; `in_schedule` holds inside schedules, where 0 often ends the decay."""

    text: str
    holds: Callable[[float], bool]
    in_schedule: Callable[[float], bool]


def _range(
    text: str, holds: Callable[[float], bool], in_schedule: Callable[[float], bool] | None = None
) -> Range:
    return Range(text, holds, in_schedule or holds)


_POSITIVE = _range("greater than 0", lambda x: x > 0, lambda x: x >= 0)
_NOT_NEGATIVE = _range("at least 0", lambda x: x >= 0)
_AT_LEAST_ONE = _range("at least 1", lambda x: x >= 1)
_FRACTION = _range("between 0 and 1", lambda x: 0 <= x <= 1)
_POSITIVE_FRACTION = _range("greater than 0 and at most 1", lambda x: 0 < x <= 1)

RANGES: dict[str, Range] = {
    **dict.fromkeys(("lr", "actor_lr", "critic_lr", "alpha_lr"), _POSITIVE),
    **dict.fromkeys(("clip_param", "vf_clip_param", "grad_clip", "initial_alpha"), _POSITIVE),
    **dict.fromkeys(("gamma", "lambda_", "epsilon"), _FRACTION),
    "tau": _POSITIVE_FRACTION,
    **dict.fromkeys(
        (
            "train_batch_size_per_learner",
            "minibatch_size",
            "num_epochs",
            "rollout_fragment_length",
            "n_step",
            "num_atoms",
            "broadcast_interval",
            "circular_buffer_num_batches",
            "circular_buffer_iterations_per_batch",
            "simple_queue_size",
            "num_cpus_per_env_runner",  # Tune cannot reserve nothing for an actor
        ),
        _AT_LEAST_ONE,
    ),
    **dict.fromkeys(
        (
            "entropy_coeff",
            "vf_loss_coeff",
            "kl_coeff",
            "kl_target",
            "burn_in_len",
            "num_steps_sampled_before_learning_starts",
            "num_gpus_per_env_runner",
            "num_cpus_per_learner",
        ),
        _NOT_NEGATIVE,
    ),
}
