"""A fragment holds what happened, each number in its place."""

from __future__ import annotations

import pickle

import numpy as np
import torch
import tree

from empo_rllib.sampling.fragment import Fragment

T, N = 7, 4


def test_each_row_is_of_its_step_and_env(rollout):
    fragment, _ = rollout().sample(T, 0)
    seen = fragment.observations[0][0]  # agents a and c
    assert seen.shape == (T + 1, N, 2, 2)
    assert (seen[..., 0] == np.arange(N)[:, None]).all()
    moments = (seen[:, :, 0, 1]).astype(int)
    assert (moments == (np.arange(T + 1)[:, None] + moments[0]) % 3).all()
    present = fragment.present
    assert (fragment.rewards == np.where(present, moments[:T, :, None], 0)).all()


def test_an_agent_that_left_is_masked(rollout):
    fragment, _ = rollout().sample(T, 0)
    moments = fragment.observations[0][0][:T, :, 0, 1]
    assert (fragment.present[..., 0] == (moments < 2)).all()
    assert fragment.present[..., 1:].all()
    assert (fragment.terminated[..., 0] == (moments == 1)).all()
    assert (fragment.truncated[..., 2] == (moments == 2)).all()
    assert not (fragment.terminated & fragment.truncated).any()


def test_steps_in_which_an_agent_did_not_act_are_not_counted(rollout):
    fragment, _ = rollout().sample(T, 0)
    assert fragment.env_steps() == len(fragment) == T * N
    assert fragment.agent_steps() == fragment.present.sum() < T * N * 3


def test_final_observations_belong_to_the_steps_that_ended_an_episode(rollout):
    fragment, episodes = rollout().sample(T, 0)
    assert fragment.final_index.tolist() == np.argwhere(fragment.episode_over).tolist()
    assert len(episodes) == len(fragment.final_index) > 0
    for leaves in fragment.final_observations:
        assert (leaves[0][..., 1] == 3).all()
        assert (leaves[0][..., 0] == fragment.final_index[:, 1:]).all()


def test_without_an_ended_episode_there_are_no_final_observations(rollout):
    fragment, episodes = rollout(num_envs=1).sample(2, 0)
    assert episodes == []
    assert [leaves[0].shape[0] for leaves in fragment.final_observations] == [0, 0]


def test_a_fragment_goes_on_where_the_one_before_it_ended(rollout):
    players = rollout()
    first, _ = players.sample(T, 0)
    second, _ = players.sample(T, 0)
    for before, after in zip(first.observations, second.observations, strict=True):
        assert np.array_equal(before[0][-1], after[0][0])


def test_what_was_sampled_before_is_not_written_over(rollout):
    players = rollout()
    first, _ = players.sample(T, 0)
    kept = pickle.dumps(first.observations)
    players.sample(T, 0)
    assert pickle.dumps(first.observations) == kept


def test_actions_are_kept_as_they_were_played(rollout):
    players = rollout()
    fragment, _ = players.sample(T, 0)
    for number, kept in enumerate(fragment.actions):
        assert np.array_equal(kept, np.stack([step[number] for step in players.envs.played]))


def test_log_probabilities_are_those_of_the_distribution_that_acted(rollout):
    fragment, _ = rollout().sample(T, 0)
    logits = torch.from_numpy(fragment.action_dist_inputs[0])
    categorical = torch.distributions.Categorical(logits=logits)
    expected = categorical.log_prob(torch.from_numpy(fragment.actions[0])).numpy()
    assert np.allclose(fragment.action_logp[..., [0, 2]], expected, atol=1e-6)
    mean, log_std = np.split(fragment.action_dist_inputs[1], 2, -1)
    normal = torch.distributions.Normal(*map(torch.from_numpy, (mean, np.exp(log_std))))
    expected = normal.log_prob(torch.from_numpy(fragment.actions[1])).sum(-1).numpy()
    assert np.allclose(fragment.action_logp[..., [1]], expected, atol=1e-5)


def test_a_policy_for_several_agents_sees_which_one_it_acts_for(rollout):
    players = rollout(with_agent_id=["ac"])
    fragment, _ = players.sample(1, 0)
    inputs = fragment.action_dist_inputs[0]  # a and c see the same otherwise
    assert not np.allclose(inputs[0, :, 0], inputs[0, :, 1])


def test_without_exploration_the_likeliest_action_is_taken(rollout):
    fragment, _ = rollout(explore=False).sample(T, 0)
    assert (fragment.actions[0] == fragment.action_dist_inputs[0].argmax(-1)).all()


def test_dm_tree_takes_a_fragment_for_one_leaf(rollout):
    fragment, _ = rollout().sample(T, 0)
    assert tree.flatten([[fragment], [fragment]]) == [fragment, fragment]
    assert isinstance(pickle.loads(pickle.dumps(fragment)), Fragment)


class TestEpisodes:
    def test_returns_and_steps_are_those_of_the_episode(self, rollout):
        players = rollout()
        episodes = players.sample(T, 0)[1] + players.sample(T, 0)[1]
        whole = [episode for episode in episodes if episode.length == 3]
        assert whole
        for episode in whole:
            assert episode.returns == {"a": 0 + 1, "b": 0 + 1 + 2, "c": 0 + 1 + 2}
            assert episode.lengths == {"a": 2, "b": 3, "c": 3}
            assert (episode.env_steps(), episode.agent_steps()) == (3, 8)

    def test_an_episode_goes_on_over_fragments(self, rollout):
        players = rollout(num_envs=1)
        assert players.sample(2, 0)[1] == []
        (episode,) = players.sample(1, 0)[1]
        assert episode.returns == {"a": 1, "b": 3, "c": 3}

    def test_success_is_kept(self, rollout):
        _, episodes = rollout().sample(3, 0)
        assert sorted(episode.success for episode in episodes) == [False, False, True, True]

    def test_playing_gives_one_episode_of_every_env(self, rollout):
        players = rollout(num_envs=5)
        players.sample(2, 0)
        episodes = players.play(0)
        assert [episode.success for episode in episodes] == [False, True, False, True, False]
