"""RLlib callbacks that every experiment runs with."""

from __future__ import annotations

from typing import Any

from ray.rllib.callbacks.callbacks import RLlibCallback

from empo_rllib import columns
from empo_rllib.envs.multi_agent_env import episode_success
from empo_rllib.sampling.episodes import smoothing_window


class EpisodeMetrics(RLlibCallback):
    """Logs the success rate over the same window of episodes as RLlib's returns."""

    def on_episode_end(
        self, *, episode: Any, env_runner: Any, metrics_logger: Any, **kwargs: Any
    ) -> None:
        infos = {
            str(agent): agent_episode.get_infos(-1)
            for agent, agent_episode in episode.agent_episodes.items()
            if len(agent_episode.infos) > 0
        }
        success = episode_success(infos)
        if success is not None:
            window = smoothing_window(env_runner.config)
            metrics_logger.log_value(columns.SUCCESS_RATE, float(success), window=window)
