"""Python environments behind arrays, judged by the same scripts as the adapter to RLlib."""

from __future__ import annotations

import numpy as np
import pytest
from games import Game
from gymnasium import spaces

from empo_rllib.envs.multi_agent_env import ParallelMultiAgentEnv
from empo_rllib.envs.python_envs import PythonEnvs
from empo_rllib.envs.registry import make_env
from empo_rllib.errors import EnvError

CUT_OFF = [
    {"agents": "abc"},
    {"agents": "bc", "terminated": "a"},
    {"agents": "", "truncated": "bc"},
]


@pytest.fixture
def scripted(scripted_env):
    """Makes PythonEnvs that play a script; every agent acts 0."""

    def make(script, num_envs=2):
        envs = PythonEnvs(lambda: ParallelMultiAgentEnv(scripted_env(script)), num_envs)
        envs.reset()
        return envs

    return make


def step(envs):
    envs.step([np.zeros((envs.num_envs, len(group.columns)), int) for group in envs.groups])


def test_an_agent_that_left_is_not_present_and_earns_nothing(scripted):
    envs = scripted(CUT_OFF)
    step(envs)
    assert envs.terminated.tolist() == [[True, False, False]] * 2
    assert envs.truncated.any() == np.False_
    assert envs.present.tolist() == [[False, True, True]] * 2
    step(envs)
    assert envs.rewards.tolist() == [[0.0, 1.0, 1.0]] * 2


def test_a_cut_off_episode_truncates_whoever_is_left_and_starts_the_next(scripted):
    envs = scripted(CUT_OFF)
    step(envs)
    assert not envs.episode_over.any()
    step(envs)
    assert envs.episode_over.all()
    assert envs.truncated.tolist() == [[False, True, True]] * 2
    assert not envs.terminated.any()
    assert envs.present.all()
    for group, leaves in zip(envs.groups, envs.observations, strict=True):
        assert leaves[0].tolist() == [[[0.0, 0.0]] * len(group.columns)] * 2


def test_the_last_observation_of_a_left_agent_stays_until_the_next_step(scripted):
    envs = scripted(CUT_OFF)
    step(envs)
    assert envs.observations[0][0][:, 0].tolist() == [[1.0, 1.0]] * 2


def test_final_observations_are_those_after_the_last_step(scripted):
    envs = scripted(CUT_OFF)
    step(envs)
    step(envs)
    for leaves in envs.final_observations[1:]:  # agents b and c: agent a left before
        assert leaves[0].tolist() == [[[2.0, 2.0]]] * 2


def test_an_agent_that_joins_late_is_present_from_then_on(scripted):
    envs = scripted([{"agents": "a"}, {"agents": "ab"}, {"agents": "", "terminated": "ab"}])
    assert envs.present.tolist() == [[True, False]] * 2
    step(envs)
    assert envs.present.all()
    assert envs.rewards.tolist() == [[1.0, 0.0]] * 2


def test_episodes_end_each_in_its_own_time(scripted_env):
    scripts = [
        [{"agents": "a"}, {"agents": "", "terminated": "a"}],
        [{"agents": "a"}, {"agents": "a"}, {"agents": "", "terminated": "a"}],
    ]
    makers = iter(scripts)
    envs = PythonEnvs(lambda: ParallelMultiAgentEnv(scripted_env(next(makers))), 2)
    envs.reset()
    seen = []
    for _ in range(4):
        step(envs)
        seen.append(envs.episode_over.tolist())
    assert seen == [[True, False], [True, True], [True, False], [True, True]]


@pytest.mark.parametrize("flag", [True, False, None])
def test_success_is_what_the_environment_says(scripted_env, flag):
    class Telling(scripted_env):
        def step(self, actions):
            *parts, _ = super().step(actions)
            return *parts, {"a": {} if flag is None else {"success": flag}}

    script = [{"agents": "a"}, {"agents": "", "terminated": "a"}]
    envs = PythonEnvs(lambda: ParallelMultiAgentEnv(Telling(script)), 2)
    envs.reset()
    step(envs)
    assert envs.success.tolist() == [-1 if flag is None else int(flag)] * 2


def test_an_environment_may_keep_and_change_the_actions_it_gets(scripted_env):
    kept = []

    class Keeping(scripted_env):
        def action_space(self, agent):
            return spaces.Box(-9.0, 9.0, (1,))

        def step(self, actions):
            kept.append(actions["a"])
            actions["a"] += 100
            return super().step(actions)

    script = [{"agents": "a"}, {"agents": "a"}, {"agents": "", "terminated": "a"}]
    envs = PythonEnvs(lambda: ParallelMultiAgentEnv(Keeping(script)), 1)
    envs.reset()
    actions = np.zeros((1, 1, 1))
    for value in (1.0, 2.0):
        actions[:] = value
        envs.step([actions])
        assert (actions == value).all()
    assert [action.tolist() for action in kept] == [[101.0], [102.0]]


def test_agents_with_other_spaces_have_arrays_of_their_own(scripted_env):
    seen = {"a": spaces.Discrete(100), "b": spaces.Box(-9.0, 9.0, (2,))}
    script = [{"agents": "ab"}, {"agents": "ab"}]
    envs = PythonEnvs(lambda: ParallelMultiAgentEnv(scripted_env(script, seen)), 3)
    envs.reset()
    assert [group.columns for group in envs.groups] == [(0,), (1,)]
    assert [leaves[0].shape for leaves in envs.observations] == [(3, 1), (3, 1, 2)]
    assert (envs.observations[1][0] != 0).any()


def test_the_arrays_hold_what_each_environment_returns():
    def make():
        return ParallelMultiAgentEnv(make_env("MultiGrid-Empty-Random-5x5-v0", 3, max_steps=9))

    envs = PythonEnvs(make, 2)
    envs.reset(seed=5)
    alone = [make(), make()]
    seeds = np.random.SeedSequence(5).generate_state(2).tolist()
    seen = [env.reset(seed=seed)[0] for env, seed in zip(alone, seeds, strict=True)]
    generator = np.random.default_rng(0)
    for _ in range(60):
        for n, observations in enumerate(seen):
            for column, agent in enumerate(envs.agents):
                for key, leaf in zip(("direction", "image"), envs.observations[0], strict=True):
                    assert np.array_equal(leaf[n, column], observations[agent][key])
        actions = generator.integers(0, 7, (2, 3))
        envs.step([actions])
        for n, env in enumerate(alone):
            chosen = dict(zip(envs.agents, actions[n].tolist(), strict=True))
            seen[n], rewards, terminateds, truncateds, _ = env.step(
                {agent: chosen[agent] for agent in env.acting_agents}
            )
            expected = [np.float32(rewards.get(agent, 0.0)) for agent in envs.agents]
            assert envs.rewards[n].tolist() == expected
            over = terminateds["__all__"] or truncateds["__all__"]
            assert envs.episode_over[n] == over
            if over:
                seen[n], _ = env.reset()


class Stateful(Game):
    """Its state is the moment."""

    state_space = spaces.Box(0.0, 9.0, (2,))

    def state(self):
        return np.full(2, self.moment, np.float32)


def moments_of(game, num_steps, kind=Game, **settings):
    """Yields the envs after the reset and after each step."""
    envs = PythonEnvs(lambda: ParallelMultiAgentEnv(kind(game)), 1, **settings)
    envs.reset()
    yield envs
    for _ in range(num_steps):
        starts = [group.action_space.start for group in envs.groups]
        envs.step(
            [np.full((1, len(g.columns)), s) for g, s in zip(envs.groups, starts, strict=True)]
        )
        yield envs


@pytest.mark.parametrize(
    ("game", "there", "acting"),
    [
        ("leave one by one", ["abc", "bc", "c", "c", "abc"], ["abc", "bc", "c", "c", "abc"]),
        ("join one by one", ["a", "ab", "abc", "abc", "a"], ["a", "ab", "abc", "abc", "a"]),
        # One that waits before its first observation has none to be seen by.
        ("turns", ["a", "ab", "ab", "ab", "a"], ["a", "b", "a", "b", "a"]),
        ("pauses", ["ab", "ab", "ab", "ab", "ab"], ["ab", "a", "a", "ab", "ab"]),
        ("leaves and joins and waits", ["ab", "bc", "bc", "c", "ab"], ["ab", "c", "bc", "c", "ab"]),
    ],
)
def test_those_are_there_who_act_or_wait_after_an_observation(game, there, acting):
    for envs, who, acts in zip(moments_of(game, 4), there, acting, strict=True):
        assert named(envs, envs.there) == who
        assert named(envs, envs.present) == acts


def named(envs, flags):
    return "".join(a for a, flag in zip(envs.agents, flags[0], strict=True) if flag)


def test_the_state_is_kept_before_each_step_and_at_the_end():
    seen, ends = [], []
    for envs in moments_of("two", 3, Stateful, with_state=True):
        seen.append(envs.state[0].tolist())
        if envs.episode_over[0]:
            ends.append(envs.final_state[0].tolist())
    assert seen == [[[moment] * 2] for moment in (0.0, 1.0, 2.0, 0.0)]
    assert ends == [[[3.0, 3.0]]]


def test_a_state_that_is_not_of_its_space_is_refused():
    class Broken(Stateful):
        def state(self):
            return np.full(2, np.nan, np.float32)

    envs = moments_of("two", 1, Broken, with_state=True)
    with pytest.raises(EnvError, match=r"state\(\), episode step 0: the observation is NaN"):
        next(envs)
