"""Random fragments that keep the contract of `Fragment`, and the same trajectories as episodes."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import torch
import tree
from gymnasium import spaces
from ray.rllib.env.multi_agent_episode import MultiAgentEpisode

from empo_rllib.acting.memory import BatchMemory
from empo_rllib.acting.view import Critic, PolicyView
from empo_rllib.envs.adapting import AGENT_ID
from empo_rllib.envs.vector_env import AgentGroup, ObservationLeaves
from empo_rllib.sampling.credit import credit_actions, pending_actions, reach_of_rewards
from empo_rllib.sampling.fragment import Fragment

VIEW = spaces.Dict(
    {
        "direction": spaces.Discrete(4),
        "image": spaces.Box(0, 3, (3, 3, 2), np.uint8),
    }
)
VECTOR = spaces.Box(-1.0, 1.0, (5,), np.float64)
STATE = spaces.Box(-9.0, 9.0, (4,))
STATE_FORM = ObservationLeaves(STATE)


class Team:
    """Agents, their spaces and their policies.

    Args:
        policies: the columns of each policy's agents; these share `spaces[policy]`.
        spaces: observation and action space of each policy.
        with_agent_id: policies whose input says which agent it is for.
    """

    def __init__(
        self,
        policies: Mapping[str, Sequence[int]],
        spaces: Mapping[str, tuple[gym.Space, gym.Space]],
        with_agent_id: Sequence[str] = (),
    ) -> None:
        self.num_agents = sum(len(columns) for columns in policies.values())
        by_space: dict[str, list[str]] = {}
        for policy in policies:
            by_space.setdefault(str(spaces[policy]), []).append(policy)
        self.groups: list[AgentGroup] = []
        inputs: dict[str, PolicyView] = {}
        for number, names in enumerate(by_space.values()):
            columns = tuple(sorted(c for name in names for c in policies[name]))
            self.groups.append(AgentGroup(columns, *spaces[names[0]]))
            for name in names:
                inputs[name] = PolicyView(
                    policy=name,
                    group=number,
                    in_group=tuple(columns.index(c) for c in policies[name]),
                    columns=tuple(policies[name]),
                    num_agents=self.num_agents,
                    with_agent_id=name in with_agent_id,
                )
        self.inputs = tuple(inputs[policy] for policy in policies)
        self.policy_of = {c: policy for policy, columns in policies.items() for c in columns}

    def with_critic(self, critic: Critic) -> Team:
        """The same agents, whose critics read something else."""
        team = copy.copy(self)
        team.inputs = tuple(dataclasses.replace(one, critic=critic) for one in self.inputs)
        return team

    def input_space(self, policy: str) -> gym.Space:
        """What the policy's RLModule reads."""
        wanted = next(i for i in self.inputs if i.policy == policy)
        space = self.groups[wanted.group].observation_space
        if not wanted.with_agent_id:
            return space
        parts = space.spaces if isinstance(space, spaces.Dict) else {"observation": space}
        return spaces.Dict({**parts, AGENT_ID: spaces.Box(0.0, 1.0, (self.num_agents,))})

    def action_space(self, policy: str) -> gym.Space:
        wanted = next(i for i in self.inputs if i.policy == policy)
        return self.groups[wanted.group].action_space


def random_fragment(
    team: Team,
    modules: Mapping[str, Any],
    num_steps: int = 12,
    num_envs: int = 3,
    seed: int = 0,
    kinds: int = 6,
    weights_seq_no: int = 0,
    waiting: float = 0.0,
) -> Fragment:
    """Returns a fragment in which agents leave, join, are truncated, and episodes end.

    It has one more attribute, of which `to_episodes` makes what an env runner of RLlib's returns:
    `paid` [T, N, A], what each step paid.

    Args:
        team: who acts.
        modules: the RLModule of each policy, for the distributions of its actions.
        num_steps: T.
        num_envs: N.
        seed: of everything random.
        kinds: how many different observations there are in each group.
        weights_seq_no: which weights acted.
        waiting: how likely an agent waits, rather than acts, in the step after one in which it was
            there.
    """
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    shape = (num_steps, num_envs, team.num_agents)
    there, terminated, truncated, over, there_next = _comings_and_goings(rng, *shape)
    waits = _pauses(rng, there, there_next, over, waiting)
    present, present_next = there & ~waits[:-1], there_next & ~waits[-1]
    final_index = np.argwhere(over)
    pools = [_pool(group, kinds, seed) for group in team.groups]

    def observations(*shape: int, kept: np.ndarray | None = None) -> tuple:
        leaves = []
        for group, pool in zip(team.groups, pools, strict=True):
            chosen = rng.integers(kinds, size=(*shape, len(group.columns)))
            for t in range(1, len(chosen)) if kept is not None else ():
                chosen[t] = np.where(kept[t][:, list(group.columns)], chosen[t - 1], chosen[t])
            leaves.append(tuple(leaf[chosen] for leaf in pool))
        return tuple(leaves)

    actions: list = [None] * len(team.groups)
    logp = np.zeros(shape, np.float32)
    all_inputs, memory = [], []
    for policy in team.inputs:
        module = modules[policy.policy].unwrapped()
        like = module.forward_train(_example(team, policy, module))["action_dist_inputs"]
        size = (num_steps, num_envs, len(policy.columns), like.shape[-1])
        inputs = torch.randn(size) * 0.3
        dist = module.get_exploration_action_dist_cls().from_logits(inputs.flatten(0, 2))
        drawn = dist.sample()
        if actions[policy.group] is None:
            columns = len(team.groups[policy.group].columns)
            actions[policy.group] = np.zeros(
                (num_steps, num_envs, columns, *drawn.shape[1:]), drawn.numpy().dtype
            )
        actions[policy.group][:, :, list(policy.in_group)] = drawn.unflatten(0, size[:3]).numpy()
        logp[:, :, list(policy.columns)] = dist.logp(drawn).unflatten(0, size[:3]).numpy()
        all_inputs.append(inputs.numpy())
        memory.append(
            tree.map_structure(
                lambda part, size=size: np.tanh(rng.normal(size=(*size[:3], *part.shape))),
                module.get_initial_state(),
            )
        )
    paid = np.where(there, rng.normal(size=shape), 0).astype(np.float32)
    rewards = paid.copy()
    there = np.concatenate([there, there_next[None]])
    reach = reach_of_rewards(there, truncated, over, np.ones(team.num_agents))
    credit_actions(rewards, present, reach)
    return Fragment(
        there=there,
        pending=pending_actions(present, present_next, terminated | truncated, over),
        carried=0,
        paid=paid,
        present_next=present_next,
        policies=team.inputs,
        groups=tuple(team.groups),
        observations=observations(num_steps + 1, num_envs, kept=waits),
        actions=tuple(actions),
        action_logp=logp,
        action_dist_inputs=tuple(all_inputs),
        memory=tree.map_structure(np.float32, tuple(memory)),
        rewards=rewards,
        present=present,
        terminated=terminated,
        truncated=truncated,
        episode_over=over,
        final_index=final_index,
        final_observations=observations(len(final_index)),
        state_form=STATE_FORM,
        state=(rng.normal(size=(num_steps + 1, num_envs, 4)).astype(np.float32),),
        final_state=(rng.normal(size=(len(final_index), 4)).astype(np.float32),),
        weights_seq_no=weights_seq_no,
    )


def _comings_and_goings(
    rng: np.random.Generator, num_steps: int, num_envs: int, num_agents: int
) -> tuple[np.ndarray, ...]:
    there = np.zeros((num_steps, num_envs, num_agents), bool)
    terminated, truncated = there.copy(), there.copy()
    there_next = there[0].copy()
    over = np.zeros((num_steps, num_envs), bool)
    for n in range(num_envs):
        came = live = _some(rng, num_agents)
        for t in range(num_steps):
            there[t, n] = live
            leaves = live & (rng.random(num_agents) < 0.12)
            terminated[t, n] = leaves & (rng.random(num_agents) < 0.6)
            truncated[t, n] = leaves & ~terminated[t, n]
            live = live & ~leaves
            if rng.random() < 0.08:  # time is up
                truncated[t, n] |= live
                live = np.zeros_like(live)
            if not live.any():
                over[t, n] = True
                came = live = _some(rng, num_agents)
                continue
            joins = ~came & (rng.random(num_agents) < 0.2) & (t < num_steps - 1)
            came, live = came | joins, live | joins
        there_next[n] = live
    return there, terminated, truncated, over, there_next


def _pauses(
    rng: np.random.Generator,
    there: np.ndarray,
    there_next: np.ndarray,
    over: np.ndarray,
    likely: float,
) -> np.ndarray:
    """Returns bool [T + 1, N, A]: who waits before each step, and before the one after the last.

    An agent that has just come acts.
    """
    there = np.concatenate([there, there_next[None]])
    been = np.zeros_like(there)
    been[1:] = there[:-1] & ~over[..., None]
    waits: np.ndarray = there & been & (rng.random(there.shape) < likely)
    return waits


def _some(rng: np.random.Generator, num_agents: int) -> np.ndarray:
    chosen = rng.random(num_agents) < 0.7
    chosen[rng.integers(num_agents)] = True
    return chosen


def _pool(group: AgentGroup, kinds: int, seed: int) -> list[np.ndarray]:
    """Returns `kinds` different observations, leaf by leaf."""
    group.observation_space.seed(seed)
    samples = [group.leaves.flatten(group.observation_space.sample()) for _ in range(kinds)]
    dtypes = group.leaves.dtypes
    return [
        np.stack([np.asarray(s) for s in leaf]).astype(dtype)
        for leaf, dtype in zip(zip(*samples, strict=True), dtypes, strict=True)
    ]


def _example(team: Team, policy: PolicyView, module: Any) -> dict[str, Any]:
    group = team.groups[policy.group]
    leaves = [torch.from_numpy(leaf) for leaf in group.leaves.blank(2)]
    seen = policy.module_input(group, leaves, torch.tensor(policy.columns[:1] * 2))
    if not module.is_stateful():
        return {"obs": seen}
    return BatchMemory(module, 2, torch.device("cpu")).inputs(seen)


def to_episodes(fragment: Fragment) -> list[MultiAgentEpisode]:
    """Returns a fragment's trajectories as RLlib's env runner returns them.

    Agents are named by their column, so that RLlib, which keeps their names in a set, goes through
    them in this order whatever the hash seed is.
    """
    ended, running = [], []
    for n in range(fragment.rewards.shape[1]):
        episode = None
        for t in range(len(fragment.rewards)):
            if episode is None:
                episode = MultiAgentEpisode(
                    agent_to_module_mapping_fn=_mapping(fragment), len_lookback_buffer=0
                )
                episode.add_env_reset(observations=_seen(fragment, t, n, fragment.present[t, n]))
            episode.add_env_step(**_step(fragment, t, n))
            if fragment.episode_over[t, n]:
                ended.append(((t, n), episode))
                episode = None
        if episode is not None:
            running.append(episode)
    episodes = [episode for _, episode in sorted(ended, key=lambda pair: pair[0])] + running
    for episode in episodes:
        for agent in [a for a, own in episode.agent_episodes.items() if not len(own)]:
            del episode.agent_episodes[agent]  # waits after its only action: RLlib would fail
    return [episode.to_numpy() for episode in episodes]


def _mapping(fragment: Fragment) -> Any:
    names = {c: p.policy for p in fragment.policies for c in p.columns}
    return lambda agent, episode, **kwargs: names[agent]


def _step(fragment: Fragment, t: int, n: int) -> dict[str, Any]:
    acting, there = fragment.present[t, n], fragment.there[t, n]
    over = bool(fragment.episode_over[t, n])
    seeing = fragment.terminated[t, n] | fragment.truncated[t, n]
    if over:
        seeing = seeing | there
    elif t + 1 < len(fragment.rewards):
        seeing = seeing | fragment.present[t + 1, n]  # also those that join
    else:
        seeing = seeing | (fragment.present_next[n] & there)
    columns = np.flatnonzero(there).tolist()
    terminateds = {c: bool(fragment.terminated[t, n, c]) for c in columns}
    truncateds = {c: bool(fragment.truncated[t, n, c]) for c in columns}
    if over:  # as `ParallelMultiAgentEnv` tells it
        cut_off = any(truncateds.values())
        truncateds = {} if cut_off else truncateds
        terminateds["__all__"], truncateds["__all__"] = not cut_off, cut_off
    return {
        "observations": _seen(fragment, t + 1, n, seeing, after=t if over else None),
        "actions": {c: _action(fragment, t, n, c) for c in np.flatnonzero(acting).tolist()},
        "rewards": {c: float(fragment.paid[t, n, c]) for c in columns},
        "terminateds": terminateds,
        "truncateds": truncateds,
        "extra_model_outputs": {
            c: _outputs(fragment, t, n, c) for c in np.flatnonzero(acting).tolist()
        },
    }


def _seen(fragment: Fragment, t: int, n: int, who: np.ndarray, after: int | None = None) -> dict:
    seen = {}
    for policy in fragment.policies:
        group = fragment.groups[policy.group]
        for place, column in zip(policy.in_group, policy.columns, strict=True):
            if not who[column]:
                continue
            if after is None:
                leaves = [leaf[t, n, place] for leaf in fragment.observations[policy.group]]
            else:
                m = fragment.final_index.tolist().index([after, n])
                leaves = [leaf[m, place] for leaf in fragment.final_observations[policy.group]]
            seen[column] = _with_id(group.leaves.unflatten(leaves), policy, column)
    return seen


def _with_id(observation: Any, policy: PolicyView, column: int) -> Any:
    if not policy.with_agent_id:
        return observation
    one_hot = np.eye(policy.num_agents, dtype=np.float32)[column]
    parts = observation if isinstance(observation, dict) else {"observation": observation}
    return {**parts, AGENT_ID: one_hot}


def _owner(fragment: Fragment, column: int) -> tuple[int, PolicyView, int]:
    for number, policy in enumerate(fragment.policies):
        if column in policy.columns:
            return number, policy, policy.columns.index(column)
    raise AssertionError(column)


def _action(fragment: Fragment, t: int, n: int, column: int) -> Any:
    _, policy, place = _owner(fragment, column)
    return fragment.actions[policy.group][t, n, policy.in_group[place]]


def _outputs(fragment: Fragment, t: int, n: int, column: int) -> dict[str, Any]:
    number, _, place = _owner(fragment, column)
    return {
        "action_logp": fragment.action_logp[t, n, column],
        "action_dist_inputs": fragment.action_dist_inputs[number][t, n, place],
        "weights_seq_no": fragment.weights_seq_no,
    }
