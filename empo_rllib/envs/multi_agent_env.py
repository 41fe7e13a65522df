"""Any PettingZoo `ParallelEnv` as an RLlib `MultiAgentEnv`."""

from __future__ import annotations

import functools
import logging
from collections.abc import Collection, Iterable, Mapping
from math import isfinite
from typing import Any

import numpy as np
from gymnasium import spaces
from pettingzoo import ParallelEnv
from ray.rllib.env.multi_agent_env import MultiAgentEnv

from empo_rllib.envs.actions import adapt_action
from empo_rllib.envs.adapting import Transform, adapt_observation, agents_of
from empo_rllib.envs.masks import ACTION_MASK, LegalActions, legal_actions, mask_of
from empo_rllib.envs.returned import PLAIN_NUMBERS, ObservationCheck, wrong_reward
from empo_rllib.errors import EnvError
from empo_rllib.seeding import stream_seed

_LOG = logging.getLogger(__name__)

# More of them, one after the other, are no game by turns but an environment that forgets somebody.
_MOST_STEPS_WITHOUT_ACTION = 1000


class ParallelMultiAgentEnv(MultiAgentEnv):
    """A `pettingzoo.ParallelEnv` behind the interface of `ray.rllib.env.MultiAgentEnv`.

    It meets what RLlib's `MultiAgentEpisode` asks for (Ray 2.60):

    - Agents may leave before the others and join after them. An agent that has left is never
      mentioned again; one that comes back in the same episode is refused.
    - An agent that ends gets a last observation (its previous one when the environment gives
      none) and a reward in that step. One that disappears without a flag has terminated.
    - A step that ends the episode with somebody truncated says so by `__all__` alone. With a flag
      per agent too, `MultiAgentEpisode` takes all agents for terminated and nothing bootstraps.

    `agents` are those that the last reset or step returned something for, `acting_agents` those
    that the next step wants an action of: those that were given an observation. An agent that is
    there without one waits (games by turns); what it is paid meanwhile belongs to its last action,
    and nothing is paid before there was an action.

    Observations that are not of their space, NaN and infinity are refused here, where all ways of
    playing a Python environment pass (`returned.py`): what is learned from them would keep no trace
    of where it came from. So are actions that an agent's mask forbids (`masks.py`).

    Args:
        env: the environment to wrap; its `possible_agents` must be set. Closed with this one.
        agent_id_for: agents whose observation is extended by their id; see `adapt_observation`.
        flat: turn every observation into one vector, which RLlib's default modules can learn from.
        allow_infinite_observations: accept infinity in observations; NaN never.

    Attributes:
        copy_index: which of many copies this is; for error messages.
        seed_key: of the seeds that `reset` is given; see `stream_seed`.
        episode_limit: env steps after which an episode is cut, all that are there truncated; None:
            the environment alone ends its episodes.

    Raises:
        EnvError: no `possible_agents`, an unknown agent in `agent_id_for`, an observation that
            has an `agent_id` already or has no flat form, a mask of other actions.
    """

    def __init__(
        self,
        env: ParallelEnv,
        agent_id_for: Collection[str] = (),
        flat: bool = False,
        allow_infinite_observations: bool = False,
    ) -> None:
        super().__init__()
        self.env = env
        self._allow_infinite_observations = allow_infinite_observations
        self.copy_index = 0
        self.seed_key: tuple[int, ...] = ()
        self.episode_limit: int | None = None
        self.metadata = dict(env.metadata)  # a copy, since RLlib's vector env writes into it
        self.render_mode = getattr(env, "render_mode", None)
        self.possible_agents = agents_of(env)
        if unknown := set(agent_id_for).difference(self.possible_agents):
            raise EnvError(
                f"agent_id_for names {sorted(unknown)}; agents are {self.possible_agents}"
            )
        self._known = frozenset(self.possible_agents)
        self.agents = list(self.possible_agents)
        self.acting_agents: list[str] = []
        self._there = self.agents  # with those that wait
        self._gone: set[str] = set()
        self._last_seen: dict[str, Any] = {}
        self._episode_step = self._steps_without_action = 0
        self._checks = {
            agent: ObservationCheck(env.observation_space(agent), allow_infinite_observations)
            for agent in self.possible_agents
        }
        self._passes = {agent: check.passes for agent, check in self._checks.items()}
        self.observation_spaces: dict[str, spaces.Space] = {}
        self._transforms: dict[str, Transform] = {}
        for agent in self.possible_agents:
            space, transform = adapt_observation(
                env.observation_space(agent),
                agent,
                self.possible_agents,
                with_id=agent in agent_id_for,
                flat=flat,
            )
            self.observation_spaces[agent] = space
            if transform is not None:
                self._transforms[agent] = transform
        adapted = {agent: adapt_action(env.action_space(agent)) for agent in self.possible_agents}
        self.action_spaces = {agent: space for agent, (space, _) in adapted.items()}
        self._to_env = {agent: to_env for agent, (_, to_env) in adapted.items()}
        legal = {
            agent: legal_actions(env.observation_space(agent), self.action_spaces[agent])
            for agent in self.possible_agents
        }
        self._legal: dict[str, LegalActions] = {a: rule for a, rule in legal.items() if rule}

    @property
    def observation_space(self) -> None:
        """None: each agent has a space of its own, in `observation_spaces`."""
        self._refuse_single_agent_runner()

    @property
    def action_space(self) -> None:
        """None: each agent has a space of its own, in `action_spaces`."""
        self._refuse_single_agent_runner()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, dict]]:
        """Starts an episode; returns observations and infos of the agents that are there."""
        if seed is not None:
            seed = stream_seed(seed, *self.seed_key)
        observations, infos = self.env.reset(seed=seed, options=options)
        self._gone = set()
        self.agents = self._present(observations)
        self._there = self.agents
        self._last_seen = {a: observations[a] for a in self.agents if a in observations}
        self.acting_agents = list(self._last_seen)
        self._episode_step = self._steps_without_action = 0
        self._refuse_wrong_observations(self._last_seen)
        self._refuse_empty_masks()
        for agent in self.acting_agents:
            if agent not in self._legal and mask_of(infos.get(agent)) is not None:
                _warn_of_masks_in_infos()
        return self._transformed(self._last_seen), _infos_of(self._last_seen, infos)

    def step(
        self, action_dict: dict[str, Any]
    ) -> tuple[dict[str, Any], dict[str, float], dict[str, bool], dict[str, bool], dict[str, dict]]:
        """Plays one step; the five parts are as `MultiAgentEpisode.add_env_step` wants them.

        Args:
            action_dict: actions in `action_spaces`; `envs/actions.py` tells what `env` gets.
        """
        actions = self._actions_for_env(action_dict)
        seen, paid, terminations, truncations, infos = self.env.step(actions)
        self._episode_step += 1
        there, present = self._there, self._present(seen)
        if present and self._episode_step == self.episode_limit:
            _warn_of_cut_episodes(self.episode_limit)
            present, truncations = [], dict.fromkeys(there, True)
        terminateds, truncateds = _ends(there, present, terminations, truncations)
        ended = {a for a in there if terminateds[a] or truncateds[a]}
        joined = [a for a in present if a not in terminateds]
        self._gone |= ended
        self._there = [a for a in there if a not in ended] + joined
        self.agents = there + joined

        observations = {a: seen[a] for a in self.agents if a in seen}
        self._refuse_wrong_observations(observations)
        self.acting_agents = [a for a in self._there if a in observations]
        if self.acting_agents or not self._there:
            self._steps_without_action = 0
        else:
            self._wait()
        last_seen = self._last_seen
        rewards = self._rewards({a: paid.get(a, 0.0) for a in self.agents if a in last_seen})
        observations.update({a: last_seen[a] for a in ended if a in last_seen and a not in seen})
        last_seen.update(observations)
        self._refuse_empty_masks()
        _set_all_flags(terminateds, truncateds, over=not self._there)
        infos = _infos_of(observations, infos)
        return self._transformed(observations), rewards, terminateds, truncateds, infos

    @property
    def seen_agents(self) -> list[str]:
        """Those in the episode that were given an observation: they act, or wait after one."""
        return [agent for agent in self._there if agent in self._last_seen]

    @property
    def state_space(self) -> spaces.Space:
        """The space of `state()`, which not every environment has."""
        space: spaces.Space = self.env.state_space
        return space

    def state(self) -> Any:
        """Returns the environment's `state()`, which is refused as an observation would be."""
        state = self.env.state()
        if not self._state_check.passes(state) and (found := self._state_check.find(state)):
            raise self._wrong("state()", found)
        return state

    @functools.cached_property
    def _state_check(self) -> ObservationCheck:
        return ObservationCheck(self.state_space, self._allow_infinite_observations)

    def observation_adapter(self, agent: str) -> Transform | None:
        """Returns what makes of `agent`'s observation in `env` the one seen here; None: nothing."""
        return self._transforms.get(agent)

    def action_for_env(self, agent: str, action: Any) -> Any:
        """Returns what `env` gets of an action in `action_spaces`."""
        return self._to_env[agent](action)

    def render(self) -> Any:
        """Renders the wrapped environment in its render mode."""
        return self.env.render()

    def close(self) -> None:
        """Closes the wrapped environment."""
        self.env.close()

    def _refuse_single_agent_runner(self) -> None:
        """Explains what RLlib (2.60) would only call a space that is None.

        A config without `multi_agent(...)` takes the runner for single agents, which gives the
        environment the id below before it asks for the spaces.
        """
        if self.spec is not None and self.spec.id == "rllib-single-agent-env-v0":
            raise EnvError(
                f"{self._name()} has agents {self.possible_agents}: add "
                ".multi_agent(policies={...}, policy_mapping_fn=...) to the RLlib config."
            )

    def _transformed(self, observations: dict[str, Any]) -> dict[str, Any]:
        if not self._transforms:
            return dict(observations)
        identity: Transform = lambda observation: observation  # noqa: E731
        return {a: self._transforms.get(a, identity)(o) for a, o in observations.items()}

    # The gate, through which all goes in every step: what is right must cost next to nothing.

    def _actions_for_env(self, actions: dict[str, Any]) -> dict[str, Any]:
        to_env = self._to_env
        for agent, rule in self._legal.items():
            if agent in actions:
                mask = self._last_seen[agent][ACTION_MASK]
                if not rule.allow(mask, actions[agent]):
                    raise self._wrong(
                        f"agent {agent}",
                        f"action {actions[agent]} is not allowed by its {ACTION_MASK} "
                        f"{np.asarray(mask).tolist()}. A network of your own must see to that.",
                    )
        return {agent: to_env[agent](action) for agent, action in actions.items()}

    def _refuse_wrong_observations(self, observations: dict[str, Any]) -> None:
        passes = self._passes
        for agent, observation in observations.items():
            if not passes[agent](observation) and (found := self._checks[agent].find(observation)):
                raise self._wrong(f"agent {agent}", found)

    def _refuse_empty_masks(self) -> None:
        """Refuses masks that leave nothing to do to those who act."""
        for agent, rule in self._legal.items():
            if agent in self.acting_agents:
                mask = self._last_seen[agent][ACTION_MASK]
                if not rule.allow_any(mask):
                    raise self._wrong(
                        f"agent {agent}",
                        f"its {ACTION_MASK} {np.asarray(mask).tolist()} allows no action. Allow at "
                        "least one, or return no observation for an agent whose turn it is not.",
                    )

    def _rewards(self, paid: dict[str, Any]) -> dict[str, float]:
        rewards = {}
        for agent, reward in paid.items():
            passes = type(reward) in PLAIN_NUMBERS and isfinite(reward)
            if not passes and (found := wrong_reward(reward)):
                raise self._wrong(f"agent {agent}", found)
            rewards[agent] = float(reward)
        return rewards

    def _wrong(self, place: str, found: str) -> EnvError:
        return EnvError(
            f"{self._name()} (copy {self.copy_index}): {place}, episode step "
            f"{self._episode_step}: {found}"
        )

    def _name(self) -> str:
        return str(self.metadata.get("name", self.env))

    def _present(self, observations: Mapping[str, Any]) -> list[str]:
        """Returns who is there in `env`, which has just returned `observations`."""
        present = list(self.env.agents)
        if not (self._known.issuperset(present) and self._known.issuperset(observations)):
            raise self._unknown(present, observations)
        if not self._gone.isdisjoint(present):
            raise self._returned(present)
        return present

    def _wait(self) -> None:
        self._steps_without_action += 1
        if self._steps_without_action > _MOST_STEPS_WITHOUT_ACTION:
            raise EnvError(
                f"{self._name()}: {', '.join(self._there)} are there, and in "
                f"{_MOST_STEPS_WITHOUT_ACTION:,} steps nobody was given an observation, so that "
                "nobody acted. Return one for each agent whose turn it is."
            )

    def _unknown(self, present: list[str], observations: Mapping[str, Any]) -> EnvError:
        what, agents = "agents", present
        if self._known.issuperset(present):
            what, agents = "observations", list(observations)
        unknown = sorted(str(agent) for agent in agents if agent not in self._known)
        return EnvError(
            f"{self._name()}: {what} hold {unknown}, and possible_agents are "
            f"{self.possible_agents}. List all that may ever be there."
        )

    def _returned(self, present: list[str]) -> EnvError:
        returned = sorted(self._gone.intersection(present))
        return EnvError(
            f"{self._name()}: {', '.join(returned)} came back after it had left, which an RLlib "
            "episode cannot hold. Give it a new name."
        )


def number_copies(envs: Iterable[ParallelMultiAgentEnv]) -> None:
    """Sets the `copy_index` of copies that are played together."""
    for n, env in enumerate(envs):
        env.copy_index = n


def _ends(
    there: list[str], present: list[str], terminations: dict, truncations: dict
) -> tuple[dict[str, bool], dict[str, bool]]:
    """Returns who of those that were there terminated and who was truncated, never both."""
    terminateds, truncateds = {}, {}
    for agent in there:
        terminated = bool(terminations.get(agent, False))
        truncated = bool(truncations.get(agent, False)) and not terminated
        terminateds[agent] = terminated or (agent not in present and not truncated)
        truncateds[agent] = truncated
    return terminateds, truncateds


@functools.cache
def _warn_of_cut_episodes(limit: int) -> None:
    """Says once in a process why episodes have this length."""
    _LOG.warning(
        "An episode of the evaluation in training did not end and was cut after %s env steps. Its "
        "return counts as it was then.",
        f"{limit:,}",
    )


@functools.cache
def _warn_of_masks_in_infos() -> None:
    """Says once in a process that masks are not read."""
    _LOG.warning(
        "Infos hold an action_mask, which policies do not obey: set env.masks_in_infos: true."
    )


def _set_all_flags(terminateds: dict, truncateds: dict, over: bool) -> None:
    cut_off = over and any(truncateds.values())
    if cut_off:
        truncateds.clear()  # see the class: the flag for all must stand alone
    terminateds["__all__"] = over and not cut_off
    truncateds["__all__"] = cut_off


def _infos_of(observations: dict, infos: dict) -> dict[str, dict]:
    """Returns infos for exactly the observed agents; RLlib refuses any other."""
    return {agent: infos.get(agent, {}) for agent in observations}
