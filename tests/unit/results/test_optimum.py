"""The optimum is what the best of all ways to play earns."""

from __future__ import annotations

import itertools

import pytest

from empo_rllib.envs.registry import make_env
from empo_rllib.results.optimum import best_return, optimal_return

LEFT, RIGHT, FORWARD, DONE = 0, 1, 2, 6


class BruteForce:
    """Plays every joint action from every state that can be reached, in the real environment."""

    def __init__(self, env):
        self.env = env
        self.known = {}

    def best(self):
        self.env.reset(seed=0)
        self.initial = self.state()
        return self.best_from(self.initial)

    def state(self):
        grid = self.env.env
        agents = [
            (tuple(map(int, a.state.pos)), int(a.state.dir), bool(a.state.terminated))
            for a in grid.agents
        ]
        return grid.step_count, tuple(agents), tuple(self.env.agents)

    def restore(self, state):
        grid = self.env.env
        grid.step_count, agents, there = state
        for agent, (position, direction, terminated) in zip(grid.agents, agents, strict=True):
            agent.state.pos, agent.state.dir = position, direction
            agent.state.terminated = terminated
        self.env.agents = list(there)

    def best_from(self, state):
        if state not in self.known:
            there = state[2]
            choices = itertools.product([LEFT, RIGHT, FORWARD, DONE], repeat=len(there))
            self.known[state] = max((self.play(state, c) for c in choices), default=0.0)
        return self.known[state]

    def play(self, state, choice):
        self.restore(state)
        _, rewards, _, _, _ = self.env.step(dict(zip(state[2], choice, strict=True)))
        after = self.state()
        return sum(rewards.values()) + (self.best_from(after) if after[2] else 0.0)


@pytest.mark.parametrize("mode", ["any", "all"])
@pytest.mark.parametrize("joint_reward", [False, True])
@pytest.mark.parametrize(("num_agents", "size", "max_steps"), [(1, 5, 9), (2, 4, 5), (2, 4, 3)])
def test_the_search_agrees_with_playing_everything(mode, joint_reward, num_agents, size, max_steps):
    env = make_env(
        "MultiGrid-Empty-5x5-v0",
        num_agents,
        size=size,
        max_steps=max_steps,
        joint_reward=joint_reward,
        success_termination_mode=mode,
    )
    assert optimal_return(env, [0]) == pytest.approx(BruteForce(env).best(), abs=1e-12)


def test_random_starts_have_an_optimum_each():
    env = make_env("MultiGrid-Empty-Random-5x5-v0", 1, size=4, max_steps=8)
    found = []
    for seed in range(12):
        env.reset(seed=seed)
        brute = BruteForce(env)
        found.append(brute.best_from(brute.state()))
    assert len(set(found)) > 3
    assert optimal_return(env, range(12)) == pytest.approx(sum(found) / 12, abs=1e-12)


def test_the_optimum_of_the_main_job_is_that_of_the_readme():
    env = make_env("MultiGrid-Empty-8x8-v0", 2)
    assert optimal_return(env, range(3)) == pytest.approx(0.961, abs=5e-4)


def test_a_goal_out_of_reach_is_worth_nothing():
    assert optimal_return(make_env("MultiGrid-Empty-8x8-v0", 2, max_steps=5), [0]) == 0.0


@pytest.mark.parametrize(
    ("env_id", "num_agents", "kwargs"),
    [
        ("MultiGrid-RedBlueDoors-6x6-v0", 2, {}),
        ("MultiGrid-Empty-5x5-v0", 2, {"allow_agent_overlap": False}),
        ("CartPole-v1", None, {}),
    ],
)
def test_it_is_unknown_elsewhere(env_id, num_agents, kwargs):
    env = make_env(env_id, num_agents, **kwargs)
    assert optimal_return(env, [0]) is None
    env.close()


def test_joint_arrivals_are_best_one_at_a_time():
    together = {"end_with_first": False, "joint_reward": True}
    pays = lambda step: 1 - 0.9 * step / 10  # noqa: E731
    assert best_return([3, 3], 10, **together) == pytest.approx(2 * pays(3) + pays(4))
    assert best_return([3, 7, None], 10, **together) == pytest.approx(3 * pays(3) + 2 * pays(7))
    assert best_return([10, 10], 10, **together) == pytest.approx(2 * pays(10))
