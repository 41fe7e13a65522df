from __future__ import annotations

import importlib
import subprocess
import sys

import gymnasium as gym
import pytest
from multigrid.envs import CONFIGURATIONS
from pettingzoo import ParallelEnv

from empo_rllib.envs.registry import (
    MULTIGRID_IDS,
    check_env_id,
    env_ids,
    make_env,
    registered_ids,
)
from empo_rllib.envs.step_limit import step_limit
from empo_rllib.errors import EnvError

EMPTY = "MultiGrid-Empty-5x5-v0"

FACTORIES = '''
from multigrid.envs import EmptyEnv
from pettingzoo.utils.env import AECEnv, ParallelEnv
from pettingzoo.butterfly.knights_archers_zombies import knights_archers_zombies as kaz
import gymnasium as gym

number = 3


class SmallRoom(EmptyEnv):
    """A MultiGridEnv of a user's own."""

    def __init__(self, goal_bonus: float = 0.0, **kwargs):
        super().__init__(size=5, **kwargs)


def room(num_agents=3):
    return SmallRoom(agents=num_agents)


def deaf(num_agents=3):
    return SmallRoom(agents=2)


def turns(max_cycles=50):
    return kaz.env(max_cycles=max_cycles)


def parallel():
    return kaz.parallel_env()


def single():
    return gym.make("CartPole-v1")


def nothing():
    return {"no": "environment"}


def broken():
    raise RuntimeError("the sensor is unplugged")


class Nobody(ParallelEnv):
    metadata = {}
'''


@pytest.fixture
def factories(tmp_path, monkeypatch):
    """Puts a module with factories on the path, as a user's project does; returns its name."""
    (tmp_path / "lab_envs.py").write_text(FACTORIES)
    (tmp_path / "lab_typo.py").write_text("def factory(:\n")
    (tmp_path / "lab_needs.py").write_text("import package_that_nobody_has\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield "lab_envs"
    for name in ("lab_envs", "lab_typo", "lab_needs"):
        sys.modules.pop(name, None)


class TestKinds:
    @pytest.mark.parametrize("env_id", MULTIGRID_IDS)
    def test_every_multigrid_id_can_be_made_with_any_number_of_agents(self, env_id):
        assert make_env(env_id).possible_agents == ["agent_0"]
        assert len(make_env(env_id, 3).possible_agents) == 3

    def test_the_list_of_multigrid_ids_is_upstreams(self):
        assert set(MULTIGRID_IDS) == set(CONFIGURATIONS)

    @pytest.mark.parametrize(
        ("env_id", "agents"),
        [
            ("sisl/pursuit-v5", 8),
            ("sisl/pursuit_v5", 8),
            ("pettingzoo.sisl.pursuit_v5", 8),
            ("butterfly/knights_archers_zombies-v11", 4),
            ("mpe2.simple_spread_v3", 3),
            ("CartPole-v1", 1),
        ],
    )
    def test_ids_of_other_kinds_give_a_parallel_env(self, env_id, agents):
        env = make_env(env_id)
        assert isinstance(env, ParallelEnv)
        assert len(env.possible_agents) == agents

    def test_arguments_reach_the_environment(self):
        assert make_env(EMPTY, size=9).env.width == 9
        assert len(make_env("mpe2.simple_spread_v3", N=5).possible_agents) == 5
        assert len(make_env("sisl/pursuit-v5", n_pursuers=2).possible_agents) == 2

    @pytest.mark.parametrize(
        "env_id", ["butterfly/cooperative_pong-v6", "pettingzoo.butterfly.cooperative_pong_v6"]
    )
    def test_arguments_reach_what_an_environment_makes_only_when_it_is_made(self, env_id):
        env = make_env(env_id, max_cycles=50, render_mode="rgb_array")
        assert env.render_mode == "rgb_array"
        assert step_limit(env) == 50

    @pytest.mark.parametrize(
        ("factory", "agents"),
        [("SmallRoom", 1), ("room", 3), ("turns", 4), ("parallel", 4), ("single", 1)],
    )
    def test_a_factory_may_make_any_kind_of_environment(self, factories, factory, agents):
        env = make_env(f"{factories}:{factory}")
        assert isinstance(env, ParallelEnv)
        assert len(env.possible_agents) == agents
        env.reset(seed=0)
        assert len(env.agents) == agents

    def test_a_factory_is_told_the_agent_count_if_it_takes_one(self, factories):
        assert len(make_env(f"{factories}:room", 2).possible_agents) == 2
        assert len(make_env(f"{factories}:SmallRoom", 2, goal_bonus=1.0).possible_agents) == 2


REGISTERS = """
import gymnasium as gym

gym.register("{id}", "gymnasium.envs.classic_control.cartpole:CartPoleEnv", max_episode_steps=7)
"""


@pytest.fixture
def register(tmp_path, monkeypatch):
    """Returns what puts a module on the path that registers an id when it is imported."""
    monkeypatch.syspath_prepend(tmp_path)
    before, written = dict(gym.registry), []

    def write(module, env_id):
        written.append(module)
        (tmp_path / f"{module}.py").write_text(REGISTERS.format(id=env_id))
        importlib.invalidate_caches()

    yield write
    gym.registry.clear()
    gym.registry.update(before)
    for module in written:
        sys.modules.pop(module, None)


class TestRegisteredByAPackage:
    @pytest.mark.parametrize(
        ("module", "env_id"),
        [
            ("minigrid", "MiniGrid-DoorKey-5x5-v0"),
            ("lbforaging", "Foraging-8x8-2p-1f-v3"),
            ("rware", "rware-tiny-2ag-v2"),
            ("ale_py", "ALE/Pong-v5"),
            ("ale_py", "PongNoFrameskip-v4"),
            ("mosaic_multigrid", "MosaicMultiGrid-AF-1v1-IndAgObs-v1"),
        ],
    )
    def test_the_package_of_a_known_id_is_imported(self, register, module, env_id):
        register(module, env_id)
        check_env_id(env_id)
        assert make_env(env_id).possible_agents == ["agent_0"]

    @pytest.mark.parametrize("env_id", ["Room-5x5-v0", "lab/Room-v2", "Room_1.5-v0"])
    def test_any_other_is_named_before_a_colon_as_for_gymnasium(self, register, env_id):
        register("lab_rooms", env_id)
        check_env_id(f"lab_rooms:{env_id}")
        assert step_limit(make_env(f"lab_rooms:{env_id}", sutton_barto_reward=True)) == 7

    @pytest.mark.parametrize(
        ("env_id", "words"),
        [
            ("MiniGrid-DorKey-5x5-v0", "Did you mean 'MiniGrid-DoorKey-5x5-v0'?"),
            ("minigrid:MiniGrid-DorKey-5x5-v0", "importing minigrid registers no environment"),
            ("nobodys:Room-v0", "there is no module 'nobodys' here"),
            ("Foraging-8x8-2p-1f-v3", "Run: pip install lbforaging"),
            ("ALE/Pong-v5", "is registered by the package ale_py, which is not installed"),
        ],
    )
    def test_one_that_is_not_there_is_refused_with_the_reason(self, register, env_id, words):
        register("minigrid", "MiniGrid-DoorKey-5x5-v0")
        with pytest.raises(EnvError) as caught:
            make_env(env_id)
        assert words in str(caught.value)
        assert "'MultiGrid-" not in str(caught.value)

    def test_a_module_of_python_is_not_imported(self):
        with pytest.raises(EnvError, match="belongs to Python's own library"):
            make_env("idlelib.idle:Room-v0")


class TestLists:
    def test_every_kind_that_can_be_listed_is_listed(self):
        assert {EMPTY, "sisl/pursuit-v5", "pettingzoo.sisl.pursuit_v5", "CartPole-v1"} <= set(
            env_ids()
        )
        assert "mpe2.simple_spread_v3" in env_ids()
        assert "CartPole-v1" not in registered_ids()

    def test_no_id_is_listed_twice_and_each_exists(self):
        ids = env_ids()
        assert len(ids) == len(set(ids))
        for env_id in ids:
            check_env_id(env_id)


class TestMistakes:
    @pytest.mark.parametrize(
        ("env_id", "words"),
        [
            ("MultiGrid-Emty-5x5-v0", "Did you mean 'MultiGrid-Empty-5x5-v0'?"),
            ("sisl/pursuit-v4", "Did you mean 'sisl/pursuit-v5'?"),
            ("pettingzoo.sisl.pursuit_v4", "Did you mean 'pettingzoo.sisl.pursuit_v5'?"),
            ("CartPole-v9", "Did you mean 'CartPole-v1'?"),
            ("", "is not a known environment"),
            ("no.such.module", "is not a known environment"),
            ("rich.table.deeper", "is not a known environment"),
        ],
    )
    def test_an_unknown_id_is_refused_with_the_nearest(self, env_id, words):
        with pytest.raises(EnvError) as caught:
            check_env_id(env_id)
        assert f"env.id = {env_id!r}" in str(caught.value)
        assert words in str(caught.value)

    @pytest.mark.parametrize(
        ("env_id", "words"),
        [
            ("rich.table", "a module without parallel_env"),
            ("idlelib.idle", "is not imported: it belongs to Python's own library"),
            ("idlelib.idle:main", "is not imported: it belongs to Python's own library"),
            ("antigravity", "is not a known environment"),
            (
                "gymnasium.wrappers:RecordVideo",
                "lacks arguments in env.kwargs: env, video_folder. It wraps",
            ),
            (
                "pettingzoo.utils.wrappers:BaseWrapper",
                "lacks arguments in env.kwargs: env. It wraps",
            ),
            ("pettingzoo:AECEnv", "made a AECEnv that is no complete environment"),
            ("no_such_module:factory", "no module 'no_such_module'"),
            ("lab_envs:rom", "lab_envs.rom does not exist. Did you mean 'room'?"),
            ("lab_envs:number", "lab_envs.number is not a function or class"),
            ("lab_envs:nothing", "made a dict, which is no environment"),
            ("lab_envs:broken", "RuntimeError: the sensor is unplugged"),
            ("lab_envs:Nobody", "does not set possible_agents"),
            ("lab_typo:factory", "importing lab_typo fails: SyntaxError"),
            ("lab_needs:factory", "needs the module 'package_that_nobody_has'"),
            ("atari/pong-v3", "needs the module 'multi_agent_ale_py'"),
            ("Humanoid-v5", "could not be made"),
        ],
    )
    def test_what_is_no_environment_is_refused_with_the_reason(self, factories, env_id, words):
        with pytest.raises(EnvError) as caught:
            make_env(env_id)
        assert words in str(caught.value)
        assert env_id in str(caught.value)
        assert "pettingzoo[" not in str(caught.value)

    @pytest.mark.parametrize("num_agents", [0, -1, True, 2.0, "2"])
    def test_an_impossible_agent_count_is_refused(self, num_agents):
        with pytest.raises(EnvError, match=r"env\.num_agents = .* whole number of 1 or more"):
            make_env(EMPTY, num_agents)

    @pytest.mark.parametrize(
        "env_id", ["CartPole-v1", "sisl/pursuit-v5", "lab_envs:parallel", "lab_envs:deaf"]
    )
    def test_a_count_that_the_environment_does_not_follow_is_refused(self, factories, env_id):
        with pytest.raises(EnvError, match=r"env\.num_agents = 5: the number of agents of"):
            make_env(env_id, 5)

    def test_a_count_that_is_the_environments_own_is_accepted(self):
        assert len(make_env("sisl/pursuit-v5", 8).possible_agents) == 8

    @pytest.mark.parametrize(
        ("env_id", "wrong", "right"),
        [
            (EMPTY, "sise", "size"),
            (EMPTY, "max_step", "max_steps"),
            ("lab_envs:SmallRoom", "goal_bonis", "goal_bonus"),
            ("lab_envs:turns", "max_cycle", "max_cycles"),
            ("sisl/pursuit-v5", "n_pursers", "n_pursuers"),
            ("pettingzoo.sisl.multiwalker_v9", "n_walker", "n_walkers"),
            ("butterfly/knights_archers_zombies-v11", "num_archer", "num_archers"),
            ("mpe2.simple_spread_v3", "continous_actions", "continuous_actions"),
            ("CartPole-v1", "sutton_barto_rewards", "sutton_barto_reward"),
            ("butterfly/cooperative_pong-v6", "max_cycle", "max_cycles"),
            ("pettingzoo.butterfly.cooperative_pong_v6", "ball_sped", "ball_speed"),
        ],
    )
    def test_an_unknown_argument_is_named_with_the_nearest(self, factories, env_id, wrong, right):
        with pytest.raises(EnvError) as caught:
            make_env(env_id, **{wrong: 1})
        assert f"env.kwargs.{wrong}: {env_id} has no such argument." in str(caught.value)
        assert f"Did you mean {right!r}?" in str(caught.value)

    def test_all_unknown_arguments_are_named_at_once(self):
        with pytest.raises(EnvError, match=r"(?s)kwargs\.sise.*kwargs\.wide"):
            make_env(EMPTY, sise=3, wide=4)

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ({"agents": 2}, "the number of agents is set by env.num_agents"),
            ({"see_through_walls": False}, "sets this argument itself"),
            ({"render_mode": "ansi"}, "is not one of human, rgb_array"),
            ({"agent_view_size": 4}, "agent_view_size=4: AssertionError: assert view_size % 2"),
            ({"size": "big"}, "size='big': TypeError"),
            ({"agent_start_pos": [9, 9]}, "no grid can be laid out"),
        ],
    )
    def test_an_argument_with_an_impossible_value_is_refused(self, arguments, words):
        with pytest.raises(EnvError) as caught:
            make_env(EMPTY, **arguments)
        assert words in str(caught.value)


HEAVY = ("ray", "torch", "multigrid", "pygame")


def test_importing_and_refusing_an_id_loads_nothing_heavy():
    program = f"""
import sys
from empo_rllib.envs import make_env
from empo_rllib.errors import EnvError
try:
    make_env("MultiGrid-Emty-5x5-v0")
except EnvError:
    print([name for name in {HEAVY} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("success_termination_mode", "anny"),
        ("failure_termination_mode", "none"),
        ("joint_reward", "no"),
        ("joint_reward", 1),
        ("max_steps", 0),
        ("max_steps", True),
    ],
)
def test_a_multigrid_value_that_upstream_would_misread_is_refused(name, value):
    with pytest.raises(EnvError, match=name):
        make_env("MultiGrid-Empty-5x5-v0", 2, **{name: value})
