"""Spaces that are too small or too large for a network."""

from __future__ import annotations

from gymnasium import spaces

from empo_rllib.envs.vector_env import space_leaves

#: Categories of one part of an observation or action: each has weights in the network's first or
#: last layer, and a number in each row of a batch.
MAX_CATEGORIES = 100_000

_CONSTANT = "Give an agent that sees nothing a constant of shape (1,)."


def empty_part(space: spaces.Space) -> str | None:
    """Returns what is wrong with an observation that has a part without numbers."""
    leaves = list(space_leaves(space))
    if not leaves:
        return f"observation is an empty {type(space).__name__}. {_CONSTANT}"
    for path, leaf in leaves:
        if 0 in (leaf.shape or ()):
            part = "".join(f"[{key!r}]" for key in path)
            return (
                f"observation{part} is a {type(leaf).__name__} of shape {leaf.shape}, which holds "
                f"no number. Leave it out. {_CONSTANT}"
            )
    return None


def too_many_categories(space: spaces.Space, what: str) -> str | None:
    """Returns what is wrong with a space whose categories need too large a layer.

    Args:
        space: of what an agent sees or does.
        what: `observation` or `action`.
    """
    for path, leaf in space_leaves(space):
        if (size := _num_categories(leaf)) > MAX_CATEGORIES:
            part = "".join(f"[{key!r}]" for key in path)
            return (
                f"{what}{part} is a {type(leaf).__name__} of {size:,} categories: one-hot, as the "
                f"default networks have them, at most {MAX_CATEGORIES:,} fit. Declare numbers (a "
                "Box) or several small categories (MultiDiscrete), or bring a network of your own "
                "(model.class)."
            )
    return None


def _num_categories(space: spaces.Space) -> int:
    if isinstance(space, spaces.Discrete):
        return int(space.n)
    return int(space.nvec.sum()) if isinstance(space, spaces.MultiDiscrete) else 0
