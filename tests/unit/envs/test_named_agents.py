"""Agents are named by text, whatever the environment calls them."""

from __future__ import annotations

import pytest

from empo_rllib.envs.named_agents import with_names


@pytest.fixture
def numbered(scripted_env):
    """An environment with the agents 0 and (1, 2); the first leaves."""
    script = [{"agents": [0, (1, 2)]}, {"agents": [(1, 2)], "terminated": [0]}, {"agents": []}]

    class Numbered(scripted_env):
        def __init__(self):
            super().__init__([{**moment, "agents": []} for moment in script])
            from gymnasium import spaces

            self.script = script
            self.possible_agents = [0, (1, 2)]
            self._spaces = dict.fromkeys(self.possible_agents, spaces.Discrete(3))
            self._actions = {0: spaces.Discrete(2), (1, 2): spaces.Discrete(4)}

    return Numbered()


def test_everything_is_called_by_text_and_the_environment_hears_its_own_ids(numbered):
    env = with_names(numbered)
    seen, infos = env.reset()
    assert env.possible_agents == env.agents == list(seen) == list(infos) == ["0", "(1, 2)"]
    assert env.action_space("(1, 2)").n == 4

    parts = env.step({"0": 1, "(1, 2)": 2})

    assert numbered.acted == [{0, (1, 2)}]
    assert env.agents == ["(1, 2)"]
    assert all(set(part) <= {"0", "(1, 2)"} for part in parts)
    assert parts[2] == {"0": True, "(1, 2)": False}


def test_texts_stay_as_they_are(scripted_env):
    env = scripted_env([{"agents": "ab"}])
    assert with_names(env) is env


@pytest.mark.parametrize("ids", [[0, "0"], [["left"], ["right"]], [None]])
def test_what_cannot_be_named_is_left_for_others_to_refuse(numbered, ids):
    numbered.possible_agents = ids
    assert with_names(numbered) is numbered
