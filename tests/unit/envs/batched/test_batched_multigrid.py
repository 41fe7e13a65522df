"""What `VectorEnv` promises, and that copies are independent and repeatable."""

from __future__ import annotations

from collections import Counter
from itertools import permutations

import numba
import numpy as np
import pytest
from scipy.stats import chisquare

from empo_rllib.envs.batched import kernel as kernels
from empo_rllib.envs.batched.multigrid import BatchedMultiGrid
from empo_rllib.envs.batched.seeded import SeededMultiGrid
from empo_rllib.envs.batched.support import batched_problem
from empo_rllib.envs.multigrid import MultiGridParallelEnv
from empo_rllib.envs.registry import make_env

from multigrid.base import MultiGridEnv  # isort: skip
from multigrid.core.world_object import Key  # isort: skip
from multigrid.envs import EmptyEnv  # isort: skip

FORWARD, DONE = 2, 6


class OwnLayout(EmptyEnv):
    def _gen_grid(self, width, height):
        super()._gen_grid(width, height)
        self.put_obj(Key(self._rand_color()), *self._rand_pos(2, 4, 1, 4))


def own_layout(**kwargs):
    return lambda: MultiGridParallelEnv(OwnLayout(agents=2, size=6, **kwargs))


def of_id(env_id, num_agents=2, **kwargs):
    return lambda: make_env(env_id, num_agents, **kwargs)


RANDOM = of_id("MultiGrid-Empty-Random-6x6-v0", max_steps=10)


def snapshot(batched, seen=None):
    arrays = [*(seen or batched.observations)[0], batched.present, batched.rewards]
    return [array.copy() for array in (*arrays, batched.terminated, batched.truncated)]


def play(batched, steps, seed=0):
    generator = np.random.default_rng(seed)
    shape = batched.num_envs, len(batched.agents)
    for _ in range(steps):
        actions = generator.integers(0, 7, (100, len(batched.agents)))[: shape[0]]
        batched.step([actions])
        yield snapshot(batched)


def equal(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_nobody_waits_for_upstreams_kernel_of_observations(monkeypatch):
    """It compiles for ten seconds. Only layouts of one's own are played before."""

    def gen_obs(grid):
        raise AssertionError("upstream's observations are asked for")

    monkeypatch.setattr(MultiGridEnv, "gen_obs", gen_obs)
    assert batched_problem(RANDOM()) is None
    batched = BatchedMultiGrid(RANDOM, 2)
    batched.reset(seed=3)
    assert sum(1 for _ in play(batched, 5)) == 5
    SeededMultiGrid(RANDOM, 2).reset(seed=3)


@pytest.mark.parametrize(
    "make",
    [RANDOM, own_layout(max_steps=10), of_id("MultiGrid-BlockedUnlockPickup-v0", max_steps=9)],
)
class TestSeeds:
    def test_a_seed_repeats_everything(self, make):
        one, other = BatchedMultiGrid(make, 4), BatchedMultiGrid(make, 4)
        one.reset(7)
        list(play(one, 5))
        one.reset(3)
        other.reset(3)
        assert equal(snapshot(one), snapshot(other))
        assert all(equal(a, b) for a, b in zip(play(one, 30), play(other, 30), strict=True))

    def test_other_seeds_and_none_give_something_else(self, make):
        batched = BatchedMultiGrid(make, 8)
        starts = []
        for seed in (1, 2, None, None):
            batched.reset(seed)
            starts.append(snapshot(batched))
        assert not any(equal(starts[i], starts[j]) for i in range(4) for j in range(i))

    def test_a_copy_does_not_depend_on_how_many_others_there_are(self, make):
        few, many = BatchedMultiGrid(make, 2), BatchedMultiGrid(make, 9)
        few.reset(5)
        many.reset(5)
        for a, b in zip(play(few, 30), play(many, 30), strict=True):
            assert equal(a, [array[:2] for array in b])

    def test_copies_differ(self, make):
        batched = BatchedMultiGrid(make, 6)
        batched.reset(0)
        images = batched.observations[0][1]
        assert len({image.tobytes() for image in images}) > 1


def test_python_layouts_are_those_of_the_python_environment():
    """Each copy has one of its own, so that what a layout remembers stays with its copy."""
    batched = BatchedMultiGrid(own_layout(max_steps=2), 3)
    batched.reset(11)
    python = own_layout(max_steps=2)()
    seed = int(np.random.SeedSequence(11).generate_state(3, np.uint64)[2] % 2**31)
    observations, _ = python.reset(seed=seed)
    for _ in range(4):
        assert np.array_equal(batched.observations[0][1][2, 1], observations["agent_1"]["image"])
        for _ in range(2):
            batched.step([np.full((3, 2), DONE)])
        assert batched.episode_over.all()
        observations, _ = python.reset()


class TestEpisodes:
    def test_arrays_are_written_in_place(self):
        batched = BatchedMultiGrid(RANDOM, 3)
        before = [*batched.observations[0], *batched.final_observations[0], batched.present]
        batched.reset(0)
        list(play(batched, 15))
        after = [*batched.observations[0], *batched.final_observations[0], batched.present]
        assert all(a is b for a, b in zip(before, after, strict=True))

    def test_an_episode_that_ends_is_followed_by_the_next(self):
        make = of_id("MultiGrid-Empty-8x8-v0", max_steps=3)
        batched = BatchedMultiGrid(make, 2)
        batched.reset(0)
        start = snapshot(batched)[:2]
        forward = [np.full((2, 2), FORWARD)]
        for _ in range(2):
            batched.step(forward)
            assert not batched.episode_over.any()
            assert (batched.success == -1).all()
        batched.step(forward)
        assert batched.episode_over.all()
        assert batched.truncated.all()
        assert not batched.terminated.any()
        assert (batched.success == 0).all()
        assert batched.present.all()
        assert equal(snapshot(batched)[:2], start)
        python = make()
        python.reset(seed=0)
        for _ in range(3):
            observations, *_ = python.step(dict.fromkeys(python.agents, FORWARD))
        final = batched.final_observations[0][1]
        assert np.array_equal(final[0, 0], observations["agent_0"]["image"])

    def test_success_is_told_and_paid_to_the_one_who_arrives(self):
        batched = BatchedMultiGrid(of_id("MultiGrid-Empty-5x5-v0", agent_start_pos=(2, 3)), 1)
        batched.reset(0)
        batched.step([np.array([[FORWARD, DONE]])])
        assert batched.terminated.tolist() == [[True, True]]
        assert batched.rewards.tolist() == [[pytest.approx(1 - 0.9 / 100), 0.0]]
        assert batched.success.tolist() == [1]

    def test_who_has_left_is_absent_and_keeps_the_last_observation(self):
        options = {"success_termination_mode": "all", "joint_reward": True}
        make = of_id("MultiGrid-Empty-5x5-v0", agent_start_pos=(2, 3), **options)
        batched = BatchedMultiGrid(make, 1)
        batched.reset(0)
        batched.step([np.array([[FORWARD, DONE]])])
        assert batched.terminated.tolist() == [[True, False]]
        assert batched.present.tolist() == [[False, True]]
        assert not batched.episode_over.any()
        last = batched.observations[0][1][0, 0].copy()
        batched.step([np.array([[FORWARD, FORWARD]])])
        assert batched.terminated.tolist() == [[False, True]]
        assert batched.rewards[0, 0] == 0
        assert batched.rewards[0, 1] > 0
        assert batched.episode_over.all()
        assert np.array_equal(batched.final_observations[0][1][0, 0], last)

    def test_actions_of_any_integer_type_and_layout_are_taken(self):
        make = of_id("MultiGrid-Empty-8x8-v0")
        one, other = BatchedMultiGrid(make, 3), BatchedMultiGrid(make, 3)
        one.reset(0)
        other.reset(0)
        actions = np.array([[FORWARD, 1], [0, FORWARD], [1, 1]])
        one.step([actions])
        other.step([np.asfortranarray(actions.astype(np.int32))])
        assert equal(snapshot(one), snapshot(other))


def test_every_order_of_action_is_equally_likely():
    batched = BatchedMultiGrid(of_id("MultiGrid-Empty-8x8-v0", 3), 500)
    batched.reset(0)
    orders = Counter()
    for _ in range(12):
        batched.step([np.full((500, 3), DONE)])
        orders.update(map(tuple, batched._worlds.orders.tolist()))
    assert orders.keys() == set(permutations(range(3)))
    assert chisquare(list(orders.values())).pvalue > 1e-3


def test_nothing_is_compiled_after_construction():
    batched = BatchedMultiGrid(of_id("MultiGrid-Playground-v0", max_steps=3), 2)
    with numba.core.event.install_recorder("numba:compile") as recorder:
        batched.reset(0)
        list(play(batched, 8))
    assert recorder.buffer == []


def test_kernels_work_where_nothing_can_be_cached(monkeypatch):
    njit = numba.njit

    def without_cache(cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return njit(**options)

    monkeypatch.setattr(kernels, "_njit", without_cache)

    @kernels.kernel
    def double(array):
        return 2 * array[0]

    assert double(np.array([4])) == 8


def test_close_closes_every_python_environment():
    closed = []
    batched = BatchedMultiGrid(own_layout(), 3)
    for template in batched._templates:
        template.close = lambda: closed.append(1)
    batched.close()
    assert len(closed) == 3
