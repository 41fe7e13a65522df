"""Action masks: where they come from, what they allow, and what is refused."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest
from gymnasium import spaces
from pettingzoo import ParallelEnv
from pettingzoo.classic import tictactoe_v3
from pettingzoo.utils.conversions import turn_based_aec_to_parallel

from benchmarks.masks import ENVS, illegal_actions
from empo_rllib.acting.play import play_episodes
from empo_rllib.acting.teams import random_team
from empo_rllib.algorithms.setup import open_env, set_up_trial
from empo_rllib.config.load import validate_config
from empo_rllib.envs.masks import MasksInObservations
from empo_rllib.envs.multi_agent_env import ParallelMultiAgentEnv
from empo_rllib.envs.registry import make_env
from empo_rllib.envs.sources import adapt
from empo_rllib.errors import ConfigError, EnvError


class Doors(ParallelEnv):
    """Two agents; in step t they may open the doors of `allowed[t]`.

    Args:
        in_infos: masks are in infos.
        size: entries of a mask.
        acts: the action space.
        box: actions are numbers.
    """

    metadata = {"name": "doors_v0"}
    render_mode = None

    def __init__(
        self, in_infos=False, size=3, acts=None, box=False, allowed=((1, 0, 1), (0, 1, 0))
    ):
        self.possible_agents = ["left", "right"]
        self.agents = []
        self.in_infos, self.allowed = in_infos, allowed
        self._acts = spaces.Discrete(3, start=5) if acts is None else acts
        self._acts = spaces.Box(-1.0, 1.0, (3,)) if box else self._acts
        look = spaces.Box(0.0, 9.0, (2,))
        parts = {"observation": look, "action_mask": spaces.MultiBinary(size)}
        self._seen = look if in_infos else spaces.Dict(parts)
        self.asked = []

    def observation_space(self, agent):
        return self._seen

    def action_space(self, agent):
        return self._acts

    def reset(self, seed=None, options=None):
        self.agents, self.moment = list(self.possible_agents), 0
        return self.look(), self.infos()

    def step(self, actions):
        self.asked.append(actions)
        self.moment += 1
        over = dict.fromkeys(self.agents, self.moment == len(self.allowed))
        seen, infos = self.look(), self.infos()
        rewards, nobody = dict.fromkeys(self.agents, 1.0), dict.fromkeys(self.agents, False)
        self.agents = [] if self.moment == len(self.allowed) else self.agents
        return seen, rewards, over, nobody, infos

    def mask(self):
        past = self.moment == len(self.allowed)
        return np.zeros(3, np.int8) if past else np.array(self.allowed[self.moment], np.int8)

    def look(self):
        seen = np.full(2, self.moment, np.float32)
        one = seen if self.in_infos else {"observation": seen, "action_mask": self.mask()}
        return dict.fromkeys(self.agents, one)

    def infos(self):
        infos = {"action_mask": self.mask()} if self.in_infos else {}
        return dict.fromkeys(self.agents, infos)


@pytest.fixture
def own_code(monkeypatch):
    """A module with `Doors` that experiments can name."""
    module = types.ModuleType("own_code")
    module.Doors = Doors
    monkeypatch.setitem(sys.modules, "own_code", module)


@pytest.fixture
def refusal(own_code):
    """Returns what an experiment with `Doors` is refused with."""

    def refuse(algorithm="PPO", **kwargs):
        env = {"id": "own_code:Doors", "kwargs": kwargs}
        with pytest.raises(ConfigError) as caught:
            set_up_trial(
                validate_config({"name": "run", "env": env, "algorithm": {"name": algorithm}})
            )
        return str(caught.value)

    return refuse


def test_the_random_policy_takes_legal_actions_of_the_masks():
    env = ParallelMultiAgentEnv(Doors())
    play_episodes(random_team(env.env, 0), [env], range(20), greedy=False)
    first, second = ([a for pair in env.env.asked[t::2] for a in pair.values()] for t in (0, 1))
    assert set(first) == {5, 7}
    assert set(second) == {6}


def test_an_action_that_is_not_allowed_is_refused_with_agent_and_step():
    env = ParallelMultiAgentEnv(Doors())
    env.reset()
    env.step({"left": 0, "right": 2})
    message = (
        r"doors_v0 \(copy 0\): agent right, episode step 1: action 0 is not allowed by its act"
    )
    with pytest.raises(EnvError, match=message):
        env.step({"left": 1, "right": 0})


def test_a_mask_that_allows_nothing_is_an_error_with_agent_and_step():
    env = ParallelMultiAgentEnv(Doors(allowed=[(1, 1, 1), (0, 0, 0)]))
    env.reset()
    with pytest.raises(EnvError, match=r"agent left, episode step 1: its action_mask .* no action"):
        env.step({"left": 0, "right": 0})


def test_each_dimension_of_an_action_has_its_part_of_the_mask():
    env = ParallelMultiAgentEnv(
        Doors(acts=spaces.MultiDiscrete([1, 2]), allowed=[(1, 0, 1), (1, 0, 0)])
    )
    env.reset()
    with pytest.raises(EnvError, match=r"agent left, episode step 1: its action_mask .* no action"):
        env.step({"left": np.array([0, 1]), "right": np.array([0, 1])})


def test_masks_in_infos_are_put_into_observations():
    env = MasksInObservations(Doors(in_infos=True))
    seen, _ = env.reset()
    assert env.observation_space("left").contains(seen["left"])
    assert seen["left"]["action_mask"].tolist() == [1, 0, 1]
    seen, *_ = env.step({"left": 5, "right": 5})
    assert seen["right"]["action_mask"].tolist() == [0, 1, 0]


@pytest.mark.usefixtures("own_code")
def test_the_experiment_file_says_that_masks_are_in_infos():
    env = {"id": "own_code:Doors", "kwargs": {"in_infos": True}, "masks_in_infos": True}
    config = validate_config({"name": "run", "env": env, "algorithm": {"name": "PPO"}})
    assert "action_mask" in open_env(config.env).observation_space("left").spaces


def test_a_mask_in_infos_of_another_shape_names_agent_and_shape():
    env = MasksInObservations(Doors(in_infos=True, acts=spaces.Discrete(4)))
    with pytest.raises(EnvError, match=r"infos of left .* shape \(3,\), .* have the shape \(4,\)"):
        env.reset()


@pytest.mark.usefixtures("own_code")
def test_that_is_found_before_anyone_trains():
    kwargs = {"in_infos": True, "allowed": [[1, 0], [0, 1]]}
    env = {"id": "own_code:Doors", "kwargs": kwargs, "masks_in_infos": True}
    config = validate_config({"name": "run", "env": env, "algorithm": {"name": "PPO"}})
    with pytest.raises(EnvError, match=r"infos of left .* shape \(2,\), .* have the shape \(3,\)"):
        set_up_trial(config)


def test_masks_of_other_actions_are_refused(refusal):
    assert "action_mask in observations has the shape (2,), and there are 3 acti" in refusal(size=2)
    assert "which is for Discrete and MultiDiscrete" in refusal(box=True)


def test_algorithms_whose_network_does_not_obey_masks_are_refused(refusal):
    message = refusal("DQN")
    assert "algorithm.name = 'DQN' trains RLlib's own network, which does not obey" in message
    assert "Take one of PPO, APPO, IMPALA" in message


@pytest.mark.parametrize(
    "kind", ["by its module", "as an AECEnv", "as PettingZoo makes it parallel"]
)
def test_in_a_game_by_turns_those_who_wait_see_nothing(kind):
    env = {
        "by its module": lambda: make_env("pettingzoo.classic.tictactoe_v3"),
        "as an AECEnv": lambda: adapt("own:game", tictactoe_v3.env()),
        "as PettingZoo makes it parallel": lambda: adapt(
            "own:game", turn_based_aec_to_parallel(tictactoe_v3.env())
        ),
    }[kind]()
    seen, _ = env.reset(seed=0)
    players = []
    for cell in (0, 3, 1, 4, 2):  # the first player's row is full
        players += seen
        ((player, one),) = seen.items()
        assert one["action_mask"][cell]
        seen, rewards, *_ = env.step({player: cell})
    assert players == ["player_1", "player_2"] * 2 + ["player_1"]
    assert seen.keys() == {"player_1", "player_2"}
    assert rewards == {"player_1": 1, "player_2": -1}
    assert env.agents == []


@pytest.mark.parametrize("env_id", ENVS)
def test_no_illegal_action_is_asked_for(env_id):
    asked, illegal = illegal_actions(env_id, 300)
    assert asked >= 300
    assert illegal == 0
