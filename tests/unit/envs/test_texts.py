"""Texts in observations."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from empo_rllib.algorithms.setup import open_env, set_up_trial
from empo_rllib.config.load import validate_config
from empo_rllib.envs.registry import make_env
from empo_rllib.envs.sources import adapt
from empo_rllib.envs.texts import with_readable_texts
from empo_rllib.errors import ConfigError, EnvError


class Missions(gym.Space):
    """As `minigrid.core.mission.MissionSpace`."""

    def __init__(self, mission_func, ordered_placeholders=None):
        super().__init__(dtype=str)
        self.mission_func, self.ordered_placeholders = mission_func, ordered_placeholders


class NumberedMissions(spaces.MultiDiscrete):
    """As mosaic-multigrid's: declared as numbers, and observed as texts in arrays."""

    def __init__(self, mission_func, arg_groups):
        super().__init__([len(group) for group in arg_groups])
        self.mission_func, self.arg_groups = mission_func, arg_groups


COLOURS = ["red", "green"]
SPACES = {
    "missions": Missions(lambda colour, thing: f"get the {colour} {thing}", [COLOURS, ["key"]]),
    "numbered": NumberedMissions(lambda colour: f"get the {colour} key", [COLOURS]),
    "one mission": Missions(lambda: "get to the goal"),
    "text": spaces.Text(20),
}


class Told(gym.Env):
    """Agents are told something beside what they see."""

    action_space = spaces.Discrete(2)

    def __init__(self, told="missions", said="get the red key"):
        parts = {"image": spaces.Box(0, 9, (2,)), "more": spaces.Tuple([SPACES[told]] * 2)}
        self.observation_space = spaces.Dict({**parts, "mission": SPACES[told]})
        self.said = said

    def reset(self, *, seed=None, options=None):
        return self._look(), {}

    def step(self, action):
        return self._look(), 0.0, True, False, {}

    def _look(self):
        return {"image": np.zeros(2, np.float32), "more": (self.said,) * 2, "mission": self.said}


ID = f"{__name__}:Told"


def experiment(told, **env):
    env = {"id": ID, "kwargs": {"told": told}, **env}
    return validate_config({"name": "run", "env": env, "algorithm": {"name": "PPO"}})


def test_texts_of_a_known_set_are_numbers():
    env = make_env(ID)
    space = env.observation_space("agent_0")
    assert space["mission"] == spaces.Discrete(2)
    seen = env.reset()[0]["agent_0"]
    assert (seen["mission"], seen["more"]) == (1, (1, 1))
    assert space.contains({**seen, "mission": np.int64(1), "more": (np.int64(1),) * 2})
    assert env.step({"agent_0": 0})[0]["agent_0"]["mission"] == 1
    assert make_env(ID, told="one mission").observation_space("agent_0")["mission"].n == 1


def test_missions_that_are_declared_as_numbers_are_those():
    env = make_env(ID, told="numbered", said=np.array("get the red key"))
    assert env.observation_space("agent_0")["mission"] == spaces.Discrete(2)
    assert env.reset()[0]["agent_0"]["mission"] == 1


def test_a_text_outside_the_set_is_told():
    with pytest.raises(EnvError, match="the text 'fly', which its space has not"):
        make_env(ID, said="fly").reset()


def test_other_texts_are_refused_with_the_setting_that_leaves_them_out():
    with pytest.raises(ConfigError, match=r"observation\['mission'\].* env.drop_texts: true"):
        set_up_trial(experiment("text"))


def test_texts_are_left_out_on_demand():
    config = experiment("text", drop_texts=True)
    env = open_env(config.env)
    assert list(env.observation_space("agent_0")) == ["image"]
    assert list(env.reset()[0]["agent_0"]) == ["image"]
    set_up_trial(config)


def test_known_texts_stay_numbers_when_others_are_left_out():
    env = open_env(experiment("missions", drop_texts=True).env)
    assert env.observation_space("agent_0")["mission"] == spaces.Discrete(2)


def test_an_observation_of_nothing_but_texts_cannot_be_emptied():
    class Speaks(Told):
        def __init__(self):
            super().__init__("text")
            self.observation_space = SPACES["text"]

    with pytest.raises(EnvError, match="nothing but texts"):
        with_readable_texts(adapt("speaks", Speaks()), drop=True)
