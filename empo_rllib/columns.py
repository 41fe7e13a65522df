"""The names of a trial's numbers: the columns of `progress.csv`, TensorBoard and W&B."""

from __future__ import annotations

ENV_STEPS = "env_steps"
EPISODES = "episodes"
TIME_S = "time_s"
ENV_STEPS_PER_S = "env_steps_per_s"
EPISODE_RETURN_MEAN = "episode_return_mean"
EPISODE_LENGTH_MEAN = "episode_length_mean"
SUCCESS_RATE = "success_rate"
# 1 where means are over as many episodes as they are to be, 0 where over fewer.
WINDOW_IS_FULL = "window_is_full"
SAMPLE_S = "time/sample_s"
LEARN_S = "time/learn_s"

# Prefixes. The name of a policy or agent follows, or another column. After `learner/` come a policy
# and one of its statistics: `learner/agent_0/entropy`.
POLICY_RETURN_MEAN = "policy_return_mean/"
AGENT_RETURN_MEAN = "agent_return_mean/"
EVALUATION = "evaluation/"
LEARNER = "learner/"
# What callbacks of the user's log, under the names that they give it.
CUSTOM = "custom/"
