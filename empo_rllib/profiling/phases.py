"""What an iteration spends its time on, and in which functions: data.

A function's time counts for its phase, less what it spends in functions of other phases. A process
that is in none of them waits to be asked. Those of RLlib are of Ray 2.60; a contract test finds
them all.
"""

from __future__ import annotations

from collections.abc import Mapping

#: What an iteration does outside the other phases.
REST = "everything else"

#: By phase: `module:function` or `module:Class.method`.
PHASES: Mapping[str, tuple[str, ...]] = {
    "environments": (
        "empo_rllib.envs.batched.multigrid:BatchedMultiGrid.step",
        "empo_rllib.envs.python_envs:PythonEnvs.step",
        "ray.rllib.env.vector.sync_vector_multi_agent_env:SyncVectorMultiAgentEnv.reset",
        "ray.rllib.env.vector.sync_vector_multi_agent_env:SyncVectorMultiAgentEnv.step",
    ),
    "acting": (
        "empo_rllib.acting.actor:Actor.decide",
        "ray.rllib.core.rl_module.rl_module:RLModule.forward_exploration",
        "ray.rllib.core.rl_module.rl_module:RLModule.forward_inference",
    ),
    "connectors": (
        "ray.rllib.connectors.env_to_module.env_to_module_pipeline:EnvToModulePipeline.__call__",
        "ray.rllib.connectors.module_to_env.module_to_env_pipeline:ModuleToEnvPipeline.__call__",
    ),
    "storing": (
        "empo_rllib.sampling.rollout:Rollout.sample",
        "ray.rllib.env.multi_agent_env_runner:MultiAgentEnvRunner._sample",
        "ray.rllib.utils.replay_buffers.multi_agent_prioritized_episode_buffer:"
        "MultiAgentPrioritizedEpisodeReplayBuffer.add",
    ),
    "batches": (
        "empo_rllib.learning.ppo.learner:FragmentPPOLearner._plan",
        "ray.rllib.connectors.learner.learner_connector_pipeline:LearnerConnectorPipeline.__call__",
        "ray.rllib.utils.replay_buffers.multi_agent_prioritized_episode_buffer:"
        "MultiAgentPrioritizedEpisodeReplayBuffer.sample",
    ),
    "update in kernels": ("empo_rllib.learning.ppo.learner:train_compiled",),
    "forward": (
        "empo_rllib.learning.ppo.learner:train",
        "ray.rllib.core.learner.torch.torch_learner:TorchLearner._update",
    ),
    "backward": (
        "empo_rllib.learning.ppo.categorical:CategoricalLoss.backward",
        "empo_rllib.learning.ppo.loss:TorchLoss.backward",
        "ray.rllib.algorithms.impala.torch.impala_torch_learner:IMPALATorchLearner.compute_gradients",
        "ray.rllib.core.learner.torch.torch_learner:TorchLearner.compute_gradients",
    ),
    "optimiser": (
        "empo_rllib.learning.ppo.learner:FragmentPPOLearner._step",
        "ray.rllib.core.learner.learner:Learner.postprocess_gradients",
        "ray.rllib.core.learner.torch.torch_learner:TorchLearner.apply_gradients",
    ),
    "weights": ("ray.rllib.env.env_runner_group:EnvRunnerGroup.sync_weights",),
    "logging": (
        "empo_rllib.sampling.env_runner:FragmentEnvRunner._log_episodes",
        "empo_rllib.sampling.env_runner:FragmentEnvRunner._log_steps",
        "ray.rllib.utils.metrics.metrics_logger:MetricsLogger.aggregate",
        "ray.rllib.utils.metrics.metrics_logger:MetricsLogger.log_dict",
        "ray.rllib.utils.metrics.metrics_logger:MetricsLogger.reduce",
    ),
    "waiting": ("ray:get", "ray:wait"),
    REST: (
        "empo_rllib.sampling.env_runner:FragmentEnvRunner.sample",
        "ray.rllib.algorithms.algorithm:Algorithm.train",
        "ray.rllib.env.multi_agent_env_runner:MultiAgentEnvRunner.sample",
    ),
}
