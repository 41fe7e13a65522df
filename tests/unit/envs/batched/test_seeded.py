"""The same seed and actions give the same episode in kernels and in Python."""

from __future__ import annotations

import numpy as np
import pytest

from empo_rllib.envs.batched.multigrid import BatchedMultiGrid
from empo_rllib.envs.batched.seeded import SeededMultiGrid
from empo_rllib.envs.multigrid import MultiGridParallelEnv
from empo_rllib.envs.registry import MULTIGRID_IDS, make_env

from multigrid.core.world_object import Ball, Key  # isort: skip
from multigrid.envs import EmptyEnv  # isort: skip

SEEDS = (7, 3, 2**32 - 1)
MANY_STEPS = 100  # more than orders are drawn at a time


class OwnLayout(EmptyEnv):
    def _gen_grid(self, width, height):
        super()._gen_grid(width, height)
        self.put_obj(Key(self._rand_color()), *self._rand_pos(2, 4, 1, 4))


def own_layout():
    return MultiGridParallelEnv(OwnLayout(agents=2, size=6, max_steps=MANY_STEPS))


def draw_actions(seed, num_agents):
    """Mostly forward, so that agents meet and arrive."""
    generator = np.random.default_rng(seed)
    return generator.choice(7, (1000, num_agents), p=[0.2, 0.2, 0.4, 0.05, 0.05, 0.05, 0.05])


def play_in_python(make, seed):
    env = make()
    observations, _ = env.reset(seed=seed)
    actions = draw_actions(seed, len(env.possible_agents))
    seen, paid = [observations], []
    while env.agents:
        chosen = dict(zip(env.possible_agents, actions[len(paid)], strict=True))
        observations, rewards, _, _, infos = env.step({a: chosen[a] for a in env.agents})
        seen.append(observations)
        paid.append(rewards)
    return seen, paid, next(iter(infos.values()))["success"]


def assert_plays_as_python(make, seeds=SEEDS):
    expected = [play_in_python(make, seed) for seed in seeds]
    grids = SeededMultiGrid(make, len(seeds))
    grids.begin(range(len(seeds)), seeds)
    actions = np.array([draw_actions(seed, len(grids.agents)) for seed in seeds])
    for t in range(max(len(paid) for _, paid, _ in expected)):
        before = grids.present.copy()
        seen_before = [leaf.copy() for leaf in grids.observations[0]]
        grids.step([actions[:, t]])
        for n, (seen, paid, success) in enumerate(expected):
            if t >= len(paid):
                assert not before[n].any()
                continue
            rewards = dict(zip(grids.agents, grids.paid[n].tolist(), strict=True))
            assert {a: r for a, r in rewards.items() if r} == {
                a: r for a, r in paid[t].items() if r
            }
            assert bool(grids.episode_over[n]) == (t == len(paid) - 1)
            if t == len(paid) - 1:
                assert grids.success[n] == success
            for column in np.flatnonzero(before[n]):
                observation = seen[t][grids.agents[column]]
                for leaf, name in zip(seen_before, sorted(observation), strict=True):
                    assert np.array_equal(leaf[n, column], observation[name])
    grids.close()


@pytest.mark.parametrize("env_id", MULTIGRID_IDS)
def test_every_id_plays_the_episode_of_the_seed(env_id):
    assert_plays_as_python(lambda: make_env(env_id, 3, max_steps=MANY_STEPS))


@pytest.mark.parametrize("num_agents", [1, 2])
@pytest.mark.parametrize("mode", ["any", "all"])
def test_rewards_are_pythons_to_the_last_digit(num_agents, mode):
    options = {"success_termination_mode": mode, "joint_reward": mode == "all"}
    assert_plays_as_python(
        lambda: make_env("MultiGrid-Empty-Random-5x5-v0", num_agents, max_steps=300, **options),
        range(20),
    )


def test_layouts_of_other_classes_are_those_of_the_seed():
    assert_plays_as_python(own_layout)


def test_agents_that_bar_each_others_way_move_in_pythons_order():
    assert_plays_as_python(
        lambda: make_env("MultiGrid-Empty-Random-5x5-v0", 4, allow_agent_overlap=False), range(10)
    )


def test_a_copy_begins_again_while_others_play_on():
    make = lambda: make_env("MultiGrid-Empty-Random-5x5-v0", 2, max_steps=30)  # noqa: E731
    grids = SeededMultiGrid(make, 2)
    grids.begin([0, 1], [1, 2])
    for _ in range(5):
        grids.step([np.full((2, 2), 6)])
    before = [leaf[1].copy() for leaf in grids.observations[0]]
    grids.begin([0], [9])

    first, _ = make().reset(seed=9)
    assert np.array_equal(grids.observations[0][1][0, 1], first["agent_1"]["image"])
    assert all(np.array_equal(a, b[1]) for a, b in zip(before, grids.observations[0], strict=True))
    assert grids.present.all()


def test_one_python_environment_serves_all_copies():
    made = []

    def make():
        made.append(own_layout())
        return made[-1]

    SeededMultiGrid(make, 50)
    assert len(made) == 1


def test_episodes_with_objects_of_ones_own_are_played_in_python(toy_class, caplog):
    class SomeToys(OwnLayout):
        def _gen_grid(self, width, height):
            super()._gen_grid(width, height)
            if self._rand_bool():
                self.put_obj(Ball().view(toy_class), 1, 2)

    def make():
        return MultiGridParallelEnv(SomeToys(agents=2, size=6, max_steps=MANY_STEPS))

    assert_plays_as_python(make, tuple(range(8)))
    assert len(caplog.records) == 1
    assert "SomeToys: its layout has objects of type Toy" in caplog.text


def test_a_copy_plays_in_kernels_again_after_an_episode_in_python(toy_class):
    class ToysInOddOnes(OwnLayout):
        layouts = 0

        def _gen_grid(self, width, height):
            super()._gen_grid(width, height)
            self.layouts += 1
            if self.layouts % 2:
                self.put_obj(Ball().view(toy_class), 1, 2)

    def make():
        return MultiGridParallelEnv(ToysInOddOnes(agents=2, size=6, max_steps=3))

    batched = BatchedMultiGrid(make, 3)
    batched.reset(0)
    for episode in range(5):
        in_python = set(batched._in_python)
        assert len(in_python) in (0, 1, 2, 3)
        assert batched.present.all()
        for step in range(3):
            batched.step([np.full((3, 2), 6)])
            assert (batched.episode_over == (step == 2)).all()
        assert batched.truncated.all(), episode
        assert (batched.success == 0).all()
        assert in_python.isdisjoint(batched._in_python)
