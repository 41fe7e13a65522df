"""First states that kernels draw have the distribution of upstream's `_gen_grid`."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np
import pytest
from scipy.stats import chi2_contingency

from empo_rllib.envs.batched.layouts import NativeLayout
from empo_rllib.envs.batched.multigrid import BatchedMultiGrid
from empo_rllib.envs.registry import MULTIGRID_IDS, make_env
from empo_rllib.errors import EnvError

DOOR, KEY, BOX = 4, 5, 7
UPSTREAM, NATIVE = 400, 3000
#: Of a whole test: with these seeds nothing is as unlikely, and what is wrong soon is.
SIGNIFICANCE = 1e-3

CASES = [
    ("MultiGrid-Empty-Random-5x5-v0", 2, {}),
    ("MultiGrid-Empty-5x5-v0", 2, {"agent_start_dir": None}),
    ("MultiGrid-RedBlueDoors-6x6-v0", 2, {"size": 5}),
    ("MultiGrid-BlockedUnlockPickup-v0", 2, {"room_size": 5}),
    ("MultiGrid-BlockedUnlockPickup-v0", 1, {"room_size": 6}),
    ("MultiGrid-Playground-v0", 2, {"room_size": 6, "num_rows": 2, "num_cols": 3}),
    ("MultiGrid-LockedHallway-2Rooms-v0", 2, {"room_size": 4}),
    ("MultiGrid-LockedHallway-6Rooms-v0", 1, {"max_hallway_keys": 3, "max_keys_per_room": 3}),
    ("MultiGrid-LockedHallway-6Rooms-v0", 2, {"num_rooms": 8}),
]


def features(cells, agents, mission):
    """Yields named facts of a layout; each is compared in distribution.

    Args:
        cells: [X, Y, 3].
        agents: for each agent x, y and direction.
        mission: the first agent's.
    """
    (x, y, direction), *others = agents
    yield "agent's place", (x, y)
    yield "agent's direction", direction
    ahead = [(1, 0), (0, 1), (-1, 0), (0, -1)][direction]
    yield "what is ahead", cells[x + ahead[0], y + ahead[1], 0]
    for a, b, c in others:
        yield "distance of agents", (abs(x - a) + abs(y - b), (c - direction) % 4)
    yield "mission", mission
    kinds = cells[..., 0]
    for kind in range(DOOR, BOX + 1):
        places = np.argwhere(kinds == kind).tolist()
        yield f"number of {kind}", len(places)
        for index, place in enumerate(places):
            yield f"place of {kind}", tuple(place)
            yield f"colour and state of {kind}", tuple(cells[tuple(place)][1:])
            yield f"colour of {kind} number {index}", (cells[tuple(place)][1], len(places))
            if len(agents) > 1:
                yield f"distance of {kind}", abs(place[0] - x) + abs(place[1] - y)
    colors = [cells[tuple(place)][1] for place in np.argwhere(kinds == DOOR)]
    keys = [cells[tuple(place)][1] for place in np.argwhere(kinds == KEY)]
    yield "doors that have a key", (len(colors), sum(color in keys for color in colors))
    yield "colours of doors", len(set(colors))


def count(layouts):
    counts = defaultdict(Counter)
    for layout in layouts:
        for name, value in features(*layout):
            counts[name][value] += 1
    return counts


def upstream_layouts(make, number, seed):
    env = make()
    env.reset(seed=seed)
    for _ in range(number):
        observations, _ = env.reset()
        states = [agent.state for agent in env.env.agents]
        mission = tuple(observations["agent_0"].get("mission", ()))
        yield env.env.grid.state, [(*map(int, s.pos), int(s.dir)) for s in states], mission


def native_layouts(make, number, seed):
    batched = BatchedMultiGrid(make, number)
    assert isinstance(batched._native, NativeLayout)
    batched.reset(seed)
    worlds = batched._worlds
    for cells, agents, missions in zip(worlds.cells, worlds.agents, worlds.missions, strict=True):
        yield cells, agents[["x", "y", "direction"]].tolist(), tuple(missions[0].tolist())


def chi_square(one, other):
    """Returns the probability of two samples of one distribution to differ as much.

    Values that are too rare for the statistic are taken together.
    """
    table = np.array([(one[value], other[value]) for value in one | other]).T
    expected = table.sum(0) * table.sum(1).min() / table.sum()
    rare = table[:, expected < 5].sum(1, keepdims=True)
    table = np.hstack([table[:, expected >= 5], rare])
    table = table[:, table.sum(0) > 0]
    return chi2_contingency(table).pvalue if table.shape[1] > 1 else 1.0


@pytest.mark.parametrize(("env_id", "num_agents", "options"), CASES, ids=str)
def test_first_states_are_distributed_as_upstream(env_id, num_agents, options):
    def make():
        return make_env(env_id, num_agents, **options)

    upstream = count(upstream_layouts(make, UPSTREAM, seed=1))
    native = count(native_layouts(make, NATIVE, seed=1))
    names = upstream.keys() | native.keys()
    found = {name: chi_square(upstream[name], native[name]) for name in names}
    unlikely = {name: p for name, p in found.items() if p < SIGNIFICANCE / len(found)}
    assert unlikely == {}


def test_the_comparison_would_notice_a_bias():
    generator = np.random.default_rng(0)
    fair, other = (Counter(generator.integers(0, 6, n).tolist()) for n in (UPSTREAM, NATIVE))
    biased = Counter(generator.integers(0, 7, NATIVE).tolist())
    assert chi_square(fair, other) > 0.01 > SIGNIFICANCE > chi_square(fair, biased)


@pytest.mark.parametrize("env_id", MULTIGRID_IDS)
def test_every_id_starts_without_python(env_id):
    for cells, agents, _ in native_layouts(lambda: make_env(env_id, 3), 5, seed=0):
        assert all(cells[x, y, 0] == 1 for x, y, _ in agents)


def test_agents_start_where_they_are_told_to():
    layouts = native_layouts(
        lambda: make_env("MultiGrid-Empty-8x8-v0", 2, agent_start_pos=(3, 4), agent_start_dir=2),
        3,
        seed=0,
    )
    assert [agents for _, agents, _ in layouts] == [[(3, 4, 2)] * 2] * 3


@pytest.mark.parametrize(
    ("env_id", "num_agents", "options"),
    [
        ("MultiGrid-Empty-Random-5x5-v0", 10, {}),
        ("MultiGrid-RedBlueDoors-6x6-v0", 10, {"size": 5}),
        ("MultiGrid-BlockedUnlockPickup-v0", 15, {"room_size": 5}),
        ("MultiGrid-Playground-v0", 1, {"room_size": 3}),
        ("MultiGrid-LockedHallway-2Rooms-v0", 5, {"room_size": 4}),
    ],
)
def test_a_layout_without_room_is_the_error_that_python_raises(env_id, num_agents, options):
    def make():
        return make_env(env_id, num_agents, **options)

    with pytest.raises(EnvError, match="no room") as python:
        make().reset(seed=0)
    with pytest.raises(EnvError) as batched:
        BatchedMultiGrid(make, 3)
    assert str(batched.value) == str(python.value)


def test_kernels_find_that_there_is_no_room_themselves():
    batched = BatchedMultiGrid(lambda: make_env("MultiGrid-Empty-Random-5x5-v0", 8), 3)
    batched._native._blank.objects[1:-1, 1:-1] = 0  # walls everywhere
    with pytest.raises(EnvError, match=r"no room for 8 agents .*rejection sampling failed"):
        batched.reset(0)
