"""Trained policies that act, without Ray running and without reading a pickle.

A checkpoint's weights are numbers (safetensors); the networks that they belong to are built from
the experiment, as for training.
"""

from __future__ import annotations

import contextlib
import logging
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import gymnasium as gym
import numpy as np
import torch
import tree
from ray.rllib.algorithms.dqn.default_dqn_rl_module import DefaultDQNRLModule
from ray.rllib.core.columns import Columns
from ray.rllib.core.distribution.torch.torch_distribution import TorchSquashedGaussian
from ray.rllib.core.rl_module.rl_module import RLModule
from ray.rllib.utils.numpy import convert_to_numpy
from ray.rllib.utils.spaces.space_utils import (
    batch,
    clip_action,
    get_base_struct_from_space,
    unbatch,
    unsquash_action,
)
from ray.rllib.utils.torch_utils import convert_to_torch_tensor

from empo_rllib.algorithms.builder import build_algorithm_config, build_rl_modules
from empo_rllib.algorithms.policies import Policy, build_policies, policy_mapping
from empo_rllib.errors import CheckpointError, ConfigError
from empo_rllib.experiment.checkpoints import (
    load_weights,
    newest_intact,
    read_counters,
    read_policy,
)
from empo_rllib.experiment.run_folder import TrainedTrial
from empo_rllib.seeding import seed_everything

_LOG = logging.getLogger(__name__)

#: What a recurrent policy remembers of one agent's episode: its state, empty before the first step.
Memory = dict[str, Any]


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
    """One policy's network and the way from its outputs to actions.

    Does what RLlib's env runner and its default connectors (`GetActions`,
    `NormalizeAndClipActions`; for a recurrent network `AddStatesFromEpisodesToBatch` and
    `RemoveSingleTsTimeRankFromBatch`) do, for a batch of agents.

    Args:
        module: The policy's RLModule, with its weights.
        action_space: Of one agent, as the environment has it.
        normalize_actions: Map Box actions from [-1, 1] to the bounds of the space.
        clip_actions: Clip Box actions to the bounds; only where `normalize_actions` is off.
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
        clip_actions: bool,
        env_steps: int,
    ) -> None:
        self.module = module
        self.recurrent = module.is_stateful()
        if self.recurrent and isinstance(module, DefaultDQNRLModule):
            raise ConfigError(f"{type(module).__name__}: DQN with a state cannot be played.")
        self._space = get_base_struct_from_space(action_space)
        self._normalize = normalize_actions
        self._clip = clip_actions
        self._env_steps = env_steps

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
        return [self._for_env(action) for action in unbatch(chosen)]

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
        inputs = step_inputs(self.module, observations, memories)
        with torch.no_grad():
            if greedy:
                outputs = self.module.forward_inference(inputs)
            else:
                outputs = self.module.forward_exploration(inputs, t=self._env_steps)
            if self.recurrent:
                self._keep(outputs, memories)
                outputs = drop_time(outputs)
            if Columns.ACTIONS in outputs:
                actions = outputs[Columns.ACTIONS]
            else:
                actions = self._draw(outputs, greedy)
        return convert_to_numpy(actions)

    def _keep(self, outputs: Mapping[str, Any], memories: Sequence[Memory]) -> None:
        if Columns.STATE_OUT not in outputs:
            raise ConfigError(
                f"{type(self.module).__name__} has an initial state and must return "
                f"{Columns.STATE_OUT!r}; it returned {', '.join(outputs) or 'nothing'}."
            )
        after = unbatch(convert_to_numpy(outputs[Columns.STATE_OUT]))
        for memory, state in zip(memories, after, strict=True):
            memory.update(state)

    def _draw(self, outputs: Mapping[str, Any], greedy: bool) -> Any:
        if Columns.ACTION_DIST_INPUTS not in outputs:
            raise ConfigError(
                f"{type(self.module).__name__} must return {Columns.ACTIONS!r} or "
                f"{Columns.ACTION_DIST_INPUTS!r}; it returned {', '.join(outputs) or 'nothing'}."
            )
        if not greedy:
            distribution = self.module.get_exploration_action_dist_cls()
            return distribution.from_logits(outputs[Columns.ACTION_DIST_INPUTS]).sample()
        distribution = self.module.get_inference_action_dist_cls()
        return _most_likely(distribution.from_logits(outputs[Columns.ACTION_DIST_INPUTS]))

    def _for_env(self, action: Any) -> Any:
        if self._normalize:
            return unsquash_action(action, self._space)
        return clip_action(action, self._space) if self._clip else action


def _most_likely(distribution: Any) -> Any:
    if isinstance(distribution, TorchSquashedGaussian):
        # Ray 2.60 returns the middle unsquashed, another action than the policy learned
        # (ray-project/ray issue 51544): draw with no deviation instead.
        middle, low, high = distribution.loc, distribution.low, distribution.high
        return TorchSquashedGaussian(middle, torch.zeros_like(middle), low, high).sample()
    return distribution.to_deterministic().sample()


def step_inputs(module: RLModule, observations: Any, memories: Sequence[Memory]) -> dict[str, Any]:
    """Returns what a network reads for one step of each of B episodes.

    Args:
        module: The network. A recurrent one reads sequences [B, T = 1, ...] and a state [B, ...].
        observations: Arrays [B, ...], nested as the policy's observation space is.
        memories: B of them, for a recurrent network; an empty one is its initial state.
    """
    if not module.is_stateful():
        return {Columns.OBS: convert_to_torch_tensor(observations)}
    states = [memory or convert_to_numpy(module.get_initial_state()) for memory in memories]
    sequences = tree.map_structure(lambda part: part[:, None], observations)
    return convert_to_torch_tensor({Columns.OBS: sequences, Columns.STATE_IN: batch(states)})


def drop_time(outputs: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a recurrent network's outputs; what decides of [B, T = 1, ...] is [B, ...]."""
    decisive = outputs.keys() & {Columns.ACTIONS, Columns.ACTION_DIST_INPUTS}
    step = {key: tree.map_structure(lambda part: part[:, 0], outputs[key]) for key in decisive}
    return {**outputs, **step}


@dataclass(frozen=True)
class ActingPolicies:
    """All policies of a checkpoint.

    Attributes:
        by_name: each policy.
        of_agent: the name of the policy that acts for each agent.
        specs: what `build_policies` returned for the experiment.
        adapters: for agents whose observations are not yet as their policies read them, what makes
            one so.
    """

    by_name: dict[str, Acts]
    of_agent: dict[str, str]
    specs: dict[str, Policy]
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


def load_policies(trained: TrainedTrial) -> ActingPolicies:
    """Builds the networks of a checkpoint's policies and loads their weights.

    Raises:
        CheckpointError: weights are missing, damaged or of another network.
        ConfigError: the environment or a class of the user's is not there any more.
    """
    config = trained.config
    specs = build_policies(config)
    algorithm = build_algorithm_config(config, specs)
    modules = build_rl_modules(algorithm, specs)
    checkpoint = _still_there(trained.checkpoint)
    env_steps = read_counters(checkpoint)["env_steps"]
    weights = {name: read_policy(checkpoint, name) for name in specs}
    by_name: dict[str, Acts] = {}
    for name, spec in specs.items():
        source = f"{checkpoint}: policy {name!r}"
        _check_numbers(weights[name], source)
        load_weights(modules[name], weights[name], source)
        by_name[name] = ActingPolicy(
            modules[name],
            spec.action_space,
            normalize_actions=algorithm.normalize_actions,
            clip_actions=algorithm.clip_actions,
            env_steps=env_steps,
        )
    return ActingPolicies(by_name, policy_mapping(specs), specs)


def _still_there(checkpoint: Path) -> Path:
    """Returns the checkpoint, or the trial's newest where training has removed it meanwhile."""
    if checkpoint.is_dir():
        return checkpoint
    newer = newest_intact(checkpoint.parent)
    if newer is None:
        raise CheckpointError(f"{checkpoint}: it was removed meanwhile, and there is no other.")
    _LOG.warning("%s: training has removed it meanwhile. Using %s.", checkpoint, newer.name)
    return newer


def _check_numbers(weights: Mapping[str, np.ndarray], source: str) -> None:
    for key, values in weights.items():
        if np.issubdtype(values.dtype, np.floating) and np.isnan(values).any():
            raise CheckpointError(
                f"{source}: {key} is not a number (NaN): the training has diverged, or the file is "
                "damaged. Take an earlier checkpoint."
            )


@contextlib.contextmanager
def repeatable(seed: int) -> Iterator[None]:
    """Seeds Python, numpy and torch, which gets one thread; puts all back in the end."""
    python_state, numpy_state = random.getstate(), np.random.get_state()
    num_threads = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]):
        try:
            torch.set_num_threads(1)
            seed_everything(seed)
            yield
        finally:
            torch.set_num_threads(num_threads)
            np.random.set_state(numpy_state)
            random.setstate(python_state)
