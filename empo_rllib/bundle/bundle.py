"""A bundle: all policies of a checkpoint, and which of them acts for whom."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .errors import BundleError
from .fields import checked, file_name, one_of, take
from .files import DESCRIPTION_FILE, read_checked, read_description
from .policy import BundlePolicy


class Bundle:
    """Exported policies.

    Attributes:
        folder: where the bundle is.
        description: the content of `bundle.json`: environment, spaces, provenance.
        agents: the name of the policy that acts for each agent.
        policies: each policy by its name.

    Args:
        folder: As said.
        description: As said.
        seed: Of the draws of `act(..., greedy=False)`; None: another one each time.

    Raises:
        BundleError: the description lacks or contradicts something.
    """

    def __init__(self, folder: Path, description: dict[str, Any], seed: int | None = None) -> None:
        self.folder = folder
        self.description = description
        self.policies = {
            file_name(name, "policies"): BundlePolicy(
                checked(data, dict, f"policies.{name:.60}"), f"policies.{name:.60}"
            )
            for name, data in take(description, "policies", dict, "").items()
        }
        self.agents = {
            agent: one_of(name, self.policies, f"agents.{agent:.60}")
            for agent, name in take(description, "agents", dict, "").items()
        }
        for agent, name in self.agents.items():
            ids = self.policies[name].agent_ids
            if ids and agent not in ids:
                raise BundleError(f"bundle.json: policy {name!r} does not know {agent!r:.60}.")
        self._rng = np.random.default_rng(seed)
        self._memories: dict[str, dict[str, np.ndarray]] = {}

    def act(
        self,
        observation: Any,
        agent: str | None = None,
        greedy: bool = True,
        rng: np.random.Generator | None = None,
    ) -> Any:
        """Chooses an action for one observation.

        Args:
            observation: As the PettingZoo environment (`empo_rllib.make_env`) returned it.
            agent: Whose it is; may be left out where there is only one.
            greedy: Take the most likely action (for DQN, of the highest Q-value); otherwise draw
                one as in training.
            rng: Draws; None: the generator that `load_bundle` seeded does.

        Returns:
            What `env.step` wants: an int (Discrete), an array of them (MultiDiscrete) or of floats
            (Box).

        Raises:
            BundleError: there is no such agent, or the observation is not of its space.
        """
        return self.act_batch([observation], agent, greedy, rng)[0]

    def act_batch(
        self,
        observations: Sequence[Any],
        agent: str | None = None,
        greedy: bool = True,
        rng: np.random.Generator | None = None,
    ) -> list[Any]:
        """Chooses an action for each of an agent's observations from several environments.

        A policy with a memory keeps one for each agent and place in the list, until `reset`.
        The arguments are those of `act`.
        """
        agent = self._checked_agent(agent)
        policy = self.policies[self.agents[agent]]
        memory = self._memories.get(agent, {})
        if any(len(part) != len(observations) for part in memory.values()):
            raise BundleError(
                f"{agent!r} remembers another number of episodes than {len(observations)}: call "
                "reset() when episodes start."
            )
        if not observations:
            return []
        output, self._memories[agent] = policy.outputs(observations, agent, memory)
        return policy.rule.choose(output, greedy, rng or self._rng)

    def reset(self) -> None:
        """Clears the memory of policies that have one; to be called when an episode starts."""
        self._memories = {}

    def action_name(self, action: int, agent: str | None = None) -> str:
        """Returns what a discrete action means, or its number where the environment did not say."""
        names = self.policies[self.agents[self._checked_agent(agent)]].action_names
        return names[action] if names else str(action)

    def _checked_agent(self, agent: str | None) -> str:
        if agent is None and len(self.agents) == 1:
            return next(iter(self.agents))
        if agent is None or agent not in self.agents:
            raise BundleError(f"agent = {agent!r} must be one of {', '.join(self.agents)}.")
        return agent


def load_bundle(path: str | Path, seed: int | None = None) -> Bundle:
    """Loads exported policies; runs no code of theirs and writes nothing.

    Args:
        path: The bundle's folder.
        seed: Of the draws of `act(..., greedy=False)`; None: another one each time.

    Raises:
        BundleError: it is no bundle, damaged, not what it says to be, or of another format.
    """
    folder = Path(path).expanduser()
    description = read_description(folder)
    bundle = Bundle(folder, description, seed)
    files = take(description, "files", dict, "")
    for name, policy in bundle.policies.items():
        for suffix in ("safetensors", "onnx"):
            file = f"policies/{name}.{suffix}"
            entry = take(files, file, dict, "files")
            content = read_checked(folder / file, entry.get("bytes"), entry.get("sha256"))
        policy.open(content, str(folder / file))
    return bundle


def check_folder(folder: Path) -> None:
    """Refuses to take a folder for a bundle that `export` wrote, by its names alone.

    Raises:
        BundleError: it has no description of a bundle, or holds more than bundles do.
    """
    read_description(folder)
    known = {DESCRIPTION_FILE, "README.md", "empo_bundle", "policies"}
    if strange := sorted(path.name for path in folder.iterdir() if path.name not in known):
        raise BundleError(f"{folder} holds {', '.join(strange)}, which no export has written.")
