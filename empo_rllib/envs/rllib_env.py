"""RLlib's `MultiAgentEnv` as a PettingZoo environment."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import gymnasium as gym
from pettingzoo import ParallelEnv

if TYPE_CHECKING:
    from ray.rllib.env.multi_agent_env import MultiAgentEnv

ALL = "__all__"
# What RLlib's users call the one argument of an environment's constructor.
_CONFIG = ("config", "env_config", "env_context", "cfg")


class RllibParallelEnv(ParallelEnv):
    """A `ParallelEnv` that is played by a `ray.rllib.env.MultiAgentEnv`.

    Agents keep their ids. They come with their first observation; one that is given none waits.

    Args:
        env: the environment to wrap; closed with this one.
    """

    def __init__(self, env: MultiAgentEnv) -> None:
        self.env = env
        name = type(env.unwrapped).__name__
        self.metadata = {**(env.metadata or {}), "name": name, "is_parallelizable": True}
        self.render_mode = env.render_mode
        self.possible_agents = list(env.possible_agents)
        self.agents: list[Any] = []

    def observation_space(self, agent: Any) -> gym.Space:
        """Returns the observation space of an agent."""
        return self.env.get_observation_space(agent)

    def action_space(self, agent: Any) -> gym.Space:
        """Returns the action space of an agent."""
        return self.env.get_action_space(agent)

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[Any, Any], dict[Any, dict]]:
        """Starts an episode; a seed repeats it."""
        observations, infos = self.env.reset(seed=seed, options=options)
        self.agents = list(observations)
        return observations, infos

    def step(self, actions: dict[Any, Any]) -> tuple[dict, dict, dict, dict, dict]:
        """Plays the actions of those that were given an observation."""
        seen, rewards, terminateds, truncateds, infos = self.env.step(actions)
        there = [*self.agents, *(agent for agent in seen if agent not in self.agents)]
        flags = [
            {agent: bool(part.get(ALL, False) or part.get(agent, False)) for agent in there}
            for part in (terminateds, truncateds)
        ]
        self.agents = [a for a in there if not any(part[a] for part in flags)]
        return seen, rewards, *flags, infos

    def render(self) -> Any:
        """Renders the wrapped environment."""
        return self.env.render()

    def close(self) -> None:
        """Closes the wrapped environment."""
        self.env.close()


def is_rllib_env(value: Any) -> bool:
    """Tells whether a class or an object is RLlib's; RLlib is not imported for that."""
    module = sys.modules.get("ray.rllib.env.multi_agent_env")
    if module is None:
        return False
    kind = value if inspect.isclass(value) else type(value)
    return issubclass(kind, module.MultiAgentEnv)


def in_a_config(
    factory: Callable[..., Any], num_agents: int | None, kwargs: dict[str, Any]
) -> dict[str, Any] | None:
    """Returns the arguments for a factory that takes them in one `config`, as RLlib gives them.

    Returns:
        `{"config": EnvContext(...)}`; None where the factory takes its arguments apart.
    """
    try:
        names = list(inspect.signature(factory).parameters)
    except (TypeError, ValueError):  # some C callables have no signature
        return None
    if len(names) != 1 or names[0] not in _CONFIG or names[0] in kwargs:
        return None
    from ray.rllib.env.env_context import EnvContext

    agents = {} if num_agents is None else {"num_agents": num_agents}
    return {names[0]: EnvContext({**kwargs, **agents}, worker_index=0)}


def registered_creator(env_id: str) -> Callable[..., Any] | None:
    """Returns what `ray.tune.register_env` was given for `env_id` in this program, if anything."""
    module = sys.modules.get("ray.tune.registry")
    if module is None or not module._global_registry.contains(module.ENV_CREATOR, env_id):
        return None
    creator: Callable[..., Any] = module._global_registry.get(module.ENV_CREATOR, env_id)
    return creator
