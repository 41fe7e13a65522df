"""The numbers of each training iteration as Prometheus metrics of the Ray cluster.

Ray puts `ray_` before each name and `_total` after the counter's, adds tags of its own (node, job,
session), and serves them on each node's metrics port.
"""

from __future__ import annotations

from collections.abc import Mapping

from ray.util.metrics import Counter, Gauge

from empo_rllib import columns

_TAGS = ("experiment", "trial")
# Column of a row -> name and meaning of its gauge.
_GAUGES = {
    columns.ENV_STEPS_PER_S: ("empo_env_steps_per_s", "Env steps a second in the last iteration."),
    columns.EPISODE_RETURN_MEAN: ("empo_episode_return_mean", "Mean return of recent episodes."),
    columns.SUCCESS_RATE: ("empo_success_rate", "Part of recent episodes that ended in success."),
    columns.EPISODE_LENGTH_MEAN: ("empo_episode_length_mean", "Mean env steps of recent episodes."),
    columns.SAMPLE_S: ("empo_sample_s", "Seconds of sampling in the last iteration."),
    columns.LEARN_S: ("empo_learn_s", "Seconds of learning in the last iteration."),
}
# The same for columns that there are once per policy: what stands before and after its name.
_POLICY_GAUGES = {
    (columns.POLICY_RETURN_MEAN, ""): (
        "empo_policy_return_mean",
        "Mean return of the policy's agents.",
    ),
    (columns.LEARNER, "/entropy"): ("empo_policy_entropy", "Mean entropy of the policy's actions."),
}


class TrialMetrics:
    """The metrics of one trial, to be made in its process."""

    def __init__(self, experiment: str, trial: str) -> None:
        self._tags = {"experiment": experiment, "trial": trial}
        self._env_steps = Counter(
            "empo_env_steps", "Env steps sampled since the trial's process started.", _TAGS
        )
        self._gauges = {column: Gauge(*named, _TAGS) for column, named in _GAUGES.items()}
        self._policy_gauges = {
            place: Gauge(*named, (*_TAGS, "policy")) for place, named in _POLICY_GAUGES.items()
        }

    def emit(self, row: Mapping[str, float], new_env_steps: int) -> None:
        """Sets every metric that the row has a number for.

        Args:
            row: What `build_row` returned for the iteration.
            new_env_steps: Env steps sampled in it.
        """
        if new_env_steps > 0:  # Ray refuses to add nothing
            self._env_steps.inc(new_env_steps, self._tags)
        for column, value in row.items():
            if column in self._gauges:
                self._gauges[column].set(value, self._tags)
            for (before, after), gauge in self._policy_gauges.items():
                policy = column.removeprefix(before).removesuffix(after)
                if column == f"{before}{policy}{after}":
                    gauge.set(value, {**self._tags, "policy": policy})
