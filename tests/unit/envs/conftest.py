from __future__ import annotations

import pytest
from gymnasium import spaces
from pettingzoo import ParallelEnv

NUMBER = spaces.Box(-10.0, 10.0, (2,))


class ScriptedEnv(ParallelEnv):
    """Plays a script, whatever the agents do.

    Args:
        script: one dict per moment, the first for the reset: `agents` there are after it, and
            optionally who `terminated`, was `truncated`, and who is `hidden` (no observation).
        observation_spaces: per agent; a Box of two numbers (moment, moment) by default.
    """

    def __init__(self, script, observation_spaces=None):
        self.script = script
        self.metadata = {"name": "scripted", "render_modes": []}
        self.render_mode = None
        names = {agent for moment in script for agent in moment["agents"]}
        self.possible_agents = sorted(names)
        self.agents = []
        self.acted = []
        self._spaces = observation_spaces or dict.fromkeys(names, NUMBER)
        self._actions = {a: spaces.Discrete(i + 2) for i, a in enumerate(self.possible_agents)}

    def observation_space(self, agent):
        return self._spaces[agent]

    def action_space(self, agent):
        return self._actions[agent]

    def reset(self, seed=None, options=None):
        self.moment = 0
        return self._look([])[0], {agent: {} for agent in self.agents}

    def step(self, actions):
        assert set(actions) == set(self.agents)
        self.acted.append(set(actions))
        self.moment += 1
        before = self.agents
        observations, moment = self._look(before)
        ends = [
            {agent: agent in moment.get(kind, ()) for agent in before}
            for kind in ("terminated", "truncated")
        ]
        everybody = {agent: {"moment": self.moment} for agent in self.possible_agents}
        return observations, dict.fromkeys(before, 1.0), *ends, everybody

    def _look(self, before):
        moment = self.script[self.moment]
        self.agents = list(moment["agents"])
        seen = [a for a in {*before, *self.agents} if a not in moment.get("hidden", ())]
        return {agent: self._observation(agent) for agent in seen}, moment

    def _observation(self, agent):
        space = self._spaces[agent]
        return space.low * 0 + self.moment if space is NUMBER else space.sample()


@pytest.fixture
def scripted_env():
    """Returns the class of environments that play a script."""
    return ScriptedEnv
