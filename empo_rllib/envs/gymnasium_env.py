"""A Gymnasium environment as a PettingZoo environment with one agent."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
from pettingzoo import ParallelEnv

AGENT = "agent_0"


class GymnasiumParallelEnv(ParallelEnv):
    """A `ParallelEnv` with the single agent `agent_0`, played by a `gymnasium.Env`.

    Observations, actions, rewards, ends and infos are those of the wrapped environment.

    Args:
        env: the environment to wrap; closed with this one.
    """

    def __init__(self, env: gym.Env) -> None:
        self.env = env
        name = env.spec.id if env.spec else type(env.unwrapped).__name__
        self.metadata = {**env.metadata, "name": name, "is_parallelizable": True}
        self.render_mode = env.render_mode
        self.possible_agents = [AGENT]
        self.agents: list[str] = []

    def observation_space(self, agent: str) -> gym.Space:
        """Returns the observation space of `agent_0`."""
        return self.env.observation_space

    def action_space(self, agent: str) -> gym.Space:
        """Returns the action space of `agent_0`."""
        return self.env.action_space

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, dict]]:
        """Starts an episode; a seed repeats it."""
        observation, info = self.env.reset(seed=seed, options=options)
        self.agents = [AGENT]
        return {AGENT: observation}, {AGENT: info}

    def step(self, actions: dict[str, Any]) -> tuple[dict, dict, dict, dict, dict]:
        """Plays the action of `agent_0`; after its episode ended every part is empty."""
        if not self.agents:
            return {}, {}, {}, {}, {}
        observation, reward, terminated, truncated, info = self.env.step(actions[AGENT])
        if terminated or truncated:
            self.agents = []
        return (
            {AGENT: observation},
            {AGENT: float(reward)},
            {AGENT: bool(terminated)},
            {AGENT: bool(truncated)},
            {AGENT: info},
        )

    def render(self) -> Any:
        """Renders the wrapped environment in its render mode."""
        return self.env.render()

    def close(self) -> None:
        """Closes the wrapped environment."""
        self.env.close()
