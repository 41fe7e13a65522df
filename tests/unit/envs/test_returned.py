"""NaN and infinity from an environment are refused in the step that returns them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from gymnasium import spaces

from empo_rllib.acting.play import LiveEpisode
from empo_rllib.envs.multi_agent_env import ParallelMultiAgentEnv
from empo_rllib.envs.python_envs import PythonEnvs
from empo_rllib.envs.registry import env_creator
from empo_rllib.envs.returned import ObservationCheck
from empo_rllib.errors import EnvError

NESTED = spaces.Dict(
    {
        "image": spaces.Box(0, 255, (2, 2), np.uint8),
        "parts": spaces.Tuple([spaces.Discrete(3), spaces.Box(-1.0, 1.0, (2, 2))]),
    }
)


@pytest.fixture
def strange_env(scripted_env):
    """Makes an environment of agents a and b, where b meets a number in its third step."""

    class Strange(scripted_env):
        def __init__(self, reward=1.0, number=0.0):
            super().__init__([{"agents": "ab"}] * 9)
            self.strange = reward, number

        def step(self, actions):
            seen, paid, *ends = super().step(actions)
            if self.moment == 3:
                paid["b"], seen["b"][1] = self.strange
            return seen, paid, *ends

    return Strange


def play(env, steps):
    env.reset()
    for _ in range(steps):
        env.step(dict.fromkeys("ab", 0))


@pytest.mark.parametrize(
    ("strange", "found"),
    [
        ({"reward": math.nan}, "the reward is NaN."),
        ({"reward": math.inf}, "the reward is infinite."),
        ({"reward": -math.inf}, "the reward is minus infinite."),
        ({"number": math.nan}, "the observation is NaN at [1]."),
        (
            {"number": math.inf},
            "the observation is infinite at [1]. Set env.allow_infinite_observations: true to "
            "allow that.",
        ),
    ],
)
def test_the_message_names_env_copy_agent_step_and_number(strange_env, strange, found):
    env = ParallelMultiAgentEnv(strange_env(**strange))
    play(env, 2)
    with pytest.raises(EnvError) as refused:
        play(env, 3)
    assert str(refused.value) == f"scripted (copy 0): agent b, episode step 3: {found}"


def test_a_first_observation_is_refused_at_step_0(scripted_env):
    class Strange(scripted_env):
        def _observation(self, agent):
            return np.array([math.nan, 0.0])

    with pytest.raises(EnvError, match=r"agent a, episode step 0: the observation is NaN at \[0\]"):
        ParallelMultiAgentEnv(Strange([{"agents": "a"}])).reset()


def test_infinite_observations_can_be_allowed_and_nan_cannot(strange_env):
    play(ParallelMultiAgentEnv(strange_env(number=math.inf), (), False, True), 5)
    with pytest.raises(EnvError, match="NaN"):
        play(ParallelMultiAgentEnv(strange_env(number=math.nan), (), False, True), 5)


def test_rllib_scripts_can_allow_infinite_observations():
    env = env_creator("CartPole-v1")({"allow_infinite_observations": True, "flat": False})
    env.env.env.reset = lambda **_: (np.array([0.0, math.inf, 0.0, 0.0], np.float32), {})
    assert math.isinf(env.reset()[0]["agent_0"][1])


def test_the_copy_is_named(strange_env):
    instances = iter([strange_env(), strange_env(), strange_env(reward=math.nan)])
    envs = PythonEnvs(lambda: ParallelMultiAgentEnv(next(instances)), 3)
    envs.reset()
    actions = [np.zeros((3, len(group.columns)), int) for group in envs.groups]
    envs.step(actions)
    envs.step(actions)
    with pytest.raises(EnvError, match=r"scripted \(copy 2\): agent b"):
        envs.step(actions)


def test_evaluation_and_films_refuse_them_too(strange_env):
    episode = LiveEpisode(ParallelMultiAgentEnv(strange_env(reward=math.nan)), seed=0)
    actions = dict.fromkeys("ab", 0)
    episode.step(actions)
    episode.step(actions)
    with pytest.raises(EnvError, match="the reward is NaN"):
        episode.step(actions)


def test_nested_observations_are_named_down_to_the_number():
    check = ObservationCheck(NESTED, allow_infinite=False)
    seen = {"image": np.zeros((2, 2), np.uint8), "parts": (0, np.zeros((2, 2), np.float32))}
    assert check.find(seen) is None
    seen["parts"][1][1] = math.nan
    found = "the observation is NaN at ['parts'][1][1, 0], and in 1 more places."
    assert check.find(seen) == found


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_large_numbers_are_finite(dtype):
    largest = np.finfo(dtype).max
    check = ObservationCheck(spaces.Box(-largest, largest, (3,), dtype), allow_infinite=False)
    assert check.find(np.array([largest, -largest, 0], dtype)) is None


def test_what_is_no_array_of_the_space_is_not_looked_at():
    assert ObservationCheck(spaces.Text(5), allow_infinite=False).find(object()) is None


def grid(top=3):
    """A grid of categories, as MultiGrid's."""
    return spaces.Box(0, np.broadcast_to(np.array([top, 1], np.uint8), (2, 2, 2)), dtype=np.uint8)


@pytest.mark.parametrize(
    ("space", "seen", "found"),
    [
        (spaces.Box(-1, 1, (2,)), None, "observation is None, where the space has an array"),
        (spaces.Box(-1, 1, (2,)), 0.5, "observation is a float, where the space has an array"),
        (spaces.Box(-1, 1, (2,)), [0.0, 0.0], "observation is a list"),
        (spaces.Box(-1, 1, (2,)), np.zeros(1), "has shape (1,), not (2,)"),
        (spaces.Box(-1, 1, (2,)), np.zeros((1, 2)), "has shape (1, 2), not (2,)"),
        (spaces.Box(-1, 1, ()), np.zeros(1), "has shape (1,), not ()"),
        (spaces.Box(-1, 1, (1,)), np.array(["a"]), "has dtype <U1, which holds no numbers"),
        (spaces.Box(0, 9, (2,), np.uint8), np.full(2, 0.5), "has dtype float64, the space uint8"),
        (spaces.Discrete(3), 3, "observation = 3 is above the bound 2"),
        (spaces.Discrete(3, start=1), 0, "observation = 0 is below the bound 1"),
        (spaces.Discrete(3), np.array([1]), "has shape (1,), not ()"),
        (spaces.Discrete(3), 1.0, "has dtype float64, the space int64"),
        (spaces.MultiDiscrete([2, 3]), np.array([1, 3]), "observation[1] = 3 is above the bound 2"),
        (spaces.MultiBinary(2), np.array([0, 2], np.int8), "observation[1] = 2 is above the bound"),
        (grid(), np.full((2, 2, 2), 2, np.uint8), "observation[0, 0, 1] = 2 is above the bound 1"),
        (NESTED, {"image": np.zeros((2, 2), np.uint8)}, "observation has no 'parts'"),
        (NESTED, np.zeros(3), "observation is a ndarray, where the space is a Dict"),
        (
            NESTED,
            {"image": np.zeros((2, 2), np.uint8), "parts": (0, np.zeros(2, np.float32))},
            "observation['parts'][1] has shape (2,), not (2, 2)",
        ),
    ],
)
def test_what_would_be_learned_from_as_something_else_is_refused(space, seen, found):
    check = ObservationCheck(space, allow_infinite=False)
    assert not check.passes(seen)
    assert found in check.find(seen)


@pytest.mark.parametrize(
    ("space", "seen"),
    [
        (spaces.Box(-1, 1, (2,)), np.full(2, 7.0)),  # beyond the bounds, and of another precision
        (spaces.Box(-1, 1, (2,)), np.zeros(2, np.int64)),
        (spaces.Box(-1, 1, ()), 0.5),
        (spaces.Box(0, 255, (2,), np.uint8), np.zeros(2, np.int64)),
        (spaces.Discrete(3), np.int64(2)),
        (spaces.Discrete(3), True),
        (spaces.Discrete(3), np.array(2)),
        (grid(), np.full((2, 2, 2), 1, np.uint8)),
    ],
)
def test_other_forms_of_the_same_are_accepted(space, seen):
    assert ObservationCheck(space, allow_infinite=False).find(seen) is None


@pytest.mark.parametrize(
    ("space", "seen"),
    [
        (spaces.Box(-1, 1, (2,)), np.zeros(2, np.float32)),
        (spaces.Box(-1, 1, (2,)), np.zeros(2)),
        (spaces.Box(-1, 1, (2, 3)), np.zeros((2, 3), np.float32)),
        (spaces.Box(0, 255, (2, 2, 3), np.uint8), np.full((2, 2, 3), 255, np.uint8)),
        (spaces.Discrete(3), 2),
        (spaces.Discrete(3, start=-1), np.int64(-1)),
        (spaces.MultiDiscrete([2, 3], start=[1, 0]), np.array([2, 0])),
        (spaces.MultiBinary(2), np.array([0, 1], np.int8)),
        (grid(), np.full((2, 2, 2), 1, np.uint8)),
        (NESTED, {"image": np.zeros((2, 2), np.uint8), "parts": (2, np.zeros((2, 2)))}),
    ],
)
def test_usual_observations_pass_at_first_sight(space, seen):
    check = ObservationCheck(space, allow_infinite=False)
    assert check.passes(seen)
    assert check.find(seen) is None


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_not_finite_do_not_pass_at_first_sight(number):
    seen = {"image": np.zeros((2, 2), np.uint8), "parts": (2, np.array([[0, 0], [number, 0]]))}
    assert not ObservationCheck(NESTED, allow_infinite=False).passes(seen)


@pytest.mark.parametrize("wrong", [None, 0.5, np.zeros(3)])
def test_the_error_names_environment_copy_agent_step_and_what_is_expected(scripted_env, wrong):
    class Wrong(scripted_env):
        def _observation(self, agent):
            late = agent == "b" and self.moment == 2
            return wrong if late else super()._observation(agent)

    env = ParallelMultiAgentEnv(Wrong([{"agents": "ab"}] * 9))
    place = r"scripted \(copy 0\): agent b, episode step 2: observation .*(an array|not \(2,\))"
    with pytest.raises(EnvError, match=place):
        play(env, 2)


@pytest.mark.parametrize("reward", [None, [1.0], np.ones(1), "1"])
def test_a_reward_is_one_number(strange_env, reward):
    with pytest.raises(EnvError, match=r"agent b, episode step 3: the reward is .*one number"):
        play(ParallelMultiAgentEnv(strange_env(reward=reward)), 3)


def test_an_agent_that_is_not_listed_is_refused(scripted_env):
    inner = scripted_env([{"agents": "ab"}] * 3)
    env = ParallelMultiAgentEnv(inner)
    inner.script = [{"agents": "ab"}, {"agents": ["a", "b", "x"]}]
    inner._observation = lambda agent: np.zeros(2, np.float32)
    with pytest.raises(EnvError, match=r"agents hold \['x'\], and possible_agents are"):
        play(env, 1)


def test_observations_of_agents_that_are_not_listed_are_refused(scripted_env):
    class Renames(scripted_env):
        def step(self, actions):
            seen, *others = super().step(actions)
            return {f"other_{agent}": one for agent, one in seen.items()}, *others

    with pytest.raises(EnvError, match=r"observations hold \['other_a', 'other_b'\]"):
        play(ParallelMultiAgentEnv(Renames([{"agents": "ab"}] * 9)), 1)


def test_waiting_for_ever_is_refused(scripted_env):
    script = [{"agents": "ab"}] + [{"agents": "ab", "hidden": "ab"}] * 1002
    inner = scripted_env(script)
    inner.step = lambda actions, step=inner.step: step(dict.fromkeys("ab", 0))
    env = ParallelMultiAgentEnv(inner)
    env.reset()
    for _ in range(1000):
        env.step({})
    with pytest.raises(EnvError, match="a, b are there, and in 1,000 steps nobody was given"):
        env.step({})
