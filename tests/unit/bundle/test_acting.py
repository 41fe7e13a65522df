from __future__ import annotations

import numpy as np
import pytest
from small_bundles import AGENTS, describe, make_model

from empo_rllib.bundle import BundleError, load_bundle
from empo_rllib.bundle.actions import ActionRule

BOX = {"shape": [2], "dtype": "float32", "low": [-3.0, 0.0], "high": [1.0, 10.0]}
RNG = np.random.default_rng(0)


def rule(**data):
    return ActionRule.from_data({"can_draw": True, **data}, "action")


def box(bounds, kind="gaussian", **data):
    return rule(kind=kind, size=4, box={**BOX, "bounds": bounds, **data})


def test_the_greedy_action_is_the_most_likely_as_a_plain_number(write_bundle):
    bundle = load_bundle(write_bundle())

    action = bundle.act([0.0, 2.0], "left")

    assert (action, type(action)) == (1, int)
    assert bundle.act_batch([[3, 2], [0, 1], [-1, -1]], "left") == [0, 1, 2]
    assert bundle.act_batch([], "left") == []


def test_drawn_actions_follow_the_probabilities_and_repeat_with_the_seed(write_bundle):
    folder = write_bundle()
    seen = [[np.log(2), np.log(5)]] * 4000  # and 0: the probabilities are 2, 5 and 1 eighths

    drawn = [load_bundle(folder, seed).act_batch(seen, "left", greedy=False) for seed in (1, 1, 2)]

    assert drawn[0] == drawn[1]
    assert drawn[0] != drawn[2]
    np.testing.assert_allclose(np.bincount(drawn[0]) / 4000, [2 / 8, 5 / 8, 1 / 8], atol=0.03)
    again = load_bundle(folder).act_batch(seen, "left", greedy=False, rng=np.random.default_rng(1))
    assert again == drawn[0]


def test_each_part_of_a_multi_discrete_action_is_chosen_by_itself():
    multi = rule(kind="multi_categorical", size=5, sizes=[2, 3])
    logits = np.array([[0.0, 1.0, 5.0, 0.0, 0.0], [2.0, 1.0, 0.0, 0.0, 9.0]])

    assert np.array(multi.choose(logits, True, RNG)).tolist() == [[1, 0], [0, 2]]
    drawn = np.array(multi.choose(np.tile(logits[:1] * 0, (3000, 1)), False, RNG))
    np.testing.assert_allclose(np.bincount(drawn[:, 1]) / 3000, 1 / 3, atol=0.04)


def test_q_values_take_the_best_action_and_explore_as_often_as_told():
    values = np.tile([[0.0, 9.0, 1.0, 2.0]], (4000, 1))
    q_values = rule(kind="q_values", size=4, epsilon=0.4)

    assert set(q_values.choose(values, True, RNG)) == {1}
    assert np.mean(np.array(q_values.choose(values, False, RNG)) != 1) == pytest.approx(
        0.3, abs=0.03
    )


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [("unsquash", [[0.0, 2.5], [1.0, 0.0]]), ("clip", [[0.5, 0.0], [1.0, 0.0]])],
)
def test_the_mean_of_a_gaussian_is_brought_into_the_box(bounds, expected):
    output = np.array([[0.5, -0.5, 0.0, 0.0], [7.0, -7.0, 0.0, 0.0]], np.float32)

    actions = box(bounds).choose(output, True, RNG)

    np.testing.assert_allclose(actions, expected)
    assert actions[0].dtype == np.float32


def test_a_box_without_bounds_leaves_actions_as_they_are():
    free = box("none", low=[None, None], high=[None, None])
    assert np.array(free.choose(np.array([[50.0, -9.0, 0.0, 0.0]]), True, RNG)).tolist() == [
        [50, -9]
    ]


def test_a_squashed_gaussian_takes_the_tanh():
    squashed = box("none", kind="squashed_gaussian")
    output = np.array([[0.5, -2.0, -99.0, -99.0]])
    np.testing.assert_allclose(squashed.choose(output, True, RNG), np.tanh([[0.5, -2.0]]))
    drawn = np.arctanh(squashed.choose(np.tile(output, (4000, 1)), False, RNG))
    np.testing.assert_allclose(drawn.std(axis=0), np.exp(-5), rtol=0.1)  # RLlib's smallest


def test_drawn_gaussian_actions_have_the_mean_and_deviation():
    output = np.tile([[1.0, -1.0, np.log(0.5), np.log(2.0)]], (4000, 1))
    drawn = np.array(box("none").choose(output, False, RNG))
    np.testing.assert_allclose(drawn.mean(axis=0), [1, -1], atol=0.1)
    np.testing.assert_allclose(drawn.std(axis=0), [0.5, 2.0], rtol=0.1)


def test_actions_that_the_network_chooses_itself_are_passed_on():
    assert rule(kind="actions", size=None).choose(np.array([2, 0]), True, RNG) == [2, 0]


def test_a_policy_without_draws_refuses_them():
    fixed = rule(kind="actions", size=None, can_draw=False)
    with pytest.raises(BundleError, match="cannot be drawn"):
        fixed.choose(np.array([2, 0]), False, RNG)


def test_a_shared_policy_knows_whose_observation_it_is(write_bundle):
    weights = np.array([[0, 0, 0], [0, 0, 0], [1, 0, 0], [0, 0, 1]])
    policy = describe(agent_ids=list(AGENTS))
    bundle = load_bundle(write_bundle(model=make_model(weights, agent_ids=2), policy=policy))

    assert [bundle.act([0.0, 0.0], agent) for agent in AGENTS] == [0, 2]


def test_a_memory_is_kept_for_each_agent_until_reset(write_bundle):
    policy = describe(memory=[{"name": "h", "shape": [2]}])
    bundle = load_bundle(write_bundle(model=make_model(np.eye(2, 3), memory=True), policy=policy))

    assert [bundle.act(seen, "left") for seen in ([3, 0], [0, 2], [0, 2])] == [0, 0, 1]
    assert bundle.act([0, 2], "right") == 1
    bundle.reset()
    assert bundle.act_batch([[0, 2], [2, 0]], "left") == [1, 0]
    with pytest.raises(BundleError, match=r"another number of episodes than 1: call reset\(\)"):
        bundle.act([0, 2], "left")


def test_actions_have_names_where_the_environment_tells(write_bundle):
    bundle = load_bundle(write_bundle(policy=describe(action_names=["stay", "go", "jump"])))
    assert bundle.action_name(2, "left") == "jump"


def test_an_action_without_a_name_is_its_number(write_bundle):
    assert load_bundle(write_bundle()).action_name(2, "left") == "2"


def test_the_agent_may_be_left_out_where_there_is_one(write_bundle):
    bundle = load_bundle(write_bundle(agents={"left": "walker"}))
    assert bundle.act(np.array([0, 1])) == 1


def test_a_part_of_an_observation_is_found_by_its_path(write_bundle):
    part = {"name": "observation", "path": ["eyes", 1], "dtype": "float32", "shape": [2]}
    bundle = load_bundle(write_bundle(policy=describe(inputs=[part])))

    assert bundle.act({"eyes": (None, [0, 1])}, "left") == 1
    for wrong in ({"eyes": ()}, {}, 3):
        with pytest.raises(BundleError, match=r"observation\['eyes'\]\[1\] is missing"):
            bundle.act(wrong, "left")


@pytest.mark.parametrize(
    ("observation", "agent", "message"),
    [
        ([0, 1], None, "agent = None must be one of left, right"),
        ([0, 1], "middle", "agent = 'middle' must be one of left, right"),
        ([0, 1, 2], "left", r"observation has the shape \(3,\), not \(2,\)"),
        (["a", "b"], "left", "observation is <U1, not float32"),
        (None, "left", r"observation has the shape \(\), not \(2,\)"),
    ],
)
def test_a_wrong_use_is_told(write_bundle, observation, agent, message):
    with pytest.raises(BundleError, match=message):
        load_bundle(write_bundle()).act(observation, agent)


def test_floats_where_a_category_is_wanted_are_refused(write_bundle):
    from empo_rllib.bundle.policy import Input

    category = Input("observation", (), "int64", ())
    assert category.gather([1, np.uint8(2), True]).tolist() == [1, 2, 1]
    with pytest.raises(BundleError, match="observation is float64, not int64"):
        category.gather([0.5])
