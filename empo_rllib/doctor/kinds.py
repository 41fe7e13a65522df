"""Every kind of finding: how bad it is, the rule that is broken, and the cure.

error       training fails, or learns from something else than what happened
warning     training works, but not as its user will expect
note        worth knowing

`docs/doctor.md` lists them; the names are a contract for scripts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["error", "warning", "note"]
LEVELS: tuple[Level, ...] = ("error", "warning", "note")


@dataclass(frozen=True)
class Kind:
    """A kind of finding.

    Attributes:
        method: of the environment, whose line is shown where no better one is known; "" is the
            class.
        rule: what every environment must do.
        cure: what to change.
    """

    method: str
    rule: str
    cure: str


_ERRORS = {
    "metadata-missing": Kind(
        "",
        "metadata is a dict.",
        'Write metadata = {"name": "my_env_v0", "render_modes": []} in the class.',
    ),
    "agent-not-a-string": Kind(
        "__init__",
        "possible_agents are texts or numbers, each once: they name policies and columns.",
        'Call them "agent_0", "agent_1", ...',
    ),
    "space-missing": Kind(
        "observation_space",
        "observation_space(agent) and action_space(agent) return a gymnasium space for every "
        "possible agent, also before reset().",
        "Build the spaces in __init__ and return them.",
    ),
    "space-changes": Kind(
        "observation_space",
        "The spaces of an agent are the same for the environment's whole life: networks and "
        "arrays are made for them once.",
        "Declare the largest space in __init__ and pad what is smaller.",
    ),
    "space-unsupported": Kind(
        "__init__",
        "Observations are nested Dict and Tuple of Box, Discrete, MultiDiscrete and MultiBinary; "
        "actions are Discrete, MultiDiscrete, MultiBinary or Box.",
        "Change the space, leave texts out (env.drop_texts: true), or bring your own network "
        "(model.class).",
    ),
    "reset-raises": Kind("reset", "reset() starts an episode.", "See the line."),
    "reset-refuses-arguments": Kind(
        "reset",
        "reset() takes the keywords seed and options.",
        "Write def reset(self, seed=None, options=None).",
    ),
    "step-raises": Kind(
        "step",
        "step() takes every action of every agent's action space.",
        "See the line; an action without effect may be ignored there, but must not fail.",
    ),
    "call-hangs": Kind("step", "A call returns.", "See the line: it was there when time was up."),
    "return-malformed": Kind(
        "step",
        "reset() returns (observations, infos), step() returns (observations, rewards, "
        "terminations, truncations, infos): dicts by agent.",
        "Return these, also where there is one agent.",
    ),
    "no-agents-after-reset": Kind(
        "reset",
        "After reset() `agents` lists who acts.",
        "Set self.agents = self.possible_agents[:] in reset().",
    ),
    "unknown-agent": Kind(
        "step",
        "All agents that ever appear are in possible_agents.",
        "List it there from the beginning.",
    ),
    "agent-acts-after-end": Kind(
        "step",
        "An agent that is terminated or truncated leaves `agents` in that step.",
        "Remove it from self.agents in step().",
    ),
    "agent-comes-back": Kind(
        "step",
        "An agent that has left does not come back in the same episode: RLlib's episodes cannot "
        "hold it.",
        "Give it a new name, listed in possible_agents.",
    ),
    "observation-wrong-structure": Kind(
        "step",
        "An observation is nested as its space is, with arrays or numbers at the ends.",
        "Return exactly these parts, each as np.asarray(..., dtype) of its space.",
    ),
    "observation-wrong-shape": Kind(
        "step", "An observation has the shape of its space.", "Change the space or the array."
    ),
    "observation-loses-values": Kind(
        "step",
        "What is declared as integers are integers: fractions are cut off on the way to the "
        "network.",
        "Declare a float32 space.",
    ),
    "observation-not-finite": Kind(
        "step",
        "Observations are finite: one NaN makes the whole network NaN.",
        "Find the division or the logarithm that makes it. "
        "`env.allow_infinite_observations: true` accepts infinity.",
    ),
    "observation-outside-space": Kind(
        "step",
        "Observations lie in their space: categories outside cannot be encoded, bounds decide "
        "how numbers are scaled.",
        "Widen the space or clip the observation.",
    ),
    "observation-reused": Kind(
        "step",
        "An array that was returned is not written again: it is kept until the episode is learned "
        "from.",
        "Return a copy: observation.copy().",
    ),
    "reward-not-a-number": Kind("step", "A reward is one number.", "Return float(reward)."),
    "reward-not-finite": Kind(
        "step",
        "Rewards are finite: one NaN makes the whole network NaN.",
        "Find the division or the logarithm that makes it.",
    ),
    "flag-not-a-boolean": Kind(
        "step", "terminations and truncations are True or False.", "Return bool(...) for each."
    ),
    "info-not-a-dict": Kind("step", "The info of an agent is a dict.", "Return {} for each."),
    "action-mask-misfit": Kind(
        "observation_space",
        "An action_mask in observations has one number for each action, which are Discrete or "
        "MultiDiscrete.",
        "Declare a MultiBinary(n) for it, or call that part of the observation something else.",
    ),
    "action-mask-empty": Kind(
        "step",
        "The action_mask of an agent that acts allows at least one action.",
        "Allow one that has no effect, or return no observation for an agent whose turn it is not.",
    ),
    "second-copy-fails": Kind(
        "__init__",
        "Many copies of the environment can be made in one process.",
        "Take nothing that there is only one of (a port, a file), or give each copy its own.",
    ),
    "instances-share-state": Kind(
        "",
        "Two copies of the environment do not touch each other: many run in one process.",
        "Keep state on self, not on the class, in the module or in a default argument.",
    ),
}

_WARNINGS = {
    "observation-wrong-dtype": Kind(
        "step",
        "An observation has the dtype of its space; another is converted at every step.",
        "Return np.asarray(observation, dtype) of the space.",
    ),
    "agent-waits": Kind(
        "step",
        "An agent in `agents` without an observation is not asked for an action until it is given "
        "one: it waits for its turn.",
        "Where it should act, return an observation for it.",
    ),
    "missing-final-observation": Kind(
        "step",
        "An agent that ends is given a last observation; without one its previous one stands in.",
        "Return observations for all that acted, also for those that end.",
    ),
    "missing-reward": Kind(
        "step",
        "Every agent that acted is given a reward; without one it counts as 0.",
        "Return a reward for all that acted, also for those that end.",
    ),
    "missing-flag": Kind(
        "step",
        "Every agent that acted has its entry in terminations and truncations.",
        "Return both for all that acted.",
    ),
    "end-without-flag": Kind(
        "step",
        "An agent leaves `agents` when it is terminated or truncated; without a flag it counts "
        "as terminated, so that nothing is expected to follow.",
        "Set its flag in the step in which it leaves.",
    ),
    "infos-missing-agent": Kind(
        "step", "infos has an entry for every observed agent.", "Return {} for it."
    ),
    "data-for-absent-agent": Kind(
        "step",
        "Only agents that acted or appear are given something: the rest is dropped, rewards too.",
        "Pay what is left in the step in which the agent ends.",
    ),
    "success-not-a-boolean": Kind(
        "step",
        "`success` and `is_success` in infos are true or false, or 1 or 0: with anything else the "
        "episode counts as one that does not tell whether it succeeded.",
        "Return True or False, or use another key.",
    ),
    "actions-modified": Kind(
        "step",
        "step() does not write into the actions: the sampler `rllib` learns from these arrays.",
        "Work on a copy.",
    ),
    "action-mask-in-infos": Kind(
        "reset",
        "Policies obey the action_mask in observations; that in infos only where they are told to.",
        "Set env.masks_in_infos: true in the experiment file.",
    ),
    "seed-ignored": Kind(
        "reset",
        "reset(seed) repeats the first observations.",
        "Draw from a generator that reset(seed) makes: np.random.default_rng(seed).",
    ),
    "not-deterministic": Kind(
        "step",
        "After reset(seed) the same actions give the same episode, and so do later resets "
        "without a seed.",
        "Draw from the generator of reset(seed) everywhere; make a new one only if a seed is "
        "given.",
    ),
    "state-survives-reset": Kind(
        "reset",
        "An episode does not depend on those before it.",
        "Set everything that step() changes anew in reset().",
    ),
    "global-rng-used": Kind(
        "step",
        "Random numbers come from a generator of the environment; the global one is shared with "
        "all others in the process and not seeded by reset().",
        "Use np.random.default_rng(seed), kept on self.",
    ),
    "never-ends": Kind(
        "step",
        "Episodes end: returns are told, and `stop.episode_return_mean` is looked at, when they "
        "do.",
        "Truncate after a number of steps.",
    ),
    "observation-constant": Kind(
        "step",
        "What an agent sees changes with what happens.",
        "Return the new state, not the first one.",
    ),
    "agent-never-there": Kind(
        "reset",
        "possible_agents appear at some time; a policy is made for each.",
        "Remove it from possible_agents, if it never does.",
    ),
    "close-raises": Kind("close", "close() frees what the environment holds.", "See the line."),
}

_NOTES = {
    "space-made-anew": Kind(
        "observation_space",
        "observation_space(agent) and action_space(agent) return the same object each time, which "
        "PettingZoo's own test asks for; else seeding a space has no effect.",
        "Build the spaces in __init__ and return them.",
    ),
    "step-before-reset-works": Kind(
        "step",
        "step() needs a reset() first; results before one come from no episode.",
        "Leave self.agents empty until reset().",
    ),
    "both-flags": Kind(
        "step",
        "An agent is terminated or truncated; with both it counts as terminated.",
        "Set truncations only where the end is none of the task's.",
    ),
    "time-limit-as-termination": Kind(
        "step",
        "A time limit truncates: then the value of going on is estimated. Terminated means that "
        "nothing can follow.",
        "If this length is a limit, report it in truncations.",
    ),
    "return-constant": Kind(
        "step",
        "A random policy finds rewards that differ; otherwise learning starts by chance.",
        "Try an easier variant first, a denser reward or more exploration (entropy_coeff).",
    ),
    "prints": Kind(
        "step", "An environment prints nothing: it is called thousands of times.", "Log instead."
    ),
    "warns": Kind(
        "step", "An environment warns of nothing while it is played.", "See the line that warned."
    ),
}

KINDS: dict[str, Kind] = {**_ERRORS, **_WARNINGS, **_NOTES}
_BY_LEVEL: dict[Level, dict[str, Kind]] = {
    "error": _ERRORS,
    "warning": _WARNINGS,
    "note": _NOTES,
}


def level_of(name: str) -> Level:
    """Returns the level of a kind."""
    return next(level for level, kinds in _BY_LEVEL.items() if name in kinds)
