"""Plays Python environments and a `BatchedMultiGrid` side by side and compares everything."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from empo_rllib.envs.batched.multigrid import BatchedMultiGrid

from multigrid.core.actions import Action  # isort: skip
from multigrid.core.constants import State, Type  # isort: skip
from multigrid.core.world_object import Ball, WorldObjMeta  # isort: skip

LEFT, RIGHT, FORWARD, PICKUP, DROP, TOGGLE, DONE = map(int, Action)
DOOR, OPEN = int(Type.door), int(State.open)

#: What agents do, by what is in front of them.
HABITS = {
    None: ([LEFT, RIGHT, FORWARD, DROP, TOGGLE, DONE], [0.12, 0.12, 0.64, 0.1, 0.01, 0.01]),
    "wall": ([LEFT, RIGHT, FORWARD, TOGGLE], [0.45, 0.45, 0.05, 0.05]),
    "door": ([TOGGLE, FORWARD, LEFT, PICKUP], [0.5, 0.35, 0.1, 0.05]),
    "box": ([PICKUP, TOGGLE, LEFT, FORWARD], [0.35, 0.25, 0.3, 0.1]),
    "key": ([PICKUP, TOGGLE, LEFT, DROP], [0.5, 0.1, 0.3, 0.1]),
    "ball": ([PICKUP, TOGGLE, LEFT, FORWARD], [0.4, 0.1, 0.4, 0.1]),
    "floor": ([FORWARD, DROP, PICKUP, LEFT], [0.6, 0.1, 0.1, 0.2]),
    "goal": ([FORWARD, DROP, LEFT], [0.4, 0.1, 0.5]),
    "lava": ([FORWARD, DROP, LEFT], [0.2, 0.1, 0.7]),
}


class Order:
    """Stands in for a grid's generator: remembers the order of action that a step asks for."""

    def __init__(self, generator):
        self._generator = generator
        self.drawn = np.zeros(1, int)  # upstream draws none for one agent

    def random(self, size):
        numbers = self._generator.random(size)
        self.drawn = numbers.argsort()
        return numbers


@pytest.fixture
def toy_class():
    """Returns a class of objects of the user's own; multigrid forgets it afterwards."""
    known = dict(WorldObjMeta._TYPE_IDX_TO_CLASS)

    class Toy(Ball):
        type_name = "ball"

    WorldObjMeta._TYPE_IDX_TO_CLASS.clear()
    WorldObjMeta._TYPE_IDX_TO_CLASS.update(known)
    return Toy


@pytest.fixture
def play_lockstep():
    """Returns the function that plays, compares, and tells what happened."""
    return _play_lockstep


def _play_lockstep(make, episodes, seed=0, prepare=None, copies=2):
    """Plays `episodes` and asserts that nothing differs.

    Args:
        make: makes the Python environment.
        episodes: how many are played to their end.
        seed: of layouts, order of action, and actions.
        prepare: changes a grid that has just been reset, given a generator, before both play it.
        copies: how many environments are played at the same time.

    Returns:
        How often there were rewards, failures, pickups, drops, opened doors, agents that left
        before the others, truncations and successes, for the test to see that it is not vacuous.
    """
    return _Lockstep(make, seed, prepare, copies).play(episodes)


class _Lockstep:
    def __init__(self, make, seed, prepare, copies):
        self.happened = Counter()
        self.generator = np.random.default_rng(seed)
        self.prepare = prepare
        self.batched = BatchedMultiGrid(make, copies)
        self.batched._start = lambda chosen: None  # what follows an episode comes from here
        self.pythons = [make() for _ in range(copies)]
        self.agents = self.batched.agents
        for n in range(copies):
            self.restart(n, int(self.generator.integers(2**31)))

    def restart(self, n, seed=None):
        python = self.pythons[n]
        observations, _ = python.reset(seed=seed)
        if self.prepare:
            self.prepare(python.env, self.generator)
            observations = python.look()
        python.env._np_random = Order(self.generator)
        self.batched._load(n, python)
        self.batched._look(np.arange(len(self.pythons)) == n)
        self.compare_observations(self.batched.observations, n, observations)

    def play(self, episodes):
        for _ in range(10**6):
            if episodes <= 0:
                return +self.happened  # without the zeros
            actions = np.array([self.choose(python.env) for python in self.pythons])
            played = [
                self.step_python(p, row) for p, row in zip(self.pythons, actions, strict=True)
            ]
            orders = [python.env._np_random.drawn for python in self.pythons]
            self.batched._worlds.orders[:] = orders
            self.batched._play([actions], draw_order=False)
            for n, result in enumerate(played):
                self.compare(n, *result)
            for n in np.flatnonzero(self.batched.episode_over):
                episodes -= 1
                self.restart(n)
        raise AssertionError("episodes do not end")

    def choose(self, grid):
        """Draws an action for each agent, also for those that have left."""
        actions = []
        for agent in grid.agents:
            thing = grid.grid.get(*agent.front_pos)
            choices, weights = HABITS[None if thing is None else str(thing.type.value)]
            actions.append(self.generator.choice(choices, p=weights))
        return actions

    def step_python(self, python, actions):
        before = list(python.agents), _carried(python.env), _open_doors(python.env)
        result = python.step(dict(zip(self.agents, actions.tolist(), strict=True)))
        carried = _carried(python.env) - before[1]
        self.happened["pickups"] += carried > 0
        self.happened["drops"] += carried < 0
        self.happened["doors"] += _open_doors(python.env) > before[2]
        self.happened["left early"] += 0 < len(python.agents) < len(before[0])
        return before[0], result

    def compare(self, n, acted, result):
        observations, rewards, terminations, truncations, infos = result
        batched, python = self.batched, self.pythons[n]
        over = not python.agents
        self.happened["rewards"] += any(rewards.values())
        self.happened["truncations"] += any(truncations.values())
        seen = batched.final_observations if over else batched.observations
        self.compare_observations(seen, n, observations)
        for name, found, expected in (
            ("reward", batched.rewards, {a: np.float32(r) for a, r in rewards.items()}),
            ("terminated", batched.terminated, terminations),
            ("truncated", batched.truncated, truncations),
            ("present", batched.present, dict.fromkeys(python.agents, True)),
        ):
            wanted = [expected.get(agent, 0) for agent in self.agents]
            assert found[n].tolist() == wanted, (name, found[n], wanted)
        assert batched.episode_over[n] == over
        assert np.array_equal(batched._worlds.cells[n], python.env.grid.state)
        if over:
            success = infos[acted[0]]["success"]
            assert batched.success[n] == success
            self.happened["successes"] += success
            self.happened["failures"] += python._outcomes["on_failure"] > 0

    def compare_observations(self, found, n, expected):
        for a, agent in enumerate(self.agents):
            if agent in expected:
                for leaf, name in zip(found[0], sorted(expected[agent]), strict=True):
                    assert np.array_equal(leaf[n, a], expected[agent][name]), (agent, name)


def _carried(grid):
    return sum(agent.state.carrying is not None for agent in grid.agents)


def _open_doors(grid):
    state = grid.grid.state
    return int(((state[..., 0] == DOOR) & (state[..., 2] == OPEN)).sum())
