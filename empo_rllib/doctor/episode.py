"""One episode, whose every reset and step is checked."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from gymnasium import spaces

from empo_rllib.doctor.findings import GaveUp
from empo_rllib.doctor.spaces import legal_actions_of
from empo_rllib.doctor.subject import Subject
from empo_rllib.doctor.transitions import (
    RESET_PARTS,
    STEP_PARTS,
    absent_agents,
    flag_problems,
    info_problems,
    malformed,
    presence_problems,
    reward_problems,
    set_flags,
    unknown_agents,
)
from empo_rllib.envs.masks import mask_of
from empo_rllib.envs.observations import Problem, arrays_of, observation_problems
from empo_rllib.envs.returned import is_number


class RandomActions:
    """Draws actions, the same ones for the same seed; the environment's spaces stay as they are.

    They are those that masks allow.

    Args:
        subject: whose agents act.
        seed: of the actions.
    """

    def __init__(self, subject: Subject, seed: int) -> None:
        self._spaces = {}
        for number, agent in enumerate(subject.env.possible_agents):
            self._spaces[agent] = copy.deepcopy(subject.env.action_space(agent))
            self._spaces[agent].seed(seed + number)
        self._legal = {a: legal_actions_of(subject.env, a) for a in subject.env.possible_agents}

    def draw(self, episode: CheckedEpisode) -> dict[str, Any]:
        """Returns one action for each agent that acts next."""
        return {agent: self._draw(agent, episode.observations[agent]) for agent in episode.asked}

    def _draw(self, agent: str, seen: Any) -> Any:
        space, legal = self._spaces[agent], self._legal[agent]
        if legal is None or not isinstance(space, spaces.Discrete | spaces.MultiDiscrete):
            return space.sample()
        return legal.draw(space, np.asarray(mask_of(seen)))


class CheckedEpisode:
    """An episode under way, read as the samplers read it.

    Args:
        subject: the environment; it is reset.
        seed: of the reset.

    Raises:
        GaveUp: the environment cannot be played on.

    Attributes:
        present: who is there; nobody when the episode is over.
        length: env steps so far.
        observations: of the last reset or step.
        rewards: of each agent that has taken part, one for each of its steps.
        terminated: who ended by termination.
    """

    def __init__(self, subject: Subject, seed: int | None = None) -> None:
        self._subject = subject
        self._env = subject.env
        self._possible = list(subject.env.possible_agents)
        self._spaces = {a: subject.env.observation_space(a) for a in self._possible}
        self._legal = {a: legal_actions_of(subject.env, a) for a in self._possible}
        self._gone: set[str] = set()
        self._listed: list[str] = []
        self._kept: list[tuple[np.ndarray, np.ndarray]] = []
        self.length = 0
        self.terminated: set[str] = set()
        parts = self._split(subject.reset(seed), RESET_PARTS)
        self.observations, infos = parts
        self.present = self._agents_now()
        self.rewards: dict[str, list[float]] = {agent: [] for agent in self.present}
        if not self.present:
            subject.findings.add("no-agents-after-reset", f"agents = {self._agents_of_env()!r}")
            raise GaveUp
        self._note(info_problems(self.present, infos))
        self._check_given(self.present, {"observations": self.observations})
        self._check_observations(self.present)
        self._check_masks()
        for agent in self.asked:
            if self._legal[agent] is None and mask_of(infos.get(agent)) is not None:
                self._note([("action-mask-in-infos", f"infos[{agent!r}] hold an action_mask")])

    def step(self, actions: dict[str, Any]) -> None:
        """Plays one step.

        Raises:
            GaveUp: the environment cannot be played on.
        """
        acting, asked = self.present, self.asked
        given = copy.deepcopy(actions)
        returned = self._subject.step(given)
        self.length += 1
        self._check_actions(actions, given)
        seen, rewards, terminations, truncations, infos = self._split(returned, STEP_PARTS)
        before, present = self._listed, self._agents_now()
        terminated = set_flags(terminations, acting)
        ended = terminated | set_flags(truncations, acting)
        self._note(presence_problems(acting, ended, present, self._gone - set(before)))
        self._note(reward_problems(asked, rewards))
        self._note(flag_problems(acting, terminations, truncations))
        self._check_reused()
        self.observations = seen
        self.terminated |= terminated
        self._gone |= {a for a in acting if a in ended or a not in present}
        self.present = [agent for agent in present if agent not in self._gone]
        self._note(info_problems([a for a in acting if a in seen], infos))
        self._check_given([*acting, *present], {"observations": seen, "rewards": rewards})
        self._check_observations([*acting, *self.present])
        self._check_masks()
        for agent in dict.fromkeys([*acting, *self.present]):
            self.rewards.setdefault(agent, []).append(_number(rewards.get(agent)))

    @property
    def asked(self) -> list[str]:
        """Who acts next: those who are there and were given an observation."""
        return [agent for agent in self.present if agent in self.observations]

    def _check_given(self, allowed: Iterable[str], parts: Mapping[str, Mapping[Any, Any]]) -> None:
        """Checks who was given something."""
        for part in parts.values():
            self._note(unknown_agents(self._possible, part))
        self._note(absent_agents(set(allowed), self._possible, parts))

    def _check_observations(self, agents: list[str]) -> None:
        """Checks what agents were given, and keeps it until the next step."""
        for agent in dict.fromkeys(agents):
            if agent in self.observations:
                problems = observation_problems(self._spaces[agent], self.observations[agent])
                self._note((name, f"{agent}: {seen}") for name, seen in problems)
            elif agent in self.present:
                self._note([("agent-waits", f"{agent} has no observation")])
            else:
                self._note([("missing-final-observation", f"{agent} ended and has none")])
        seen = [self.observations[agent] for agent in agents if agent in self.observations]
        self._kept = [(array, array.copy()) for array in arrays_of(seen)]

    def _check_masks(self) -> None:
        """Looks whether all that act may do something."""
        for agent in self.asked:
            legal, mask = self._legal[agent], mask_of(self.observations[agent])
            if legal is None or np.shape(mask) != (legal.size,):
                continue
            if not legal.allow_any(np.asarray(mask)):
                self._note([("action-mask-empty", f"the action_mask of {agent} is all 0")])
                raise GaveUp

    def _check_reused(self) -> None:
        """Looks whether the last observations are still what they were."""
        for array, was in self._kept:
            equal_nan = array.dtype.kind == "f"
            if not np.array_equal(array, was, equal_nan=equal_nan):
                seen = "an array of the observations before changed in this step"
                self._note([("observation-reused", seen)])

    def _check_actions(self, actions: dict[str, Any], given: dict[str, Any]) -> None:
        same = given.keys() == actions.keys() and all(
            np.array_equal(given[agent], actions[agent]) for agent in actions
        )
        if not same:
            self._note([("actions-modified", "step() changed the actions that it was given")])

    def _split(self, returned: Any, parts: tuple[str, ...]) -> Any:
        if problem := malformed(returned, parts):
            method = "reset" if parts is RESET_PARTS else "step"
            place = self._subject.findings.places.of_method(method)
            self._subject.findings.add("return-malformed", f"{method}() {problem}", place)
            raise GaveUp
        return returned

    def _agents_of_env(self) -> Any:
        return getattr(self._env, "agents", None)

    def _agents_now(self) -> list[str]:
        """Returns who is there; agents that are not listed are reported and left out."""
        agents = self._agents_of_env()
        if not isinstance(agents, list | tuple):
            self._subject.findings.add("no-agents-after-reset", f"agents = {agents!r}")
            raise GaveUp
        self._note(unknown_agents(self._possible, agents))
        self._listed = [agent for agent in agents if agent in self._possible]
        return self._listed

    def _note(self, problems: Iterable[Problem]) -> None:
        when = f"step {self.length}" if self.length else "after reset"
        for name, seen in problems:
            place = "" if self.length else self._subject.findings.places.of_method("reset")
            self._subject.findings.add(name, f"{when}: {seen}", place)


def _number(reward: Any) -> float:
    return float(reward) if is_number(reward) and np.isfinite(reward) else 0.0
