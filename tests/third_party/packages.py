"""Packages of other people's environments, and what to type for one of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Package:
    """A package, installed in a folder of its own, and an experiment in one of its environments.

    The table of docs/environments.md tells the same.

    Attributes:
        install: what pip is told; without dependencies, which may replace what this project pins.
        env: the section `env` of the experiment.
        policies: the section `policies`.
        films: whether it makes pictures without a screen.
        code: a module `own` of the user's, where it takes one.
    """

    install: tuple[str, ...]
    env: dict[str, Any]
    policies: str | dict[str, str] = "shared"
    films: bool = True
    code: str = ""


PACKAGES = {
    "mpe2": Package((), {"id": "mpe2.simple_spread_v3"}),
    "butterfly": Package((), {"id": "butterfly/knights_archers_zombies-v11"}),
    "butterfly, pictures": Package((), {"id": "butterfly/cooperative_pong-v6"}),
    "sisl": Package((), {"id": "sisl/pursuit-v5"}),
    "sisl, continuous": Package((), {"id": "sisl/multiwalker-v9"}),
    "classic": Package((), {"id": "classic/rps-v2"}, films=False),
    "gymnasium": Package((), {"id": "Acrobot-v1"}),
    "RLlib's examples": Package(
        (),
        {"id": "ray.rllib.examples.envs.classes.multi_agent:MultiAgentCartPole", "num_agents": 2},
        films=False,
    ),
    "supersuit": Package(
        ("supersuit", "tinyscaler"),
        {"id": "own:pistons"},
        films=False,
        code="""
import pettingzoo
import supersuit
from pettingzoo.butterfly import pistonball_v6


def pistons() -> pettingzoo.ParallelEnv:
    env = supersuit.color_reduction_v0(pistonball_v6.parallel_env(n_pistons=4), mode="B")
    return supersuit.frame_stack_v1(supersuit.resize_v1(env, 42, 42), 4)
""",
    ),
    "lbforaging": Package(("lbforaging", "six"), {"id": "Foraging-8x8-2p-1f-v3"}, films=False),
    "rware": Package(("rware", "networkx", "pyglet"), {"id": "rware-tiny-2ag-v2"}, films=False),
    "magent2": Package(
        ("magent2",),
        {"id": "magent2.environments.adversarial_pursuit_v4"},
        policies={"predator_*": "predators", "prey_*": "prey"},
    ),
    "mosaic-multigrid": Package(("mosaic-multigrid",), {"id": "MosaicMultiGrid-S-2v2-IndAgObs-v1"}),
    "minigrid": Package(("minigrid",), {"id": "MiniGrid-DoorKey-5x5-v0"}),
    "ale-py": Package(("ale-py",), {"id": "ALE/Pong-v5"}),
    "vmas": Package(
        ("vmas", "gym", "gym_notices", "shimmy"),
        {"id": "own:balance"},
        films=False,
        code="""
import gymnasium
import vmas


def balance() -> gymnasium.Env:
    return vmas.make_env(
        "balance", num_envs=1, wrapper="gymnasium", terminated_truncated=True, max_steps=100
    )
""",
    ),
}

#: What is refused, with the reason.
REFUSED = {
    "overcooked": (
        Package(
            ("overcooked-ai", "gym", "gym_notices", "tqdm", "ipython"),
            {"id": "overcooked_ai_py.mdp.overcooked_env:Overcooked"},
        ),
        "`np.Inf` was removed in the NumPy 2.0 release",
    ),
}
