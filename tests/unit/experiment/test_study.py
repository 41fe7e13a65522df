"""Optuna's study of a run: what it chooses, what it is told, and what an interruption leaves."""

from __future__ import annotations

import json

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from empo_rllib.errors import RunError
from empo_rllib.experiment.study import STUDY_FILE, Study, check_study

LR, GAMMA, SIZES, EPOCHS, SCALE = (
    "algorithm.params.lr",
    "algorithm.params.gamma",
    "model.hidden_sizes",
    "algorithm.params.num_epochs",
    "env.kwargs.scale",
)
SPACES = {
    "seed": {"choice": [0, 1, 2]},
    "env": {"id": "x", "kwargs": {"scale": {"uniform": [1, 2]}}},
    "algorithm": {
        "name": "PPO",
        "params": {
            "lr": {"loguniform": [1e-5, 1e-2]},
            "gamma": {"choice": [0.9, 0.99]},
            "num_epochs": {"randint": [1, 4]},
        },
    },
    "model": {"hidden_sizes": {"choice": [[4], [4, 8]]}},
}
POINT = {LR: 1e-3, SIZES: [4, 8]}
NUMBERS = {
    "algorithm": {
        "name": "PPO",
        "params": {"lr": {"loguniform": [1e-5, 1e-2]}, "gamma": {"uniform": [0.5, 1.0]}},
    }
}


@pytest.fixture
def config(experiment):
    """Returns a function from options of Optuna to an experiment of five trials."""

    def build(spaces=SPACES, **options):
        return experiment(tune={"num_samples": 5, "search": {"optuna": options}}, **spaces)

    return build


@pytest.fixture
def ended(trial, tmp_path):
    """Returns a function that describes a trial, and writes the returns that it has reported."""

    def build(number, params, status="finished", returns=(), is_full=1):
        entry = trial(number, params=params, status=status)
        folder = tmp_path / entry.trial_id
        folder.mkdir(exist_ok=True)
        rows = [f"{i},{100 * i},{value},{is_full}\n" for i, value in enumerate(returns, start=1)]
        header = "training_iteration,env_steps,episode_return_mean,window_is_full\n"
        (folder / "progress.csv").write_text(header + "".join(rows))
        return entry

    return build


def opened(folder):
    """Opens a study as anybody does with Optuna's API."""
    storage = JournalStorage(JournalFileBackend(str(folder / STUDY_FILE)))
    return optuna.load_study(study_name="run", storage=storage)


def seen(folder):
    return [(t.user_attrs.get("trial_id"), t.state.name, t.value) for t in opened(folder).trials]


def test_values_of_every_kind_lie_in_their_spaces_and_come_back_as_they_were(config, tmp_path):
    study = Study(config(), tmp_path, [])
    chosen = [study.choose(f"trial_{number:05d}") for number in range(5)]
    for values in chosen:
        assert list(values) == [SCALE, LR, GAMMA, EPOCHS, SIZES]
        assert 1 <= values[SCALE] <= 2
        assert 1e-5 <= values[LR] <= 1e-2
        assert values[GAMMA] in (0.9, 0.99)
        assert values[EPOCHS] in (1, 2, 3)
        assert isinstance(values[EPOCHS], int)
        assert values[SIZES] in ([4], [4, 8])
    assert len({values[LR] for values in chosen}) == 5
    assert [t.params[LR] for t in opened(tmp_path).trials] == [values[LR] for values in chosen]
    distributions = opened(tmp_path).trials[0].distributions
    assert distributions[LR].log
    assert not distributions[SCALE].log
    assert distributions[EPOCHS] == optuna.distributions.IntDistribution(1, 3)


def test_the_first_trials_are_the_given_points(config, tmp_path):
    study = Study(config(points_to_evaluate=[POINT, {LR: 1e-4}]), tmp_path, [])
    first, second, third = (study.choose(f"trial_{number:05d}") for number in range(3))
    assert (first[LR], first[SIZES]) == (1e-3, [4, 8])
    assert second[LR] == 1e-4
    assert third[LR] not in (1e-3, 1e-4)


@pytest.mark.parametrize("options", [{}, {"sampler": "cmaes"}, {"multivariate": False}])
def test_a_session_chooses_what_an_uninterrupted_one_would(config, ended, tmp_path, options):
    """A new study object for every trial, and one for all."""
    settings = config(NUMBERS, n_startup_trials=2, **options)
    chosen = {}
    for kind in ("whole", "in parts"):
        folder = tmp_path / kind
        folder.mkdir()
        study, chosen[kind] = Study(settings, folder, []), []
        study._folder = tmp_path
        for number in range(6):
            if kind == "in parts":
                study = Study(settings, folder, [])
                study._folder = tmp_path
            values = study.choose(f"trial_{number:05d}")
            study.record(ended(number, values, returns=[-abs(values[GAMMA] - 0.7)]))
            chosen[kind].append(values)
    assert chosen["whole"] == chosen["in parts"]
    assert len({values[LR] for values in chosen["whole"]}) == 6


CONDITIONAL = {
    "env": {"id": "x", "kwargs": {"kind": {"choice": ["a", "b"]}}},
    "algorithm": {
        "name": "PPO",
        "params": {
            "lr": {"loguniform": [1e-5, 1e-2], "when": {"env.kwargs.kind": "a"}},
            "gamma": {"uniform": [0.5, 1.0], "when": {"env.kwargs.kind": "b"}},
        },
    },
}


@pytest.mark.parametrize("multivariate", [True, False])
def test_keys_that_depend_on_another_are_searched_where_it_has_their_option(
    config, ended, tmp_path, multivariate
):
    """Returns are best at `kind: b`, `gamma: 0.7`, to which chance comes near in 4 trials of 20."""
    settings = config(CONDITIONAL, n_startup_trials=8, multivariate=multivariate)
    study, chosen = Study(settings, tmp_path, []), []
    for number in range(40):
        values = study.choose(f"trial_{number:05d}")
        score = 1 - abs(values[GAMMA] - 0.7) if GAMMA in values else 0.0
        study.record(ended(number, values, returns=[score]))
        chosen.append(values)
        if number == 20:
            study = Study(settings, tmp_path, [])
    kind = "env.kwargs.kind"
    assert all(
        values.keys() == ({kind, LR} if values[kind] == "a" else {kind, GAMMA}) for values in chosen
    )
    assert {values[kind] for values in chosen[:8]} == {"a", "b"}
    assert sum(abs(values.get(GAMMA, 0) - 0.7) < 0.1 for values in chosen[20:]) > 9
    assert opened(tmp_path).trials[-1].params == chosen[-1]


def test_a_lost_study_with_conditions_is_made_again(config, ended, tmp_path):
    entry = ended(0, {"env.kwargs.kind": "b", GAMMA: 0.7}, returns=[1.0])
    Study(config(CONDITIONAL), tmp_path, [entry])
    assert opened(tmp_path).trials[0].params == entry.params


def test_another_seed_chooses_other_values(config, tmp_path):
    values = []
    for seed in (0, 1):
        folder = tmp_path / str(seed)
        folder.mkdir()
        values.append(Study(config(seed=seed), folder, []).choose("trial_00000"))
    assert values[0][LR] != values[1][LR]


@pytest.mark.parametrize(
    ("status", "returns", "is_full", "state", "value"),
    [
        pytest.param("finished", [0.1, 0.5], 1, "COMPLETE", 0.5, id="finished"),
        pytest.param("stopped", [0.1, 0.3], 1, "PRUNED", 0.3, id="stopped by ASHA"),
        pytest.param("finished", [0.1, "nan"], 1, "COMPLETE", 0.1, id="the last is not finite"),
        pytest.param("finished", ["nan"], 1, "FAIL", None, id="none is finite"),
        pytest.param("finished", [], 1, "FAIL", None, id="none at all"),
        pytest.param("finished", [0.4], 0, "FAIL", None, id="none is settled"),
        pytest.param("failed", [0.4], 1, "FAIL", None, id="failed"),
        pytest.param("interrupted", [0.4], 1, "RUNNING", None, id="interrupted"),
    ],
)
def test_an_end_is_recorded_once(config, ended, tmp_path, status, returns, is_full, state, value):
    study = Study(config(), tmp_path, [])
    entry = ended(0, study.choose("trial_00000"), status, returns, is_full)
    for _ in range(2):
        study.record(entry)
    assert seen(tmp_path) == [("trial_00000", state, value)]
    steps = {100 * len(returns): value} if state == "PRUNED" else {}
    assert opened(tmp_path).trials[0].intermediate_values == steps


def test_values_that_nobody_could_note_are_chosen_again(config, tmp_path):
    """The driver was killed between the study and the summary."""
    first = Study(config(), tmp_path, []).choose("trial_00000")
    assert Study(config(), tmp_path, []).choose("trial_00000") == first
    assert len(opened(tmp_path).trials) == 1


@pytest.mark.parametrize("num_lines", range(1, 7))
def test_a_choice_that_was_cut_short_is_completed(config, tmp_path, num_lines):
    """The journal ends after any of the lines that a choice writes, or in the middle of one."""
    settings = config(points_to_evaluate=[POINT])
    journal = tmp_path / STUDY_FILE
    study = Study(settings, tmp_path, [])
    before = len(journal.read_text().splitlines())
    whole = study.choose("trial_00000")
    lines = journal.read_text().splitlines(keepends=True)
    kept = lines[: before + num_lines]
    journal.write_text("".join(kept) + '{"op_code":5,"wor')

    again = Study(settings, tmp_path, [])
    completed = again.choose("trial_00000")
    assert list(completed) == list(whole)
    assert (completed[LR], completed[SIZES]) == (1e-3, [4, 8])
    assert again.choose("trial_00000") == completed
    assert again.choose("trial_00001")[LR] != 1e-3
    assert [name for name, _, _ in seen(tmp_path)] == ["trial_00000", "trial_00001"]


def test_ends_that_were_not_recorded_are_recorded_by_the_next_session(config, ended, tmp_path):
    study = Study(config(), tmp_path, [])
    chosen = [study.choose(f"trial_{number:05d}") for number in range(5)]
    trials = [
        ended(0, chosen[0], "finished", [0.1]),
        ended(1, chosen[1], "stopped", [0.2]),
        ended(2, chosen[2], "pending", [0.3]),
        ended(3, {}, "pending"),
        ended(4, chosen[4], "failed"),
        ended(5, {}, "failed"),
    ]
    for _ in range(2):
        Study(config(), tmp_path, trials)
    assert seen(tmp_path) == [
        ("trial_00000", "COMPLETE", 0.1),
        ("trial_00001", "PRUNED", 0.2),
        ("trial_00002", "RUNNING", None),
        ("trial_00003", "RUNNING", None),
        ("trial_00004", "FAIL", None),
    ]


def test_a_trial_that_continues_after_its_end_was_recorded_enters_again(config, ended, tmp_path):
    study = Study(config(), tmp_path, [])
    values = study.choose("trial_00000")
    study.record(ended(0, values, "failed"))
    study = Study(config(), tmp_path, [ended(0, values, "pending")])
    study.record(ended(0, values, "finished", [0.7]))
    assert seen(tmp_path) == [("trial_00000", "FAIL", None), ("trial_00000", "COMPLETE", 0.7)]
    first, second = opened(tmp_path).trials
    assert first.params == second.params
    assert first.distributions == second.distributions


def test_a_lost_study_is_made_again_from_the_trials(config, ended, tmp_path):
    settings = config(points_to_evaluate=[{LR: 1e-3}, {LR: 1e-4}, {LR: 1e-5}])
    study = Study(settings, tmp_path, [])
    values = [study.choose(f"trial_{number:05d}") for number in range(2)]
    trials = [ended(0, values[0], "finished", [0.1]), ended(1, values[1], "pending")]
    (tmp_path / STUDY_FILE).unlink()
    study = Study(settings, tmp_path, trials)
    assert study.choose("trial_00002")[LR] == 1e-5
    assert study.choose("trial_00003")[LR] not in (1e-3, 1e-4, 1e-5)
    assert seen(tmp_path)[:2] == [
        ("trial_00000", "COMPLETE", 0.1),
        ("trial_00001", "RUNNING", None),
    ]
    assert len(seen(tmp_path)) == 4


def test_what_was_recorded_decides_what_is_chosen_next(config, ended, tmp_path):
    settings = config(NUMBERS, n_startup_trials=2)
    chosen = []
    for sign in (1, -1):
        folder = tmp_path / str(sign)
        folder.mkdir()
        study = Study(settings, folder, [])
        study._folder = tmp_path
        for number in range(8):
            values = study.choose(f"trial_{number:05d}")
            study.record(ended(number, values, returns=[sign * values[GAMMA]]))
        chosen.append(study.choose("trial_00008")[GAMMA])
    assert chosen[0] != chosen[1]


def test_the_direction_is_that_of_the_metric(experiment, tmp_path):
    for mode, direction in (("max", "MAXIMIZE"), ("min", "MINIMIZE")):
        folder = tmp_path / mode
        folder.mkdir()
        tune = {"search": "optuna", "mode": mode, "metric": "episode_length_mean"}
        Study(experiment(tune=tune, **NUMBERS), folder, [])
        assert opened(folder).direction.name == direction
        assert opened(folder).user_attrs == {"metric": "episode_length_mean"}


def test_a_study_of_several_metrics_has_a_value_of_each(experiment, ended, tmp_path):
    metrics = {"metric": ["episode_return_mean", "env_steps_per_s"], "mode": ["max", "min"]}
    tune = {"num_samples": 5, "search": {"optuna": {"n_startup_trials": 1}}, **metrics}
    study = Study(experiment(tune=tune, **NUMBERS), tmp_path, [])
    for number in range(4):
        entry = ended(number, study.choose(f"trial_{number:05d}"), returns=[0.1, 0.2 * number])
        rows = (tmp_path / entry.trial_id / "progress.csv").read_text().splitlines()
        if number < 3:  # the last one never reports its speed
            rows = [f"{row},{'env_steps_per_s' if i == 0 else 50}" for i, row in enumerate(rows)]
        (tmp_path / entry.trial_id / "progress.csv").write_text("\n".join(rows) + "\n")
        study.record(entry)
    opened_study = opened(tmp_path)
    assert [direction.name for direction in opened_study.directions] == ["MAXIMIZE", "MINIMIZE"]
    states = [(trial.state.name, trial.values) for trial in opened_study.trials]
    assert states == [
        ("COMPLETE", [0.0, 50.0]),
        ("COMPLETE", [0.2, 50.0]),
        ("COMPLETE", [0.4, 50.0]),
        ("FAIL", None),
    ]
    assert [trial.number for trial in opened_study.best_trials] == [2]


def test_a_damaged_study_is_refused_with_what_to_do(config, tmp_path):
    journal = tmp_path / STUDY_FILE
    check_study(tmp_path)
    assert not journal.exists()
    Study(config(), tmp_path, []).choose("trial_00000")
    check_study(tmp_path)
    journal.write_text("no journal\n" + journal.read_text())
    with pytest.raises(RunError, match=r"damaged.*Move it away"):
        check_study(tmp_path)


def test_a_lock_that_a_killed_process_left_holds_nothing_up_for_good(config, tmp_path, monkeypatch):
    """Optuna's own lock is broken when nothing has happened for half a minute."""
    Study(config(), tmp_path, [])
    (tmp_path / f"{STUDY_FILE}.lock").touch()
    now = iter(range(0, 10_000, 20))
    monkeypatch.setattr("time.monotonic", lambda: next(now))
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    Study(config(), tmp_path, []).choose("trial_00000")
    assert [state for _, state, _ in seen(tmp_path)] == [TrialState.RUNNING.name]
    assert json.loads((tmp_path / STUDY_FILE).read_text().splitlines()[0])["study_name"] == "run"
