from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from multigrid.core.actions import Action
from multigrid.core.world_object import Door
from multigrid.envs import EmptyEnv
from multigrid.wrappers import FullyObsWrapper
from pettingzoo import ParallelEnv

from empo_rllib.envs.multigrid import MultiGridParallelEnv
from empo_rllib.envs.registry import MULTIGRID_IDS, make_env
from empo_rllib.errors import EnvError

TO_THE_GOAL = [Action.forward, Action.forward, Action.right, Action.forward, Action.forward]


def walk(env, **plans):
    """Plays each agent's plan, then waits; returns what each step gave, until the episode ends."""
    steps = []
    for t in range(100):
        if not env.agents:
            break
        actions = {
            agent: plans[agent][t] if t < len(plans.get(agent, ())) else Action.done
            for agent in env.agents
        }
        steps.append(env.step(actions))
    return steps


@pytest.fixture
def empty():
    """Returns a maker of 5x5 rooms where `TO_THE_GOAL` leads to the goal."""

    def make(num_agents, **kwargs):
        env = make_env("MultiGrid-Empty-5x5-v0", num_agents, **kwargs)
        env.reset(seed=0)
        return env

    return make


class TestSpaces:
    @pytest.mark.parametrize("env_id", MULTIGRID_IDS)
    def test_observations_are_of_their_space(self, env_id):
        env = make_env(env_id, 2)
        observations, _ = env.reset(seed=1)
        for _ in range(40):
            for agent, observation in observations.items():
                assert env.observation_space(agent).contains(observation)
            if not env.agents:
                break
            observations, *_ = env.step({a: env.action_space(a).sample() for a in env.agents})

    def test_the_image_is_uint8_of_the_view(self, empty):
        space = empty(1, agent_view_size=5).observation_space("agent_0")
        assert list(space) == ["direction", "image"]
        assert space["image"].shape == (5, 5, 3)
        assert space["image"].dtype == np.uint8
        assert space["direction"].n == 4

    def test_spaces_are_the_same_object_each_time(self, empty):
        env = empty(2)
        for agent in env.possible_agents:
            assert env.observation_space(agent) is env.observation_space(agent)
            assert env.action_space(agent) is env.action_space(agent)

    def test_only_environments_with_several_missions_show_one(self):
        with_mission = [i for i in MULTIGRID_IDS if "mission" in observed(make_env(i))]
        assert with_mission == ["MultiGrid-BlockedUnlockPickup-v0"]

    def test_the_mission_is_the_one_that_the_episode_rewards(self):
        env = make_env("MultiGrid-BlockedUnlockPickup-v0", 2)
        for seed in range(10):
            observations, _ = env.reset(seed=seed)
            color, kind = observations["agent_1"]["mission"]
            target = env.env.obj
            assert (color, kind) == (target.color.to_index(), 0)  # 0: a box

    def test_a_wrapped_environment_keeps_its_own_image(self):
        env = MultiGridParallelEnv(FullyObsWrapper(EmptyEnv(size=6, agents=2)))
        observations, _ = env.reset(seed=0)
        assert observations["agent_0"]["image"].shape == (6, 6, 3)
        assert env.observation_space("agent_0").contains(observations["agent_0"])


def observed(env: ParallelEnv):
    return env.reset(seed=0)[0]["agent_0"]


class TestEpisodes:
    def test_the_first_to_arrive_ends_the_episode_for_all(self, empty):
        *_, (_, rewards, terminations, truncations, infos) = walk(empty(2), agent_1=TO_THE_GOAL)
        assert rewards == {"agent_0": 0.0, "agent_1": pytest.approx(1 - 0.9 * 5 / 100)}
        assert terminations == {"agent_0": True, "agent_1": True}
        assert truncations == {"agent_0": False, "agent_1": False}
        assert infos == {"agent_0": {"success": True}, "agent_1": {"success": True}}

    def test_an_agent_that_finishes_leaves_and_the_others_go_on(self, empty):
        env = empty(2, success_termination_mode="all", joint_reward=True)
        steps = walk(env, agent_0=TO_THE_GOAL, agent_1=[Action.done, *TO_THE_GOAL])
        observations, rewards, terminations, _, infos = steps[-2]
        assert set(observations) == set(rewards) == {"agent_0", "agent_1"}
        assert terminations == {"agent_0": True, "agent_1": False}
        assert infos == {"agent_0": {}, "agent_1": {}}
        for part in steps[-1]:
            assert set(part) == {"agent_1"}
        assert steps[-1][-1]["agent_1"]["success"] is True

    def test_the_time_limit_truncates_those_who_are_left(self, empty):
        env = empty(2, success_termination_mode="all", max_steps=8)
        *_, (observations, _, terminations, truncations, infos) = walk(env, agent_0=TO_THE_GOAL)
        assert set(observations) == {"agent_1"}
        assert terminations == {"agent_1": False}
        assert truncations == {"agent_1": True}
        assert infos == {"agent_1": {"success": False}}

    def test_arriving_in_the_last_step_terminates(self, empty):
        *_, last = walk(empty(1, max_steps=5), agent_0=TO_THE_GOAL)
        _, _, terminations, truncations, infos = last
        assert terminations == {"agent_0": True}
        assert truncations == {"agent_0": False}
        assert infos["agent_0"]["success"] is True

    def test_after_the_end_a_step_gives_nothing(self, empty):
        env = empty(1)
        walk(env, agent_0=TO_THE_GOAL)
        assert env.step({}) == ({}, {}, {}, {}, {})

    def test_all_agents_are_back_after_a_reset(self, empty):
        env = empty(2)
        walk(env, agent_0=TO_THE_GOAL)
        env.reset()
        assert env.agents == env.possible_agents == ["agent_0", "agent_1"]

    def test_opening_the_doors_in_the_wrong_order_is_no_success(self):
        env = make_env("MultiGrid-RedBlueDoors-6x6-v0", 2)
        assert open_doors(env, "blue_door")["agent_0"]["success"] is False

    def test_opening_the_doors_in_order_is_a_success(self):
        env = make_env("MultiGrid-RedBlueDoors-6x6-v0", 2)
        assert open_doors(env, "red_door", "blue_door")["agent_0"]["success"] is True

    def test_unlocking_every_door_of_the_hallway_is_a_success(self):
        env = make_env("MultiGrid-LockedHallway-2Rooms-v0", 2)
        env.reset(seed=0)
        env.env.unlocked_doors = [Door("red"), Door("blue")]
        *_, infos = env.step({"agent_0": Action.left, "agent_1": Action.left})
        assert infos == {"agent_0": {"success": True}, "agent_1": {"success": True}}


def open_doors(env, *doors):
    """Puts agent_0 before each door in turn and toggles it; returns the last infos."""
    env.reset(seed=0)
    for name in doors:
        grid = env.env
        agent, door = grid.agents[0], getattr(grid, name)
        x, y = next((x, y) for x in range(12) for y in range(6) if grid.grid.get(x, y) is door)
        agent.state.pos, agent.state.dir = (x - 1, y), 0
        *_, infos = env.step({"agent_0": Action.toggle, "agent_1": Action.done})
    return infos


class TestSeeds:
    def test_different_seeds_give_different_layouts(self):
        env = make_env("MultiGrid-RedBlueDoors-8x8-v0", 2)
        layouts = set()
        for seed in range(8):
            env.reset(seed=seed)
            layouts.add(env.env.grid.state.tobytes())
        assert len(layouts) > 4

    def test_episodes_after_a_seeded_one_differ_from_it(self):
        env = make_env("MultiGrid-Playground-v0")
        env.reset(seed=0)
        first = env.env.grid.state.tobytes()
        env.reset()
        assert env.env.grid.state.tobytes() != first

    def test_upstream_does_not_repeat_a_seed(self):
        # The reason for `_seed_episode`: drop that when this fails.
        upstream = [EmptyEnv(size=16, agents=4, agent_start_pos=None) for _ in range(2)]
        for env in upstream:
            env.reset(seed=3)
        assert (upstream[0].agent_states.pos != upstream[1].agent_states.pos).any()


class TestRendering:
    def test_rgb_array_is_a_picture_of_the_whole_grid(self):
        env = make_env("MultiGrid-RedBlueDoors-6x6-v0", 2, render_mode="rgb_array", tile_size=8)
        env.reset(seed=0)
        picture = env.render()
        assert picture.shape == (6 * 8, 12 * 8, 3)
        assert picture.dtype == np.uint8

    def test_without_a_render_mode_there_is_no_picture(self, empty):
        assert empty(1).render() is None

    def test_a_closed_window_can_be_opened_again(self, monkeypatch):
        monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
        env = make_env("MultiGrid-Empty-5x5-v0", render_mode="human")
        for seed in range(2):
            env.reset(seed=seed)
            assert env.render() is None
            env.close()
            env.close()

    def test_metadata_tells_name_and_modes(self, empty):
        metadata = empty(1).metadata
        assert metadata["name"] == "MultiGrid-Empty-5x5-v0"
        assert metadata["render_modes"] == ["human", "rgb_array"]
        assert metadata["is_parallelizable"] is True


class TestLimits:
    @pytest.mark.parametrize("duplicate", [pickle.dumps, copy.deepcopy])
    def test_a_live_environment_refuses_to_be_copied(self, empty, duplicate):
        with pytest.raises(TypeError, match="cannot be pickled or copied"):
            duplicate(empty(1))

    @pytest.mark.parametrize("env_id", ["MultiGrid-Empty-Random-5x5-v0", MULTIGRID_IDS[0]])
    def test_more_agents_than_cells_are_refused_instead_of_searching_for_ever(self, env_id):
        with pytest.raises(EnvError, match="no room for 40 agents"):
            make_env(env_id, 40)

    def test_nine_agents_are_refused_since_upstream_fails_with_them(self):
        with pytest.raises(EnvError, match="Take 8 or 10"):
            make_env("MultiGrid-Empty-8x8-v0", 9)
        with pytest.raises(AttributeError):  # when this passes, allow 9
            EmptyEnv(agents=9)

    def test_ten_agents_work(self):
        assert len(make_env("MultiGrid-Empty-8x8-v0", 10).reset()[0]) == 10
