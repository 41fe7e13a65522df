"""Whether a bundle acts as the policies it was made of: on observations of real episodes."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from empo_rllib.acting.memory import Memory
from empo_rllib.acting.play import LiveEpisode, act_in
from empo_rllib.acting.teams import ActingPolicies
from empo_rllib.bundle import Bundle
from empo_rllib.envs.multi_agent_env import ParallelMultiAgentEnv
from empo_rllib.errors import BundleError
from empo_rllib.exporting.graph import PolicyGraph

NUM_OBSERVATIONS = 1000
# Of an agent that is hardly ever there, fewer observations have to do.
_MAX_ENV_STEPS = 5000
# Small enough for pictures.
_BATCH_SIZE = 100


@dataclass(frozen=True)
class Seen:
    """An agent's observation.

    Attributes:
        agent: whose.
        raw: as the environment returned it.
        adapted: as its policy reads it.
        first: whether it is the agent's first one in an episode.
    """

    agent: str
    raw: Any
    adapted: Any
    first: bool


@dataclass(frozen=True)
class PolicyCheck:
    """What a comparison came to: as many equal actions as observations, or there is no bundle.

    Attributes:
        observations: how many were compared.
        equal_actions: on how many of them torch, onnxruntime and the original chose the same.
        max_output_difference: largest difference of an output between torch and onnxruntime.
    """

    observations: int
    equal_actions: int
    max_output_difference: float


def record_observations(
    policies: ActingPolicies, env: ParallelMultiAgentEnv, seed: int
) -> dict[str, list[Seen]]:
    """Plays episodes with drawn actions until each policy has seen `NUM_OBSERVATIONS`.

    Args:
        policies: Who plays.
        env: The environment, with its own observations.
        seed: Of the first episode; the next one gets the next number.

    Returns:
        The observations by policy, at most `NUM_OBSERVATIONS` each.
    """
    recorded: dict[str, list[Seen]] = {name: [] for name in policies.by_name}
    num_steps = 0
    for episode_seed in itertools.count(seed):
        episode = LiveEpisode(env, episode_seed)
        while not episode.over and num_steps < _MAX_ENV_STEPS:
            for agent, raw in episode.observations.items():
                seen = recorded[policies.of_agent[agent]]
                if len(seen) < NUM_OBSERVATIONS:
                    kept, first = copy.deepcopy(raw), agent not in episode.lengths
                    seen.append(Seen(agent, kept, policies.adapted(agent, kept), first))
            act_in([episode], policies, greedy=False)
            num_steps += 1
        enough = all(len(seen) == NUM_OBSERVATIONS for seen in recorded.values())
        if enough or num_steps >= _MAX_ENV_STEPS:
            break
    return recorded


def check_policy(
    name: str,
    seen: Sequence[Seen],
    policies: ActingPolicies,
    env: ParallelMultiAgentEnv,
    graph: PolicyGraph,
    bundle: Bundle,
) -> PolicyCheck:
    """Compares the greedy actions of a policy on recorded observations.

    Args:
        name: The policy's.
        seen: The observations.
        policies: The original: what is evaluated.
        env: Whose actions they are.
        graph: The torch module that was exported, with the weights of the bundle.
        bundle: The bundle.

    Raises:
        BundleError: an action differs, or there is nothing to compare.
    """
    if not seen:
        raise BundleError(
            f"policy {name!r}: none of its agents appeared in {_MAX_ENV_STEPS:,} env steps, so "
            "nothing could be compared."
        )
    num_equal, difference = 0, 0.0
    original, policy = policies.by_name[name], bundle.policies[name]
    rng = np.random.default_rng()
    memory: Memory = {}
    by_torch: dict[str, np.ndarray] = {}
    by_onnxruntime: dict[str, np.ndarray] = {}
    for parts in _batches(seen, 1 if original.recurrent else _BATCH_SIZE):
        if parts[0].first:
            memory, by_torch, by_onnxruntime = {}, {}, {}
        agent, raw = parts[0].agent, [part.raw for part in parts]
        remembered = [memory] if original.recurrent else []
        chosen_from = original.act([part.adapted for part in parts], True, remembered)
        expected = [env.action_for_env(agent, action) for action in chosen_from]
        feeds = policy.feeds(raw, agent, by_torch)
        torch_output, by_torch = _run_torch(graph, feeds)
        output, by_onnxruntime = policy.outputs(raw, agent, by_onnxruntime)
        chosen = [policy.rule.choose(one, True, rng) for one in (torch_output, output)]
        num_equal += sum(map(_same, expected, *chosen))
        difference = max(difference, float(np.abs(torch_output - output).max()))
    if num_equal < len(seen):
        raise BundleError(
            f"policy {name!r}: {num_equal:,} of {len(seen):,} actions are the same in torch, "
            f"onnxruntime and the original (outputs differ by up to {difference:.2g}). A network "
            "that draws random numbers, or counts its calls, cannot be exported."
        )
    return PolicyCheck(len(seen), num_equal, difference)


def _batches(seen: Sequence[Seen], size: int) -> Iterator[list[Seen]]:
    """Yields batches of one agent each."""
    for agent in dict.fromkeys(part.agent for part in seen):
        parts = (part for part in seen if part.agent == agent)
        while some := list(itertools.islice(parts, size)):
            yield some


def _run_torch(
    graph: PolicyGraph, feeds: dict[str, np.ndarray]
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Returns the output and the next memory."""
    with torch.no_grad():
        outputs = graph(*(torch.from_numpy(feeds[name]) for name in graph.input_names))
    output, *memory = [tensor.numpy() for tensor in outputs]
    return output, dict(zip(graph.memory, memory, strict=True))


def _same(original: Any, *others: Any) -> bool:
    original = np.asarray(original)
    if original.dtype.kind != "f":
        return all(np.array_equal(original, other) for other in others)
    scale = 1e-5 * max(1.0, float(np.abs(original).max()))
    return all(np.allclose(original, other, rtol=1e-4, atol=scale) for other in others)
