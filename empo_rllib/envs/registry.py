"""Which environments exist, and how an id becomes one.

    MultiGrid-Empty-8x8-v0          MultiGrid, 13 ids
    sisl/pursuit-v5                 PettingZoo's registry
    pettingzoo.sisl.pursuit_v5      a module with `parallel_env`, from any package
    CartPole-v1                     Gymnasium's registry; one agent, `agent_0`
    MiniGrid-DoorKey-5x5-v0         an id that a package of `packages.py` registers
    package.module:Id-v0            an id that another module registers when it is imported
    package.module:factory          a function or class of your own
    anything else                   what this program registered with `ray.tune.register_env`

Importing this module imports neither Ray nor torch nor multigrid.
"""

from __future__ import annotations

import importlib.util
import pkgutil
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from empo_rllib.envs import sources
from empo_rllib.envs.packages import package_of
from empo_rllib.errors import EnvError, belongs_to_python, nearest

if TYPE_CHECKING:
    from pettingzoo import ParallelEnv

    from empo_rllib.envs.multi_agent_env import ParallelMultiAgentEnv

MULTIGRID_IDS = (
    "MultiGrid-BlockedUnlockPickup-v0",
    "MultiGrid-Empty-5x5-v0",
    "MultiGrid-Empty-Random-5x5-v0",
    "MultiGrid-Empty-6x6-v0",
    "MultiGrid-Empty-Random-6x6-v0",
    "MultiGrid-Empty-8x8-v0",
    "MultiGrid-Empty-16x16-v0",
    "MultiGrid-LockedHallway-2Rooms-v0",
    "MultiGrid-LockedHallway-4Rooms-v0",
    "MultiGrid-LockedHallway-6Rooms-v0",
    "MultiGrid-Playground-v0",
    "MultiGrid-RedBlueDoors-6x6-v0",
    "MultiGrid-RedBlueDoors-8x8-v0",
)

#: Packages outside PettingZoo whose modules are listed and registered when they are installed.
MODULE_PACKAGES = ("mpe2",)

_MODULE_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
_FACTORY_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
# As `gymnasium.make` reads it; what is a name in Python is a factory.
_REGISTERED_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:([\w-]+/)?[\w.-]+")

Builder = Callable[[str, int | None, dict[str, Any]], "ParallelEnv"]


def make_env(id: str, /, num_agents: int | None = None, **kwargs: Any) -> ParallelEnv:
    """Makes the PettingZoo environment of an id.

    Args:
        id: one of the kinds of ids in this module's docstring.
        num_agents: the number of agents; None keeps the environment's own. Only MultiGrid and
            factories with an argument `num_agents` can be told another number.
        **kwargs: passed to the environment, `render_mode` among them.

    Raises:
        EnvError: the id does not exist or is not an environment, an argument does not exist or
            has an impossible value, a package is missing. The message says which and what to do.
    """
    if num_agents is not None and (type(num_agents) is not int or num_agents < 1):
        raise EnvError(f"env.num_agents = {num_agents!r} must be a whole number of 1 or more.")
    return _find_builder(id)(id, num_agents, kwargs)


def check_env_id(id: str, /) -> None:
    """Raises an `EnvError` when there is no environment `id`; makes none.

    The inside of a module or factory is only looked at by `make_env`.
    """
    _find_builder(id)


def env_ids() -> list[str]:
    """Returns every id that can be listed: MultiGrid, PettingZoo (ids, modules), Gymnasium.

    Some need packages that are not installed. Ids of factories and of modules in other packages
    are not listed, but exist as well.
    """
    return [*registered_ids(), *_gymnasium_ids()]


def registered_ids() -> list[str]:
    """Returns the ids that `register_envs` registers: those of `env_ids` except Gymnasium's."""
    return [*MULTIGRID_IDS, *_pettingzoo_ids(), *_module_ids()]


def register_envs() -> None:
    """Makes every id usable in an RLlib script: `config.environment(id, env_config={...})`.

    Keys of `env_config`:

    - `num_agents`, and any argument of the environment;
    - `flat` (default True): observations become one float32 vector, which RLlib's default modules
      can learn from; they refuse the Dict of MultiGrid and most pictures;
    - `agent_id_for` (default none): agents that see their own id, for policies that serve several;
    - `allow_infinite_observations` (default False): accept infinity in observations.

    The environments have several agents, so the script needs `config.multi_agent(...)` too.
    Gymnasium's ids are left to RLlib, which makes them itself. For a factory or a module of
    another package: `ray.tune.register_env(name, env_creator(id))`.
    """
    from ray.tune import register_env

    for id in registered_ids():
        register_env(id, env_creator(id))


def env_creator(id: str, /) -> Callable[[Mapping[str, Any]], ParallelMultiAgentEnv]:
    """Returns the function that RLlib calls with `env_config` to make the environment `id`.

    It is pickled by reference, so the package must be importable wherever environments run.
    """
    return partial(_make_multi_agent_env, id)


def _make_multi_agent_env(id: str, env_config: Mapping[str, Any]) -> ParallelMultiAgentEnv:
    from empo_rllib.envs.multi_agent_env import ParallelMultiAgentEnv

    arguments = dict(env_config)
    flat = arguments.pop("flat", True)
    agent_id_for = arguments.pop("agent_id_for", ())
    allow_infinite = arguments.pop("allow_infinite_observations", False)
    return ParallelMultiAgentEnv(make_env(id, **arguments), agent_id_for, flat, allow_infinite)


def _find_builder(id: str) -> Builder:
    """Tells the kind of an id by its form and the registries."""
    from empo_rllib.envs.rllib_env import registered_creator

    if id in MULTIGRID_IDS:
        return sources.build_multigrid
    if (_REGISTERED_NAME.fullmatch(id) or _MODULE_NAME.fullmatch(id)) and belongs_to_python(id):
        raise EnvError(
            f"env.id = {id!r} is not imported: it belongs to Python's own library, which has no "
            "environments. A package of your own needs another name."
        )
    if _FACTORY_NAME.fullmatch(id):
        return sources.build_from_factory
    if _REGISTERED_NAME.fullmatch(id):
        return sources.build_registered
    if _in_pettingzoo(id):
        return sources.build_from_registry
    if id in _gymnasium_ids():
        return sources.build_gymnasium
    if _MODULE_NAME.fullmatch(id) and _is_module(id):
        return sources.build_from_module
    if registered_creator(id) is not None:
        return sources.build_from_rllib
    if package := package_of(id):
        return partial(sources.build_registered, module_name=package.module)
    raise EnvError(
        f"env.id = {id!r} is not a known environment.{nearest(id, env_ids())} It may be a "
        "MultiGrid, PettingZoo or Gymnasium id, a module with parallel_env, "
        "package.module:factory, or package:Id-v0, where importing the package registers Id-v0."
    )


def _in_pettingzoo(id: str) -> bool:
    from pettingzoo.env_registry.exceptions import PettingZooRegistryError
    from pettingzoo.env_registry.helpers import find_spec
    from pettingzoo.env_registry.registration import parallel_registry

    try:
        find_spec(parallel_registry, id)
    except PettingZooRegistryError:
        return False
    return True


def _is_module(id: str) -> bool:
    """Tells whether there is a module `id`, without importing more than its parents."""
    try:
        return importlib.util.find_spec(id) is not None
    except ModuleNotFoundError as error:
        # A parent is missing or is not a package; or it is there and lacks another package.
        return error.name is not None and not f"{id}.".startswith(f"{error.name}.")
    except Exception:
        return True  # a parent fails to import; importing it again tells why


def _pettingzoo_ids() -> list[str]:
    import pettingzoo

    return list(pettingzoo.parallel_registry)


def _module_ids() -> list[str]:
    """Returns modules such as `pettingzoo.sisl.pursuit_v5`, one for each parallel environment."""
    names = ["pettingzoo." + re.sub("/(.*)-v", r".\1_v", id) for id in _pettingzoo_ids()]
    for package in MODULE_PACKAGES:
        spec = importlib.util.find_spec(package)
        modules = pkgutil.iter_modules(spec.submodule_search_locations) if spec else ()
        names += [f"{package}.{m.name}" for m in modules if re.search(r"_v\d+$", m.name)]
    return names


def _gymnasium_ids() -> list[str]:
    import gymnasium

    # `multigrid.envs` registers its environments there too, for Gymnasium's interface.
    return [id for id in gymnasium.registry if not id.startswith("MultiGrid-")]
