"""The algorithms, a row each. This is data: reading it imports neither Ray nor torch.

A new algorithm of RLlib is a row here, then `python -m empo_rllib.config.generate`. One that
learns in its own way from fragments also has a folder in `learning/`, whose learner its row names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

ALL_ACTIONS = ("Discrete", "MultiDiscrete", "Box")
_ACTOR_CRITIC = "empo_rllib.rl_modules.actor_critic:ActorCritic"
# RLlib's default buffer holds one agent only; params may change the rest of it. With another
# type RLlib forgets its own alpha and beta, without which DQN and SAC fail in their first update.
_MULTI_AGENT_REPLAY = {
    "replay_buffer_config": {
        "type": "MultiAgentPrioritizedEpisodeReplayBuffer",
        "capacity": 50_000,
        "alpha": 0.6,
        "beta": 0.4,
    }
}
# Read by RLlib's old API stack only: off-policy algorithms draw their batches from the buffer.
_NO_MINIBATCHES = frozenset({"minibatch_size", "num_epochs", "shuffle_batch_per_epoch"})
_THREE_LEARNING_RATES = {"lr": "use actor_lr, critic_lr and alpha_lr"}
# Read by RLlib's learners from the config of each policy (Ray 2.60).
_GRADIENTS = frozenset({"grad_clip", "grad_clip_by", "log_gradients"})
_TARGET_NETWORK = frozenset({"tau", "target_network_update_freq"})
_PPO_LOSS = frozenset({"clip_param", "entropy_coeff", "kl_coeff", "kl_target", "use_kl_loss"})
# All but what says which terms there are, and kl_coeff, which adapts itself.
_PPO_MUTABLE = frozenset(
    {"clip_param", "entropy_coeff", "gamma", "grad_clip", "kl_target", "lambda_", "lr"}
    | {"minibatch_size", "num_epochs", "train_batch_size_per_learner"}
    | {"vf_clip_param", "vf_loss_coeff"}
)
_V_TRACE = frozenset(
    {"entropy_coeff", "gamma", "lr", "vf_loss_coeff"}
    | {"vtrace_clip_pg_rho_threshold", "vtrace_clip_rho_threshold"}
)
_SAC_LOSS = frozenset(
    {"actor_lr", "alpha_lr", "critic_lr", "gamma", "initial_alpha", "target_entropy"}
)


@dataclass(frozen=True)
class Algorithm:
    """One of RLlib's algorithms. Classes have the form `package.module:Class`.

    Attributes:
        config_class: RLlib's config of it.
        action_spaces: names of the Gymnasium spaces that its policies act in.
        learner_class: what learns from fragments; None where only RLlib's own learner, from
            episodes, does.
        rl_module_class: the default network, which reads observations of any structure; None for
            RLlib's own, which reads flat ones.
        greedy: whether its policies act by their best action. The others are stochastic: their most
            likely action may repeat for ever.
        defaults: parameters of RLlib's `training` that have another default here.
        elsewhere: parameters of RLlib that cannot be set, and what to set instead.
        ineffective: parameters that RLlib accepts and does not read.
        takes_late_agents: whether agents may join an episode after its first step.
        critics: what `model.critic` may be; where it is more than `own`, `model.value_norm` may
            be set, too.
        memories: what `model.memory` may be.
        by_policy: parameters that may differ by policy (`algorithm_config_overrides_per_module`).
        by_policy_in_fragments: those that may differ by policy in `learner_class` only.
        mutable: those that a population may change during training.
    """

    config_class: str
    action_spaces: tuple[str, ...] = ALL_ACTIONS
    learner_class: str | None = None
    rl_module_class: str | None = None
    greedy: bool = False
    defaults: Mapping[str, Any] = field(default_factory=dict)
    elsewhere: Mapping[str, str] = field(default_factory=dict)
    ineffective: frozenset[str] = frozenset()
    takes_late_agents: bool = True
    critics: tuple[str, ...] = ("own",)
    memories: tuple[str, ...] = ("none",)
    by_policy: frozenset[str] = frozenset()
    by_policy_in_fragments: frozenset[str] = frozenset()
    mutable: frozenset[str] = frozenset()


ALGORITHMS: Mapping[str, Algorithm] = {
    "PPO": Algorithm(
        "ray.rllib.algorithms.ppo:PPOConfig",
        learner_class="empo_rllib.learning.ppo.learner:FragmentPPOLearner",
        rl_module_class=_ACTOR_CRITIC,
        critics=("own", "central", "state"),
        memories=("none", "gru", "lstm"),
        by_policy=_GRADIENTS | _PPO_LOSS | {"lr", "use_critic", "vf_clip_param", "vf_loss_coeff"},
        by_policy_in_fragments=frozenset({"gamma", "lambda_"}),
        mutable=_PPO_MUTABLE,
    ),
    "APPO": Algorithm(
        "ray.rllib.algorithms.appo:APPOConfig",
        rl_module_class=f"{_ACTOR_CRITIC}WithTarget",
        ineffective=frozenset({"epsilon", "learner_queue_size"}),
        by_policy=_GRADIENTS | _TARGET_NETWORK | _PPO_LOSS | _V_TRACE,
    ),
    "IMPALA": Algorithm(
        "ray.rllib.algorithms.impala:IMPALAConfig",
        rl_module_class=_ACTOR_CRITIC,
        ineffective=frozenset({"epsilon"}),
        by_policy=_GRADIENTS | _V_TRACE,
    ),
    "DQN": Algorithm(
        "ray.rllib.algorithms.dqn:DQNConfig",
        action_spaces=("Discrete",),
        greedy=True,
        defaults=_MULTI_AGENT_REPLAY,
        ineffective=_NO_MINIBATCHES,
        takes_late_agents=False,
        by_policy=_GRADIENTS | _TARGET_NETWORK | {"gamma", "lr", "td_error_loss_fn"},
    ),
    "SAC": Algorithm(
        "ray.rllib.algorithms.sac:SACConfig",
        action_spaces=("Discrete", "Box"),
        defaults=_MULTI_AGENT_REPLAY,
        elsewhere=_THREE_LEARNING_RATES,
        ineffective=_NO_MINIBATCHES,
        takes_late_agents=False,
        by_policy=_GRADIENTS | _TARGET_NETWORK | _SAC_LOSS,
    ),
    "TQC": Algorithm(
        "ray.rllib.algorithms.tqc:TQCConfig",
        action_spaces=("Box",),
        defaults=_MULTI_AGENT_REPLAY,
        elsewhere=_THREE_LEARNING_RATES,
        ineffective=_NO_MINIBATCHES,
        takes_late_agents=False,
        by_policy=_GRADIENTS | _TARGET_NETWORK | _SAC_LOSS,
    ),
}

# What researchers type for algorithms that have another name here, or that are not there yet.
OTHER_NAMES = {
    "IPPO": "IPPO is PPO with policies: independent (or shared).",
    "IDQN": "Independent DQN is DQN with policies: independent.",
    "IQL": "Independent Q-learning is DQN with policies: independent.",
    "ISAC": "Independent SAC is SAC with policies: independent.",
    "MAPPO": "MAPPO is PPO with model.critic: central (see tune_configs/mappo.yaml).",
    "HAPPO": "HAPPO's updates in turn are not there. PPO with model.critic: central is MAPPO.",
    "QMIX": "Value decomposition is not there. DQN with policies: shared learns independently.",
    "VDN": "Value decomposition is not there. DQN with policies: shared learns independently.",
    "MADDPG": "An off-policy central critic is not there. PPO with model.critic: central is MAPPO.",
}

if TYPE_CHECKING:
    AlgorithmName = str
else:
    AlgorithmName = Literal[tuple(ALGORITHMS)]
