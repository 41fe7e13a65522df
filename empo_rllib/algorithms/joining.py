"""Agents that join an episode after its first step: which algorithms learn from them."""

from __future__ import annotations

from typing import Any

from empo_rllib.algorithms.setup import TrialSetup
from empo_rllib.config.algorithms import ALGORITHMS
from empo_rllib.errors import ConfigError

#: Episodes that are looked at: who is there first may be random.
_EPISODES = 3


def check_joining(setup: TrialSetup, env: Any) -> None:
    """Refuses agents that join later where the algorithm cannot learn from them.

    RLlib's replay buffers add each piece of an episode to the pieces before it, and raise a
    KeyError for an agent that is in the later piece only (`MultiAgentEpisode._copy_hanging`,
    Ray 2.60).

    Args:
        setup: the trial.
        env: an instance of its PettingZoo environment, which is reset.

    Raises:
        ConfigError: there is such an agent.
    """
    name = setup.config.algorithm.name
    if ALGORITHMS[name].takes_late_agents:
        return
    late = _late_agents(env, setup.config.seed)
    if late:
        others = ", ".join(other for other, row in ALGORITHMS.items() if row.takes_late_agents)
        raise ConfigError(
            f"algorithm.name = {name!r} needs every agent from the first step: {late[0]!r} gets no "
            f"observation when an episode starts. RLlib's replay buffers fail where an agent joins "
            f"later. Take one of {others}, or let the environment start with all agents."
        )


def _late_agents(env: Any, seed: int) -> list[str]:
    """Returns the agents that are not given an observation by a reset."""
    for episode in range(_EPISODES):
        try:
            observations, _ = env.reset(seed=seed + episode)
        except Exception:  # the environment's own; its trial reports it
            return []
        if late := [agent for agent in env.possible_agents if agent not in observations]:
            return late
    return []
