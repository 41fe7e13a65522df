"""A healthy environment, and for each kind of finding one that is broken in just this way."""

from __future__ import annotations

import random
import time
import warnings

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from pettingzoo import ParallelEnv

AGENTS = ["agent_0", "agent_1"]
END = 12


class Healthy(ParallelEnv):
    """Two agents walk on a line, each with a speed drawn at the start; the last steps truncate."""

    metadata = {"name": "healthy_v0", "render_modes": []}
    render_mode = None

    def __init__(self):
        self.possible_agents = list(AGENTS)
        self.agents = []
        self.rng = np.random.default_rng()
        self._seen = {a: spaces.Box(-100.0, 100.0, (3,), np.float32) for a in AGENTS}
        self._acts = {a: spaces.Discrete(3) for a in AGENTS}

    def observation_space(self, agent):
        return self._seen[agent]

    def action_space(self, agent):
        return self._acts[agent]

    def reset(self, seed=None, options=None):
        if seed is not None:
            self.rng = np.random.default_rng(seed)
        self.agents = list(AGENTS)
        self.moment = 0
        self.end = int(self.rng.integers(END // 2, END))
        self.speed = {agent: self.rng.uniform(0.5, 1.5) for agent in AGENTS}
        self.position = dict.fromkeys(AGENTS, 0.0)
        return self.look(), self.infos()

    def step(self, actions):
        acting = list(self.agents)
        self.moment += 1
        for agent in acting:
            self.position[agent] += (actions[agent] - 1) * self.speed[agent]
        over = self.moment >= self.end
        if over:
            self.agents = []
        return (
            self.look(),
            {agent: self.reward(agent) for agent in acting},
            dict.fromkeys(acting, False),
            dict.fromkeys(acting, over),
            self.infos(),
        )

    def reward(self, agent):
        return float(self.position[agent])

    def look(self):
        return {agent: self.see(agent) for agent in AGENTS}

    def see(self, agent):
        numbers = self.position[agent], self.speed[agent], self.moment
        return np.array(numbers, np.float32)

    def infos(self):
        return {agent: {} for agent in AGENTS}

    def close(self):
        pass


class NoMetadata(Healthy):
    metadata = None


class ListedAgents(Healthy):
    def __init__(self):
        super().__init__()
        self.possible_agents = [["left"], ["right"]]


class ForgetsASpace(Healthy):
    def reset(self, seed=None, options=None):
        self._acts.pop(AGENTS[1], None)
        return super().reset(seed=seed, options=options)


class NoSpace(Healthy):
    def observation_space(self, agent):
        return None


class GrowingSpace(Healthy):
    episodes = 0

    def reset(self, seed=None, options=None):
        self.episodes += 1
        self._seen = {a: spaces.Box(-100.0 - self.episodes, 100.0, (3,)) for a in AGENTS}
        return super().reset(seed, options)


class TextSpace(Healthy):
    def __init__(self):
        super().__init__()
        self._seen = {a: spaces.Text(5) for a in AGENTS}

    def see(self, agent):
        return "abc"[: 1 + self.moment % 3]


class ResetRaises(Healthy):
    def reset(self, seed=None, options=None):
        raise RuntimeError("the floor is wet")


class ResetTakesNothing(Healthy):
    def reset(self):
        return super().reset()


class StepRaises(Healthy):
    def step(self, actions):
        if self.moment == 3:
            return {}["no such door"]
        return super().step(actions)


class Hangs(Healthy):
    def step(self, actions):
        while True:
            time.sleep(0.01)


class OldGym(Healthy):
    def step(self, actions):
        observations, rewards, dones, _, infos = super().step(actions)
        return observations, rewards, dones, infos


class NobodyThere(Healthy):
    def reset(self, seed=None, options=None):
        returned = super().reset(seed, options)
        self.agents = []
        return returned


class Stranger(Healthy):
    def step(self, actions):
        self.agents = list(AGENTS)
        returned = super().step(actions)
        self.agents = self.agents and [*self.agents, "agent_9"]
        return returned


class NeverRemoved(Healthy):
    def step(self, actions):
        returned = super().step(actions)
        self.agents = list(AGENTS)
        return returned


class ComesBack(Healthy):
    def step(self, actions):
        observations, _, terminations, truncations, infos = super().step(
            {**dict.fromkeys(AGENTS, 1), **actions}
        )
        terminations["agent_1"] = self.moment == 2
        if self.moment in (2, 3, 4):
            self.agents = list(AGENTS) if self.moment == 4 else ["agent_0"]
        there = {*actions, *self.agents}
        observations = {agent: observations[agent] for agent in there}
        return observations, dict.fromkeys(actions, 1.0), terminations, truncations, infos


class Blind(Healthy):
    def step(self, actions):
        return super().step({"agent_1": 1, **actions})

    def look(self):
        first = {"agent_0": self.see("agent_0")}
        return first if self.moment % 2 and self.agents else super().look()


class HalfADict(Healthy):
    def __init__(self):
        super().__init__()
        parts = {"place": spaces.Discrete(99), "speed": spaces.Box(0.0, 9.0, (1,))}
        self._seen = {agent: spaces.Dict(parts) for agent in AGENTS}

    def see(self, agent):
        return {"place": self.moment}


class TooLong(Healthy):
    def see(self, agent):
        return np.zeros(4, np.float32) + self.moment


class Fractions(Healthy):
    def __init__(self):
        super().__init__()
        self._seen = {a: spaces.Box(0, 255, (3,), np.uint8) for a in AGENTS}

    def see(self, agent):
        return np.abs(super().see(agent)) / 100


class DividesByZero(Healthy):
    def see(self, agent):
        seen = super().see(agent)
        if self.moment == 2:
            seen[1] = np.nan
        return seen


class OutOfBounds(Healthy):
    def see(self, agent):
        seen = super().see(agent)
        seen[2] = 1000 + self.moment
        return seen


class OneArray(Healthy):
    def __init__(self):
        super().__init__()
        self.arrays = {agent: np.zeros(3, np.float32) for agent in AGENTS}

    def see(self, agent):
        self.arrays[agent][:] = super().see(agent)
        return self.arrays[agent]


class PaysLists(Healthy):
    def reward(self, agent):
        return [1.0, 2.0]


class PaysNaN(Healthy):
    def reward(self, agent):
        return float("nan") if self.moment == 2 else 1.0


class FlagsAsText(Healthy):
    def step(self, actions):
        observations, rewards, _, truncations, infos = super().step(actions)
        return observations, rewards, dict.fromkeys(actions, "no"), truncations, infos


class NoInfo(Healthy):
    def infos(self):
        return dict.fromkeys(AGENTS)


class SucceedsALittle(Healthy):
    def infos(self):
        return {agent: {"success": 0.3} for agent in AGENTS}


class SharesState(Healthy):
    position = dict.fromkeys(AGENTS, 0.0)

    def reset(self, seed=None, options=None):
        super().reset(seed, options)
        del self.position  # that of the class is used again
        self.position.update(dict.fromkeys(AGENTS, 0.0))
        return self.look(), self.infos()


class Alone(Healthy):
    there = False

    def __init__(self):
        super().__init__()
        if Alone.there:
            raise OSError("the port is taken")
        Alone.there = True

    def close(self):
        Alone.there = False


class TwoAtMost(Healthy):
    there = 0

    def __init__(self):
        super().__init__()
        if TwoAtMost.there == 2:
            raise OSError("no port is left")
        TwoAtMost.there += 1

    def close(self):
        TwoAtMost.there -= 1


class Float64(Healthy):
    def see(self, agent):
        return super().see(agent).astype(np.float64)


class NoLastLook(Healthy):
    def look(self):
        return {agent: self.see(agent) for agent in self.agents}


class ForgetsToPay(Healthy):
    def step(self, actions):
        observations, rewards, *rest = super().step(actions)
        return observations, {"agent_0": rewards["agent_0"]}, *rest


class ForgetsAFlag(Healthy):
    def step(self, actions):
        observations, rewards, _, truncations, infos = super().step(actions)
        return observations, rewards, {}, truncations, infos


class LeavesSilently(Healthy):
    def step(self, actions):
        observations, rewards, terminations, _, infos = super().step(actions)
        return observations, rewards, terminations, dict.fromkeys(actions, False), infos


class HalfTheInfos(Healthy):
    def infos(self):
        return {"agent_0": {}}


class PaysTheGone(Healthy):
    def step(self, actions):
        everybody = {**dict.fromkeys(AGENTS, 1), **actions}
        observations, rewards, terminations, truncations, infos = super().step(everybody)
        terminations["agent_1"] = self.moment == 2
        if self.moment >= 2:
            self.agents = [agent for agent in self.agents if agent == "agent_0"]
        return observations, {**rewards, "agent_1": 5.0}, terminations, truncations, infos


class WritesIntoActions(Healthy):
    def __init__(self):
        super().__init__()
        self._acts = {agent: spaces.Box(-1.0, 1.0, (1,)) for agent in AGENTS}

    def step(self, actions):
        for action in actions.values():
            action *= 2
        return super().step({agent: float(action[0]) for agent, action in actions.items()})


class MayDoNothing(Healthy):
    size = 3

    def __init__(self):
        super().__init__()
        parts = {"action_mask": spaces.MultiBinary(self.size), "own": self._seen["agent_0"]}
        self._seen = {agent: spaces.Dict(parts) for agent in AGENTS}

    def see(self, agent):
        mask = np.full(self.size, self.moment < 5, np.int8)
        return {"action_mask": mask, "own": super().see(agent)}


class ShortMask(MayDoNothing):
    size = 2


class MaskInInfos(Healthy):
    def infos(self):
        return {agent: {"action_mask": np.ones(3, np.int8)} for agent in AGENTS}


class Unseeded(Healthy):
    def reset(self, seed=None, options=None):
        return super().reset(time.perf_counter_ns(), options)


class NoisySteps(Healthy):
    def reward(self, agent):
        return float(np.random.default_rng().random())


class SeedsOnlyWhenAsked(Healthy):
    """The first episode is repeatable, those after it are not."""

    def reset(self, seed=None, options=None):
        return super().reset(time.perf_counter_ns() if seed is None else seed, options)


class Tired(Healthy):
    tiredness = 1.0

    def reset(self, seed=None, options=None):
        returned = super().reset(seed, options)
        self.tiredness *= 0.9
        return returned

    def reward(self, agent):
        return self.tiredness * super().reward(agent)


class GlobalNumpy(Healthy):
    def reward(self, agent):
        return float(np.random.random())


class GlobalRandom(Healthy):
    def reset(self, seed=None, options=None):
        returned = super().reset(seed, options)
        random.random()
        return returned


class Endless(Healthy):
    def step(self, actions):
        self.end = self.moment + 2
        for agent in self.position:
            self.position[agent] /= 2
        self.moment %= 50
        return super().step(actions)


class Stares(Healthy):
    def see(self, agent):
        return np.ones(3, np.float32)


class Ghost(Healthy):
    def __init__(self):
        super().__init__()
        self.possible_agents = [*AGENTS, "agent_2"]
        self._seen["agent_2"] = self._seen["agent_0"]
        self._acts["agent_2"] = self._acts["agent_0"]


class CloseRaises(Healthy):
    def close(self):
        raise AttributeError("there is no window")


class NewSpaces(Healthy):
    def action_space(self, agent):
        return spaces.Discrete(3)


class Eager(Healthy):
    def __init__(self):
        super().__init__()
        super().reset()


class BothFlags(Healthy):
    def step(self, actions):
        observations, rewards, _, truncations, infos = super().step(actions)
        return observations, rewards, dict(truncations), truncations, infos


class TerminatesAtTheLimit(Healthy):
    def step(self, actions):
        self.end = 9
        observations, rewards, terminations, truncations, infos = super().step(actions)
        return observations, rewards, truncations, terminations, infos


class NeverPays(Healthy):
    def reward(self, agent):
        return 0.0


class Talks(Healthy):
    def step(self, actions):
        print("step", self.moment)
        return super().step(actions)


class Complains(Healthy):
    def step(self, actions):
        warnings.warn("the lamp flickers", stacklevel=1)
        return super().step(actions)


class GymReset(gym.Env):
    """A Gymnasium environment with the reset of old."""

    observation_space = spaces.Discrete(2)
    action_space = spaces.Discrete(2)

    def reset(self):
        return 0, {}


#: The finding that each must get, and the level of the worst.
BROKEN = {
    "NoMetadata": "metadata-missing",
    "ListedAgents": "agent-not-a-string",
    "ForgetsASpace": "space-missing",
    "NoSpace": "space-missing",
    "GrowingSpace": "space-changes",
    "TextSpace": "space-unsupported",
    "ResetRaises": "reset-raises",
    "ResetTakesNothing": "reset-refuses-arguments",
    "GymReset": "reset-refuses-arguments",
    "StepRaises": "step-raises",
    "Hangs": "call-hangs",
    "OldGym": "return-malformed",
    "NobodyThere": "no-agents-after-reset",
    "Stranger": "unknown-agent",
    "NeverRemoved": "agent-acts-after-end",
    "ComesBack": "agent-comes-back",
    "HalfADict": "observation-wrong-structure",
    "TooLong": "observation-wrong-shape",
    "Fractions": "observation-loses-values",
    "DividesByZero": "observation-not-finite",
    "OutOfBounds": "observation-outside-space",
    "OneArray": "observation-reused",
    "PaysLists": "reward-not-a-number",
    "PaysNaN": "reward-not-finite",
    "FlagsAsText": "flag-not-a-boolean",
    "NoInfo": "info-not-a-dict",
    "SucceedsALittle": "success-not-a-boolean",
    "Alone": "second-copy-fails",
    "TwoAtMost": "second-copy-fails",
    "SharesState": "instances-share-state",
    "Float64": "observation-wrong-dtype",
    "Blind": "agent-waits",
    "NoLastLook": "missing-final-observation",
    "ForgetsToPay": "missing-reward",
    "ForgetsAFlag": "missing-flag",
    "LeavesSilently": "end-without-flag",
    "HalfTheInfos": "infos-missing-agent",
    "PaysTheGone": "data-for-absent-agent",
    "WritesIntoActions": "actions-modified",
    "MayDoNothing": "action-mask-empty",
    "ShortMask": "action-mask-misfit",
    "MaskInInfos": "action-mask-in-infos",
    "Unseeded": "seed-ignored",
    "NoisySteps": "not-deterministic",
    "SeedsOnlyWhenAsked": "not-deterministic",
    "Tired": "state-survives-reset",
    "GlobalNumpy": "global-rng-used",
    "GlobalRandom": "global-rng-used",
    "Endless": "never-ends",
    "Stares": "observation-constant",
    "Ghost": "agent-never-there",
    "CloseRaises": "close-raises",
    "NewSpaces": "space-made-anew",
    "Eager": "step-before-reset-works",
    "BothFlags": "both-flags",
    "TerminatesAtTheLimit": "time-limit-as-termination",
    "NeverPays": "return-constant",
    "Talks": "prints",
    "Complains": "warns",
}
