"""What acts for an agent: a network, or chance."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Protocol

import gymnasium as gym
import numpy as np
import torch
from ray.rllib.algorithms.dqn.default_dqn_rl_module import DefaultDQNRLModule
from ray.rllib.core.rl_module.rl_module import RLModule
from ray.rllib.utils.numpy import convert_to_numpy
from ray.rllib.utils.spaces.space_utils import batch, get_base_struct_from_space, unbatch

from empo_rllib.acting.decision import acting_pass, actions_for_env, choose_actions
from empo_rllib.acting.memory import Memory, drop_time, keep_state, step_inputs
from empo_rllib.envs.masks import LegalActions, mask_of
from empo_rllib.errors import ConfigError
from empo_rllib.kernels.acting import CompiledActor


class Acts(Protocol):
    """What acts for one agent or several: an `ActingPolicy`, or chance."""

    @property
    def recurrent(self) -> bool:
        """See `ActingPolicy.recurrent`."""

    def act(
        self, observations: Sequence[Any], greedy: bool, memories: Sequence[Memory] = ()
    ) -> list[Any]:
        """See `ActingPolicy.act`."""

    def choose(self, observations: Any, greedy: bool) -> Any:
        """See `ActingPolicy.choose`."""


class ActingPolicy:
    """One policy's network on rows of observations, with a memory where it is recurrent.

    Does what RLlib's env runner and its default connectors do, for a batch of agents.

    Args:
        module: The policy's RLModule, with its weights.
        action_space: What it chooses from, as in `ParallelMultiAgentEnv.action_spaces`.
        normalize_actions: As `normalize` of `actions_for_env`.
        env_steps: How long it has been trained, which decides how much DQN explores.

    Attributes:
        recurrent: whether the network keeps a state between the steps of an episode.

    Raises:
        ConfigError: it is a DQN with a state.
    """

    def __init__(
        self,
        module: RLModule,
        action_space: gym.Space,
        *,
        normalize_actions: bool,
        env_steps: int,
    ) -> None:
        self.module = module
        self._passes = {greedy: acting_pass(module, greedy) for greedy in (True, False)}
        self._compiled = CompiledActor.of(module)
        self.recurrent = module.is_stateful()
        if self.recurrent and isinstance(module, DefaultDQNRLModule):
            raise ConfigError(f"{type(module).__name__}: DQN with a state cannot be played.")
        self._space = get_base_struct_from_space(action_space)
        self.normalize_actions = normalize_actions
        self.env_steps = env_steps

    def act(
        self, observations: Sequence[Any], greedy: bool, memories: Sequence[Memory] = ()
    ) -> list[Any]:
        """Chooses one action for each observation.

        Args:
            observations: Of single agents, as the policy's observation space says.
            greedy: Take the most likely action (for DQN, of the highest Q-value; for continuous
                actions, the middle of the distribution). Otherwise act as in training at this
                checkpoint: draw from the distribution; DQN takes random actions with the
                probability `epsilon` that its schedule gives there. Draws use torch's generator.
            memories: What a recurrent policy remembers in each of their episodes, which this
                step changes; without them, the observations are all first ones.
        """
        memories = memories or [{} for _ in observations]
        chosen = self._choose(batch(list(observations)), greedy, memories)
        return [
            actions_for_env(action, self._space, self.normalize_actions)
            for action in unbatch(chosen)
        ]

    def choose(self, observations: Any, greedy: bool) -> Any:
        """Chooses actions as the policy's distribution has them, which discrete ones are taken as.

        Not for a recurrent policy.

        Args:
            observations: Arrays [B, ...], nested as the policy's observation space is.
            greedy: As in `act`.

        Returns:
            Arrays [B, ...].
        """
        return self._choose(observations, greedy, ())

    def _choose(self, observations: Any, greedy: bool, memories: Sequence[Memory]) -> Any:
        if self._compiled is not None:
            acted = self._compiled.act(observations, greedy)
            if acted is not None:
                return acted.actions
        inputs = step_inputs(self.module, observations, memories)
        with torch.no_grad():
            schedule = {} if greedy else {"t": self.env_steps}
            outputs = self._passes[greedy](inputs, **schedule)
            if self.recurrent:
                keep_state(self.module, outputs, memories)
                outputs = drop_time(outputs)
            return convert_to_numpy(choose_actions(self.module, outputs, greedy))


class RandomPolicy:
    """Draws from an action space, every action that the mask allows with the same chance.

    Args:
        action_space: of one agent; where it is unbounded, Gymnasium's `sample` says how it is
            drawn from.
        seed: of the draws.
        legal: what masks allow; None: observations have none.
    """

    recurrent = False

    def __init__(
        self, action_space: gym.Space, seed: Sequence[int], legal: LegalActions | None = None
    ) -> None:
        self._space = copy.deepcopy(action_space)
        self._space.seed(int(np.random.SeedSequence(seed).generate_state(1)[0]))
        self._legal = legal

    def act(
        self, observations: Sequence[Any], greedy: bool, memories: Sequence[Memory] = ()
    ) -> list[Any]:
        """Draws an action for each observation."""
        return [self._draw(observation) for observation in observations]

    def _draw(self, observation: Any) -> Any:
        if self._legal is None:
            return self._space.sample()
        return self._legal.draw(self._space, np.asarray(mask_of(observation)))

    def choose(self, observations: Any, greedy: bool) -> np.ndarray:
        """Draws an action for each row of observations nested in a dict."""
        rows = next(iter(observations.values()))
        return np.array([self._space.sample() for _ in rows])
