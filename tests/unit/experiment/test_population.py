"""Who copies whom in a population, which values follow, and which schedule comes of it."""

from __future__ import annotations

import numpy as np
import pytest

from empo_rllib.config.population_settings import PbtConfig, PopulationConfig
from empo_rllib.errors import RunError
from empo_rllib.experiment.bandit import Observation, bandit, from_unit, observe, to_unit
from empo_rllib.experiment.population import (
    POPULATION_FILE,
    Change,
    Member,
    Round,
    decide,
    lineage,
    perturb,
    perturbing,
    read_rounds,
    schedule_of,
    write_rounds,
)

LR, EPOCHS, CLIP = (f"algorithm.params.{name}" for name in ("lr", "num_epochs", "clip_param"))
SPACES = {
    LR: {"loguniform": [1e-5, 1e-2]},
    EPOCHS: {"randint": [1, 9]},
    CLIP: {"choice": [0.1, 0.2, 0.3]},
}
NUMBERS = {LR: SPACES[LR], EPOCHS: SPACES[EPOCHS]}
VALUES = {LR: 1e-3, EPOCHS: 4, CLIP: 0.2}


def member(number, score, copies=None, params=None, env_steps=100):
    trial_id = f"trial_{number:05d}"
    return Member(
        trial_id=trial_id,
        env_steps=env_steps,
        training_iteration=env_steps // 10,
        score=score,
        copies=None if copies is None else f"trial_{copies:05d}",
        params={LR: 10.0**-number} if params is None else params,
    )


def keep(donor, rounds, chosen, rng):
    """An explore step that takes the donor's values."""
    return dict(donor.params)


def decide_once(scores, mode="max", quantile=0.25, seed=0, explore=keep, rounds=()):
    members = [member(number, score) for number, score in enumerate(scores)]
    settings = PopulationConfig(quantile_fraction=quantile)
    return decide(members, rounds, settings, explore, mode, seed)


def copies_of(decided):
    return {int(one.trial_id[-5:]): int(one.copies[-5:]) for one in decided.members if one.copies}


@pytest.mark.parametrize(
    ("scores", "mode", "quantile", "copies"),
    [
        ([1, 4, 2, 3], "max", 0.25, {0: 1}),
        ([1, 4, 2, 3], "min", 0.25, {1: 0}),
        ([None, 4, 2, 3], "max", 0.25, {2: 1}),
        ([None, 4, None, None], "max", 0.5, {}),
        ([1, 1, 1, 1], "max", 0.25, {}),
        ([1, 2], "max", 0.5, {0: 1}),
        ([3, 2, 1], "max", 0.5, {2: 0}),  # a half of three is one
    ],
)
def test_the_worst_copy_the_best_where_those_are_better(scores, mode, quantile, copies):
    decided = decide_once(scores, mode, quantile)
    assert copies_of(decided) == copies
    for loser, donor in copies.items():
        assert decided.members[loser].params == decided.members[donor].params
        assert decided.members[loser].score == scores[loser]


def test_of_many_each_of_the_worst_draws_one_of_the_best_by_round_and_seed():
    scores = list(range(8))
    drawn = [copies_of(decide_once(scores, quantile=0.5, seed=seed)) for seed in range(20)]
    assert all(set(one) == {0, 1, 2, 3} and set(one.values()) <= {4, 5, 6, 7} for one in drawn)
    assert {donor for one in drawn for donor in one.values()} == {4, 5, 6, 7}
    assert drawn == [copies_of(decide_once(scores, quantile=0.5, seed=s)) for s in range(20)]
    later = decide_once(scores, quantile=0.5, rounds=[Round(members=[])])
    assert copies_of(later) != drawn[0]


def test_a_number_is_multiplied_within_its_bounds_and_a_choice_moves_to_a_neighbour():
    rng = np.random.default_rng(0)
    near = {
        key: {perturb(VALUES[key], SPACES[key], [0.5, 2.0], rng) for _ in range(30)}
        for key in SPACES
    }
    assert near == {LR: {5e-4, 2e-3}, EPOCHS: {2, 8}, CLIP: {0.1, 0.3}}
    assert perturb(9e-3, SPACES[LR], [2.0], rng) == 1e-2
    assert perturb(8, SPACES[EPOCHS], [1.2], rng) == 8
    assert perturb(1, SPACES[EPOCHS], [0.8], rng) == 1
    assert perturb(1, SPACES[EPOCHS], [1.2], rng) == 2, "small integers change, too"
    assert {perturb(0.3, SPACES[CLIP], [2.0], rng) for _ in range(20)} == {0.2, 0.3}


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_values_are_drawn_anew_with_the_probability_that_was_asked_for(probability):
    explore = perturbing(PbtConfig(resample_probability=probability), SPACES)
    rng = np.random.default_rng(0)
    found = [explore(member(0, 1.0, params=VALUES), [], [], rng) for _ in range(40)]
    assert all(list(one) == list(SPACES) for one in found)
    near = {LR: {8e-4, 1.2e-3}, EPOCHS: {3, 5}, CLIP: {0.1, 0.3}}
    is_near = [all(one[key] in values for key, values in near.items()) for one in found]
    assert any(is_near) == all(is_near) == (probability == 0.0)


def test_rounds_are_read_as_they_were_written_and_a_damaged_file_is_named(tmp_path):
    assert read_rounds(tmp_path) == []
    rounds = [decide_once([1, 2, None]), decide_once([2, 1, 3])]
    write_rounds(tmp_path, rounds)
    assert read_rounds(tmp_path) == rounds
    (tmp_path / POPULATION_FILE).write_text('{"rounds": [{"members": 3}]}')
    with pytest.raises(RunError, match=POPULATION_FILE):
        read_rounds(tmp_path)


def test_a_schedule_is_the_start_and_the_copies_of_a_member():
    rounds = [
        Round(members=[member(0, 1, copies=1, params={LR: 0.5}), member(1, 2, env_steps=120)]),
        Round(members=[member(0, 2, params={LR: 0.5}), member(1, 1)]),
    ]
    start = Change(round=0, env_steps=0, params={LR: 0.1})
    copy = Change(
        round=1, env_steps=100, params={LR: 0.5}, copied_from="trial_00001", copied_iteration=12
    )
    assert schedule_of(rounds, "trial_00000", {LR: 0.1}) == [start, copy]
    assert schedule_of(rounds, "trial_00001", {LR: 0.1}) == [start]


def change(number, donor=None):
    return Change(round=number, env_steps=100 * number, params={LR: number}, copied_from=donor)


def test_a_lineage_follows_those_who_were_copied_up_to_the_copy():
    schedules = {
        "a": [change(0), change(2, "b")],
        "b": [change(0), change(1, "c"), change(3, "a")],
        "c": [change(0), change(3, "b")],
    }
    assert [(name, one.round) for name, one in lineage(schedules, "a")] == [
        ("c", 0),
        ("b", 1),
        ("a", 2),
    ]
    assert [name for name, _ in lineage(schedules, "b")] == ["c", "b", "a", "b"]


def test_the_gain_of_a_member_counts_from_the_score_of_whom_it_copied():
    rounds = [
        Round(members=[member(0, 1.0, copies=1, params={LR: 0.5}), member(1, 3.0)]),
        Round(members=[member(0, 4.0, env_steps=200), member(1, 3.5, env_steps=200)]),
        Round(members=[member(0, None, env_steps=300), member(1, 5.5, env_steps=300)]),
    ]
    assert observe(rounds, 1.0) == [
        Observation(2, 3.0, {LR: 0.5}, 0.01),
        Observation(2, 3.0, {LR: 0.1}, 0.005),
        Observation(3, 3.5, {LR: 0.1}, 0.02),
    ]
    assert observe(rounds, -1.0)[0] == Observation(2, -3.0, {LR: 0.5}, -0.01)


@pytest.mark.parametrize("space", NUMBERS.values())
def test_a_place_between_the_bounds_stands_for_a_number(space):
    ((_, (low, high)),) = space.items()
    assert to_unit(low, space) == pytest.approx(0)
    for x in (0.0, 0.3, 1.0):
        value = from_unit(x, space)
        assert low <= value <= high
        assert to_unit(value, space) == pytest.approx(x, abs=0.13)
    assert isinstance(from_unit(0.5, NUMBERS[EPOCHS]), int)


def past(best, mode="max", rounds=6):
    """Rounds in which members gain more the nearer their learning rate (log) is to `best`."""
    rng = np.random.default_rng(3)
    params = {
        n: {key: from_unit(rng.random(), space) for key, space in NUMBERS.items()} for n in range(8)
    }
    gains = {n: 1 - abs(to_unit(one[LR], NUMBERS[LR]) - best) for n, one in params.items()}
    sign = 1 if mode == "max" else -1
    return [
        Round(
            members=[
                member(n, sign * k * gains[n], params=params[n], env_steps=100 * k) for n in params
            ]
        )
        for k in range(1, rounds)
    ]


@pytest.mark.parametrize("mode", ["max", "min"])
@pytest.mark.parametrize("best", [0.25, 0.75])
def test_pb2_chooses_values_like_those_that_gained_most(best, mode):
    rounds = past(best, mode)
    explore = bandit(NUMBERS, mode)
    donor = rounds[-1].members[0]
    chosen = [explore(donor, rounds, [], np.random.default_rng(seed)) for seed in range(5)]
    assert abs(np.mean([to_unit(one[LR], NUMBERS[LR]) for one in chosen]) - best) < 0.2
    again = explore(donor, rounds, [], np.random.default_rng(0))
    assert again == chosen[0]


def test_pb2_keeps_away_from_what_it_has_just_chosen_and_begins_at_random():
    rounds = past(0.5, rounds=3)
    explore, donor = bandit(NUMBERS, "max"), rounds[-1].members[0]
    first = explore(donor, rounds, [], np.random.default_rng(0))
    second = explore(donor, rounds, [first], np.random.default_rng(0))
    assert second != first
    unknown = [explore(donor, rounds[:1], [], np.random.default_rng(s))[LR] for s in range(20)]
    assert np.ptp([to_unit(lr, NUMBERS[LR]) for lr in unknown]) > 0.6
