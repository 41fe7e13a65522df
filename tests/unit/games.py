"""Small games that follow a script: who comes, leaves, waits, ends, and what is paid."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from gymnasium import spaces
from pettingzoo import ParallelEnv

# One entry per moment, the first after the reset: `agents` are those that are there after it. By
# default all that were there or come are given an observation, and what was there is paid.
# `waits`: there, without an observation; `unseen`: an end without a last observation; `silent`: an
# end without a flag; `unpaid`: no reward; `after`: paid after it left.
GAMES = {
    "one": ["a", "a", ("", {"terminated": "a"})],
    "one, cut off": ["a", "a", "a", ("", {"truncated": "a"})],
    "one step": ["a", ("", {"terminated": "a"})],
    "two": ["ab", "ab", "ab", ("", {"terminated": "ab"})],
    "two, cut off": ["ab", "ab", ("", {"truncated": "ab"})],
    "both flags": ["ab", ("", {"truncated": "ab", "terminated": "a"})],
    "mixed end": ["ab", "ab", ("", {"terminated": "a", "truncated": "b"})],
    "a leaves": ["ab", ("b", {"terminated": "a"}), "b", ("", {"terminated": "b"})],
    "a is cut off": ["ab", ("b", {"truncated": "a"}), "b", ("", {"terminated": "b"})],
    "a leaves, then cut off": ["ab", ("b", {"terminated": "a"}), ("", {"truncated": "b"})],
    "leave one by one": [
        "abc",
        ("bc", {"terminated": "a"}),
        ("c", {"truncated": "b"}),
        "c",
        ("", {"terminated": "c"}),
    ],
    "b joins": ["a", "ab", "ab", ("", {"terminated": "ab"})],
    "b joins in the last step but one": ["a", "a", "ab", ("", {"terminated": "ab"})],
    "b takes over": ["a", ("b", {"terminated": "a"}), "b", ("", {"terminated": "b"})],
    "b joins, a is cut off": ["a", "ab", ("b", {"truncated": "a"}), ("", {"truncated": "b"})],
    "join one by one": ["a", "ab", "abc", "abc", ("", {"terminated": "abc"})],
    "leaves silently": ["ab", ("b", {"silent": "a"}), "b", ("", {"terminated": "b"})],
    "no last observation": [
        "ab",
        ("b", {"terminated": "a", "unseen": "a"}),
        ("", {"terminated": "b"}),
    ],
    "no last observation, cut off": ["ab", "ab", ("", {"truncated": "ab", "unseen": "ab"})],
    "forgets to pay": ["ab", ("ab", {"unpaid": "b"}), "ab", ("", {"terminated": "ab"})],
    "pays those that left": [
        "ab",
        ("b", {"terminated": "a"}),
        ("b", {"after": "a"}),
        ("", {"truncated": "b"}),
    ],
    "turns": [
        ("ab", {"waits": "b"}),
        ("ab", {"waits": "a"}),
        ("ab", {"waits": "b"}),
        ("ab", {"waits": "a"}),
        ("", {"terminated": "ab"}),
    ],
    "turns, cut off": [("ab", {"waits": "b"}), ("ab", {"waits": "a"}), ("", {"truncated": "ab"})],
    "turns of three": [
        ("abc", {"waits": "bc"}),
        ("abc", {"waits": "ac"}),
        ("abc", {"waits": "ab"}),
        ("abc", {"waits": "bc"}),
        ("", {"terminated": "abc"}),
    ],
    "never a turn": [("ab", {"waits": "b"}), ("ab", {"waits": "b"}), ("", {"terminated": "ab"})],
    "pauses": [
        "ab",
        ("ab", {"waits": "b"}),
        ("ab", {"waits": "b"}),
        "ab",
        ("", {"terminated": "ab"}),
    ],
    "all pause": ["ab", ("ab", {"waits": "ab"}), "ab", ("", {"terminated": "ab"})],
    "ends while it waits": [
        "ab",
        ("ab", {"waits": "b"}),
        ("a", {"terminated": "b"}),
        ("", {"terminated": "a"}),
    ],
    "cut off while it waits": [
        "ab",
        ("ab", {"waits": "b"}),
        ("a", {"truncated": "b"}),
        ("", {"truncated": "a"}),
    ],
    "joins and waits": ["a", ("ab", {"waits": "b"}), "ab", ("", {"terminated": "ab"})],
    "leaves and joins and waits": [
        "ab",
        ("bc", {"terminated": "a", "waits": "b"}),
        "bc",
        ("c", {"truncated": "b"}),
        ("", {"terminated": "c"}),
    ],
}


def paid(agent, moment):
    """What an agent is paid at a moment: a number that no other sum of them makes."""
    return float(2 ** (2 * moment + "abc".index(agent)) % 1021) / 8


class Game(ParallelEnv):
    """A game of `GAMES`, whatever its agents do. Agents have spaces of their own.

    Attributes:
        acted: the actions of every step, in all games that any copy has played.
    """

    acted: ClassVar[list[dict[str, int]]] = []

    metadata = {"name": "game"}
    render_mode = None

    def __init__(self, game):
        self.script = [m if isinstance(m, tuple) else (m, {}) for m in GAMES[game]]
        self.possible_agents = sorted({a for agents, _ in self.script for a in agents})
        self.agents = []
        self._seen = {a: spaces.Box(-1e3, 1e3, (i + 1,)) for i, a in enumerate("abc")}
        self._acts = {a: spaces.Discrete(i + 2, start=i) for i, a in enumerate("abc")}

    def observation_space(self, agent):
        return self._seen[agent]

    def action_space(self, agent):
        return self._acts[agent]

    def reset(self, seed=None, options=None):
        self.moment = 0
        return self._look([]), {agent: {} for agent in self.agents}

    def step(self, actions):
        assert all(self._acts[agent].contains(action) for agent, action in actions.items())
        self.acted.append(dict(actions))
        self.moment += 1
        before = self.agents
        notes = self.script[self.moment][1]
        seen = self._look(before)
        rewards = {
            agent: paid(agent, self.moment)
            for agent in {*before, *self.agents, *notes.get("after", "")}
            if agent not in notes.get("unpaid", "")
        }
        ends = [
            {agent: agent in notes.get(kind, "") for agent in before}
            for kind in ("terminated", "truncated")
        ]
        return seen, rewards, *ends, {agent: {} for agent in seen}

    def render(self):
        return np.zeros((8, 8, 3), np.uint8)

    def _look(self, before):
        agents, notes = self.script[self.moment]
        self.agents = list(agents)
        hidden = notes.get("waits", "") + notes.get("unseen", "")
        return {
            agent: np.full(self._seen[agent].shape, self.moment, np.float32)
            for agent in sorted({*before, *self.agents})
            if agent not in hidden
        }
