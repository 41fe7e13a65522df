"""Who acts for each agent of an environment."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pettingzoo import ParallelEnv

from empo_rllib.acting.memory import Memory
from empo_rllib.acting.policies import Acts, RandomPolicy
from empo_rllib.envs.actions import adapt_action
from empo_rllib.envs.masks import legal_actions


@dataclass(frozen=True)
class ActingPolicies:
    """The policies that act in one environment, on its observations as they are.

    Attributes:
        by_name: each policy.
        of_agent: the name of the policy that acts for each agent.
        adapters: for agents whose policies read more, or otherwise, than the environment returns:
            what makes of an observation the one that the policy reads.
    """

    by_name: dict[str, Acts]
    of_agent: dict[str, str]
    adapters: dict[str, Callable[[Any], Any]] = field(default_factory=dict)

    @property
    def recurrent(self) -> bool:
        """Whether one of them is."""
        return any(policy.recurrent for policy in self.by_name.values())

    def act(
        self,
        observations: Sequence[Mapping[str, Any]],
        greedy: bool,
        memories: Sequence[dict[str, Memory]] | None = None,
    ) -> list[dict[str, Any]]:
        """Chooses the actions of several episodes at once, in one batch per policy.

        Args:
            observations: For each episode, those of the agents that act.
            greedy: As in `ActingPolicy.act`.
            memories: For each episode, what is remembered of its agents, which this step changes;
                without them, the observations are all first ones.

        Returns:
            For each episode, the actions in the order of its observations.
        """
        memories = [{} for _ in observations] if memories is None else memories
        places: dict[str, list[tuple[int, str]]] = {}
        for episode, seen in enumerate(observations):
            for agent in seen:
                places.setdefault(self.of_agent[agent], []).append((episode, agent))
        actions: list[dict[str, Any]] = [dict.fromkeys(seen) for seen in observations]
        for name, agents in places.items():
            inputs = [self.adapted(agent, observations[e][agent]) for e, agent in agents]
            own = [memories[e].setdefault(agent, {}) for e, agent in agents]
            chosen = self.by_name[name].act(inputs, greedy, own)
            for (episode, agent), action in zip(agents, chosen, strict=True):
                actions[episode][agent] = action
        return actions

    def adapted(self, agent: str, observation: Any) -> Any:
        """Returns an observation as the agent's policy reads it."""
        adapter = self.adapters.get(agent)
        return observation if adapter is None else adapter(observation)


def random_team(env: ParallelEnv, seed: int) -> ActingPolicies:
    """Returns a random policy for each agent of an environment."""
    policies = {}
    for number, agent in enumerate(env.possible_agents):
        space = adapt_action(env.action_space(agent))[0]
        legal = legal_actions(env.observation_space(agent), space)
        policies[agent] = RandomPolicy(space, [seed, number], legal)
    return ActingPolicies(dict(policies), {agent: agent for agent in policies})


def join_teams(parts: Mapping[str, tuple[ActingPolicies, Sequence[str]]]) -> ActingPolicies:
    """Returns a team of which each part acts for some agents.

    Args:
        parts: by a name of its own, each part and the agents that it acts for.
    """
    policies, of_agent, adapters = {}, {}, {}
    for part, (team, agents) in parts.items():
        for agent in agents:
            name = f"{part}/{team.of_agent[agent]}"
            policies[name] = team.by_name[team.of_agent[agent]]
            of_agent[agent] = name
            if agent in team.adapters:
                adapters[agent] = team.adapters[agent]
    return ActingPolicies(policies, of_agent, adapters)
