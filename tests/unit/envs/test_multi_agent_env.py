"""The adapter to RLlib, judged by the episodes that RLlib itself makes of what it returns."""

from __future__ import annotations

import numpy as np
import pytest
from gymnasium import spaces
from ray.rllib.env.multi_agent_episode import MultiAgentEpisode
from ray.rllib.utils.pre_checks.env import check_multiagent_environments

from empo_rllib.envs.multi_agent_env import ParallelMultiAgentEnv
from empo_rllib.envs.registry import env_creator, make_env
from empo_rllib.errors import EnvError


def play(env) -> MultiAgentEpisode:
    """Plays one episode and records it as RLlib's env runner does."""
    episode = MultiAgentEpisode(
        observation_space=env.observation_spaces, action_space=env.action_spaces
    )
    observations, infos = env.reset(seed=0)
    episode.add_env_reset(observations=observations, infos=infos)
    while not episode.is_done:
        actions = {a: env.action_spaces[a].sample() for a in episode.get_agents_to_act()}
        observations, rewards, terminateds, truncateds, infos = env.step(actions)
        for agent, observation in observations.items():
            assert env.observation_spaces[agent].contains(observation)
        episode.add_env_step(
            observations, actions, rewards, infos, terminateds=terminateds, truncateds=truncateds
        )
        assert episode.is_done == (terminateds["__all__"] or truncateds["__all__"])
    return episode


def ends(episode):
    """Returns {agent: (steps, terminated, truncated)}."""
    return {
        agent: (len(one), one.is_terminated, one.is_truncated)
        for agent, one in episode.agent_episodes.items()
    }


class TestEnds:
    def test_agents_may_leave_early(self, scripted_env):
        script = [
            {"agents": "ab"},
            {"agents": "b", "terminated": "a"},
            {"agents": "b"},
            {"agents": "", "terminated": "b"},
        ]
        env = scripted_env(script)
        episode = play(ParallelMultiAgentEnv(env))
        assert ends(episode) == {"a": (1, True, False), "b": (3, True, False)}
        assert episode.is_terminated
        assert not episode.is_truncated
        assert env.acted == [{"a", "b"}, {"b"}, {"b"}]

    def test_agents_may_join_late(self, scripted_env):
        script = [{"agents": "a"}, {"agents": "ab"}, {"agents": "ab"}]
        script += [{"agents": "", "terminated": "ab"}]
        episode = play(ParallelMultiAgentEnv(scripted_env(script)))
        assert ends(episode) == {"a": (3, True, False), "b": (2, True, False)}
        assert episode.agent_episodes["b"].get_observations(0).tolist() == [1, 1]

    def test_a_cut_off_episode_is_truncated_and_not_terminated_for_everybody_left(
        self, scripted_env
    ):
        script = [
            {"agents": "abc"},
            {"agents": "bc", "terminated": "a"},
            {"agents": "", "truncated": "bc"},
        ]
        episode = play(ParallelMultiAgentEnv(scripted_env(script)))
        assert ends(episode) == {
            "a": (1, True, False),
            "b": (2, False, True),
            "c": (2, False, True),
        }
        assert episode.is_truncated
        assert not episode.is_terminated

    def test_one_agent_may_be_truncated_while_others_go_on(self, scripted_env):
        script = [{"agents": "ab"}, {"agents": "b", "truncated": "a"}, {"agents": "b"}]
        script += [{"agents": "", "terminated": "b"}]
        episode = play(ParallelMultiAgentEnv(scripted_env(script)))
        assert ends(episode) == {"a": (1, False, True), "b": (3, True, False)}

    def test_in_a_mixed_last_step_the_one_that_terminated_counts_as_terminated(self, scripted_env):
        script = [{"agents": "ab"}, {"agents": "", "terminated": "a", "truncated": "b"}]
        episode = play(ParallelMultiAgentEnv(scripted_env(script)))
        assert episode.agent_episodes["a"].is_terminated
        assert ends(episode)["b"] == (1, False, True)

    def test_an_agent_flagged_both_ways_has_terminated(self, scripted_env):
        script = [{"agents": "a"}, {"agents": "", "terminated": "a", "truncated": "a"}]
        episode = play(ParallelMultiAgentEnv(scripted_env(script)))
        assert ends(episode) == {"a": (1, True, False)}

    def test_an_agent_that_disappears_without_a_flag_has_terminated(self, scripted_env):
        script = [{"agents": "ab"}, {"agents": "b"}, {"agents": "", "terminated": "b"}]
        episode = play(ParallelMultiAgentEnv(scripted_env(script)))
        assert ends(episode) == {"a": (1, True, False), "b": (2, True, False)}

    @pytest.mark.parametrize("kind", ["terminated", "truncated"])
    def test_an_end_without_a_last_observation_repeats_the_one_before(self, scripted_env, kind):
        script = [{"agents": "a"}, {"agents": "a"}, {"agents": "", kind: "a", "hidden": "a"}]
        episode = play(ParallelMultiAgentEnv(scripted_env(script)))
        assert [o[0] for o in episode.agent_episodes["a"].get_observations()] == [0, 1, 1]

    def test_the_last_step_has_an_observation_and_a_reward(self, scripted_env):
        script = [{"agents": "ab"}, {"agents": "", "truncated": "ab"}]
        env = ParallelMultiAgentEnv(scripted_env(script))
        env.reset()
        observations, rewards, terminateds, truncateds, infos = env.step({"a": 0, "b": 0})
        assert set(observations) == set(rewards) == set(infos) == {"a", "b"}
        assert terminateds == {"a": False, "b": False, "__all__": False}
        assert truncateds == {"__all__": True}

    def test_an_agent_that_left_is_not_mentioned_again(self, scripted_env):
        script = [{"agents": "ab"}, {"agents": "b", "terminated": "a"}, {"agents": "b"}]
        env = ParallelMultiAgentEnv(scripted_env(script))
        env.reset()
        env.step({"a": 0, "b": 0})
        for part in env.step({"b": 0}):
            assert "a" not in part

    def test_an_agent_that_comes_back_is_refused(self, scripted_env):
        script = [{"agents": "ab"}, {"agents": "b", "terminated": "a"}, {"agents": "ab"}]
        with pytest.raises(EnvError, match="a came back after it had left"):
            play(ParallelMultiAgentEnv(scripted_env(script)))

    def test_the_next_episode_starts_afresh(self, scripted_env):
        env = ParallelMultiAgentEnv(
            scripted_env(
                [
                    {"agents": "ab"},
                    {"agents": "b", "terminated": "a"},
                    {"agents": "", "truncated": "b"},
                ]
            )
        )
        assert ends(play(env)) == ends(play(env))


class TestRllibsChecks:
    @pytest.mark.parametrize("env_id", ["MultiGrid-Empty-5x5-v0", "CartPole-v1"])
    def test_rllibs_own_check_passes(self, env_id):
        check_multiagent_environments(env_creator(env_id)({}))

    def test_it_passes_when_an_agent_ends_in_the_first_step(self, scripted_env):
        script = [{"agents": "ab"}, {"agents": "b", "terminated": "a"}]
        check_multiagent_environments(ParallelMultiAgentEnv(scripted_env(script)))

    def test_metadata_is_a_copy_since_rllib_writes_into_it(self):
        env = make_env("MultiGrid-Empty-5x5-v0", render_mode="rgb_array")
        adapted = ParallelMultiAgentEnv(env)
        adapted.metadata["autoreset_mode"] = "next_step"
        assert "autoreset_mode" not in env.metadata
        assert adapted.render_mode == "rgb_array"
        adapted.reset()
        assert adapted.render().ndim == 3
        adapted.close()


class TestObservations:
    def test_agents_may_have_different_spaces(self, scripted_env):
        own = {"a": spaces.Discrete(3), "b": spaces.Dict({"x": spaces.Box(0.0, 1.0, (2,))})}
        script = [{"agents": "ab"}, {"agents": "ab"}, {"agents": "", "terminated": "ab"}]
        for options in ({}, {"flat": True}, {"agent_id_for": "ab"}):
            env = ParallelMultiAgentEnv(scripted_env(script, own), **options)
            assert ends(play(env)) == {"a": (2, True, False), "b": (2, True, False)}
        assert env.action_spaces["a"].n == 2
        assert env.action_spaces["b"].n == 3

    def test_unchanged_observations_are_handed_on_as_they_are(self):
        env = ParallelMultiAgentEnv(make_env("MultiGrid-Empty-5x5-v0", 2))
        observations, _ = env.reset(seed=0)
        assert set(observations["agent_0"]) == {"direction", "image"}
        assert env.observation_spaces["agent_0"] is env.env.observation_space("agent_0")

    def test_an_agents_id_is_its_one_hot_place_in_a_dict(self):
        env = ParallelMultiAgentEnv(
            make_env("MultiGrid-Empty-5x5-v0", 3), agent_id_for=["agent_1", "agent_2"]
        )
        observations, _ = env.reset(seed=0)
        assert "agent_id" not in observations["agent_0"]
        assert observations["agent_1"]["agent_id"].tolist() == [0, 1, 0]
        assert observations["agent_2"]["agent_id"].tolist() == [0, 0, 1]
        assert env.observation_spaces["agent_2"].contains(observations["agent_2"])

    def test_any_other_observation_becomes_a_dict_with_the_id(self):
        env = ParallelMultiAgentEnv(make_env("CartPole-v1"), agent_id_for=["agent_0"])
        observations, _ = env.reset(seed=0)
        assert list(env.observation_spaces["agent_0"]) == ["agent_id", "observation"]
        assert env.observation_spaces["agent_0"].contains(observations["agent_0"])

    def test_flat_observations_hold_the_id_too(self):
        plain, with_id = (
            ParallelMultiAgentEnv(make_env("MultiGrid-Empty-5x5-v0", 2), ids, flat=True)
            for ids in ((), ("agent_0", "agent_1"))
        )
        size = plain.observation_spaces["agent_0"].shape[0]
        assert size == 4 + 7 * 7 * (11 + 6 + 4)
        assert with_id.observation_spaces["agent_0"].shape == (size + 2,)
        observations, _ = with_id.reset(seed=0)
        assert observations["agent_0"].dtype == np.float32
        assert with_id.observation_spaces["agent_0"].contains(observations["agent_0"])
        assert (observations["agent_0"] != observations["agent_1"]).sum() >= 2

    def test_an_unknown_agent_or_a_second_agent_id_is_refused(self, scripted_env):
        with pytest.raises(EnvError, match="agent_9"):
            ParallelMultiAgentEnv(make_env("CartPole-v1"), agent_id_for=["agent_9"])
        own = {"a": spaces.Dict({"agent_id": spaces.Discrete(2)})}
        with pytest.raises(EnvError, match="an entry 'agent_id' already"):
            ParallelMultiAgentEnv(scripted_env([{"agents": "a"}], own), agent_id_for="a")

    def test_an_environment_without_agents_is_refused(self, scripted_env):
        with pytest.raises(EnvError, match="possible_agents"):
            ParallelMultiAgentEnv(scripted_env([{"agents": ""}]))


class TestCreator:
    def test_env_config_holds_agents_arguments_and_the_adapters_options(self):
        env = env_creator("MultiGrid-Empty-6x6-v0")(
            {"num_agents": 3, "max_steps": 7, "flat": False, "agent_id_for": ["agent_2"]}
        )
        assert env.possible_agents == ["agent_0", "agent_1", "agent_2"]
        assert env.env.env.max_steps == 7
        assert "agent_id" in env.observation_spaces["agent_2"].spaces

    def test_observations_are_flat_unless_told_otherwise(self):
        env = env_creator("MultiGrid-Empty-6x6-v0")({})
        assert isinstance(env.observation_spaces["agent_0"], spaces.Box)
