"""Packages that register Gymnasium environments when they are imported."""

from __future__ import annotations

import importlib.util
import re
from typing import NamedTuple

from empo_rllib.errors import EnvError


class Package(NamedTuple):
    """A package and the ids that it registers.

    Attributes:
        ids: a pattern for the beginnings of its ids; no other package's begin so.
        module: importing it registers them.
        install: what to type after `pip install`. Some depend on `pygame-ce`, which would
            overwrite the `pygame` that multigrid needs.
    """

    ids: str
    module: str
    install: str


PACKAGES = (
    Package("(MiniGrid|BabyAI)-", "minigrid", "--no-deps minigrid"),
    Package("MosaicMultiGrid-", "mosaic_multigrid", "mosaic-multigrid"),
    Package("Foraging-", "lbforaging", "lbforaging"),
    Package("rware-", "rware", "rware"),
    Package(r"ALE/|\w+NoFrameskip-v", "ale_py", "ale-py"),
    Package("MiniWorld-", "miniworld", "miniworld"),
    Package("Meta-World/", "metaworld", "metaworld"),
    Package(
        "Fetch|HandManipulate|HandReach|AdroitHand|AntMaze_|PointMaze_|FrankaKitchen-",
        "gymnasium_robotics",
        "gymnasium-robotics",
    ),
    Package(
        "(highway|intersection|lane-keeping|merge|parking|racetrack|roundabout|two-way|u-turn)-",
        "highway_env",
        "--no-deps highway-env",
    ),
)


def package_of(env_id: str) -> Package | None:
    """Returns the package that registers an id of this form; None where the form is not known.

    Raises:
        EnvError: that package is not installed.
    """
    found = next((package for package in PACKAGES if re.match(package.ids, env_id)), None)
    if found is not None and importlib.util.find_spec(found.module) is None:
        raise EnvError(
            f"env.id = {env_id!r} is registered by the package {found.module}, which is not "
            f"installed. Run: pip install {found.install}"
        )
    return found
