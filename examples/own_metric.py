"""A metric of your own: how often the agents walk forward, and how long the longest episode was.

python -m empo_rllib.tune --config examples/own_metric.yaml
"""

from __future__ import annotations

from typing import Any

from multigrid.core.actions import Action

from empo_rllib import SampleCallback


class ForwardShare(SampleCallback):
    """Logs `custom/forward_share` and `custom/longest_episode`, without leaving the fast path."""

    def on_sample(
        self, *, fragment: Any, episodes: Any, metrics_logger: Any, **kwargs: Any
    ) -> None:
        """Looks at T steps of N envs and A agents."""
        (actions,) = fragment.actions  # [T, N, A]; one array, because all agents have equal spaces
        acted = actions[fragment.present]
        # Without `reduce`, RLlib logs a mean over hundreds of iterations.
        metrics_logger.log_value("forward_share", (acted == Action.forward).mean(), reduce="mean")
        if len(episodes.lengths):
            metrics_logger.log_value("longest_episode", episodes.lengths.max(), reduce="max")
