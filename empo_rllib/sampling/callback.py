"""A callback of the user's that reads what the fast samplers sample, in arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from ray.rllib.callbacks.callbacks import RLlibCallback

from empo_rllib.acting.episodes import FinishedEpisode
from empo_rllib.sampling.fragment import Fragment

if TYPE_CHECKING:
    from ray.rllib.utils.metrics.metrics_logger import MetricsLogger


@dataclass(frozen=True)
class EpisodeArrays:
    """The episodes that ended in a fragment, in the order of its `final_index`.

    Attributes:
        returns: float64 [M, A]: undiscounted; NaN for an agent that took no part.
        lengths: int64 [M]: env steps.
        success: float64 [M]: 1 or 0; NaN where the environment does not tell.
    """

    returns: np.ndarray
    lengths: np.ndarray
    success: np.ndarray

    @staticmethod
    def of(agents: Sequence[str], episodes: Sequence[FinishedEpisode]) -> EpisodeArrays:
        """Puts episodes side by side, the columns of their returns in the order of `agents`."""
        returns = [[one.returns.get(agent, np.nan) for agent in agents] for one in episodes]
        success = [np.nan if one.success is None else one.success for one in episodes]
        return EpisodeArrays(
            np.array(returns, np.float64).reshape(-1, len(agents)),
            np.array([one.length for one in episodes], np.int64),
            np.array(success, np.float64),
        )


class SampleCallback(RLlibCallback):
    """A callback that reads what was sampled and keeps the samplers `batched` and `python`.

    Name your subclass in `algorithm.callbacks`. Each env runner makes one instance, and so does the
    trial's main process. Methods of `RLlibCallback` that get RLlib's envs or episodes, such as
    `on_episode_end`, still need the sampler `rllib`. The others, such as `on_train_result`, do not.
    """

    def on_sample(
        self,
        *,
        fragment: Fragment,
        episodes: EpisodeArrays,
        agents: tuple[str, ...],
        metrics_logger: MetricsLogger,
        **kwargs: Any,
    ) -> None:
        """Is called after each sampling for training, before the policies learn from it.

        `metrics_logger.log_value("my_metric", value, reduce="mean")` records the mean of an
        iteration's values as the column `custom/my_metric` of `progress.csv`.

        Args:
            fragment: T steps of N envs, in arrays [T, N, A]. Training learns from these arrays: do
                not change them.
            episodes: The M episodes that ended in these steps; M may be 0.
            agents: The names of the A agents, in the order of the arrays.
            metrics_logger: RLlib's, of this env runner.
            **kwargs: What later versions add.
        """
