"""Games by turns (PettingZoo's AEC environments) as a `ParallelEnv`: one agent acts at a time."""

from __future__ import annotations

from typing import Any

from pettingzoo.utils.conversions import turn_based_aec_to_parallel_wrapper
from pettingzoo.utils.wrappers import BaseParallelWrapper


class ByTurns(BaseParallelWrapper):
    """PettingZoo's `turn_based_aec_to_parallel`, in which only those see something who are to act.

    That gives all agents an observation in each step, and ignores what the others do. Here they
    wait, until it is their turn or the end.

    Args:
        env: what `turn_based_aec_to_parallel` returned.
    """

    def __init__(self, env: turn_based_aec_to_parallel_wrapper) -> None:
        super().__init__(env)
        self.possible_agents = list(env.possible_agents)
        name = env.metadata.get("name", type(env.unwrapped).__name__)
        self.metadata = {**env.metadata, "name": name, "is_parallelizable": True}

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        """Starts an episode."""
        observations, infos = self.env.reset(seed=seed, options=options)
        return self._of_those_who_act(observations, {}), infos

    def step(self, actions: dict[str, Any]) -> tuple[dict, dict, dict, dict, dict]:
        """Plays the turn of the agent that acts."""
        observations, rewards, terminations, truncations, infos = self.env.step(actions)
        ended = {a for a in observations if terminations.get(a) or truncations.get(a)}
        seen = self._of_those_who_act(observations, ended)
        return seen, rewards, terminations, truncations, infos

    def _of_those_who_act(self, observations: dict[str, Any], ended: Any) -> dict[str, Any]:
        whose_turn = self.env.aec_env.agent_selection if self.env.agents else None
        return {a: seen for a, seen in observations.items() if a == whose_turn or a in ended}
