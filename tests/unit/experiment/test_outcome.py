"""What the user reads at the end, and the exit code."""

from __future__ import annotations

import pytest

from empo_rllib.experiment.outcome import exit_code, render_outcome

COMMAND = "python -m empo_rllib.tune --config tune_configs/ppo.yaml"


@pytest.mark.parametrize(("status", "code"), [("finished", 0), ("failed", 1), ("interrupted", 75)])
def test_the_exit_code_is_that_of_the_status(result, trial, status, code):
    assert exit_code(result(trial(0), status=status)) == code


@pytest.fixture
def finished(result, trial):
    best = trial(
        0,
        status="finished",
        stop_reason="episode_return_mean 0.952 >= 0.95",
        metric=0.952,
        episode_return_mean=0.952,
        env_steps=75_000,
        time_s=95.0,
        env_steps_per_s=789.4,
        checkpoint="trial_00000/checkpoint_000019",
    )
    return result(best, status="finished", best_trial="trial_00000")


def test_a_finished_run_says_what_came_out_and_what_to_type_next(finished, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path.parent)
    folder = tmp_path.name
    assert render_outcome(finished, COMMAND).splitlines() == [
        "",
        "status       finished",
        "best trial   trial_00000 (episode_return_mean 0.952 >= 0.95)",
        "best return  0.9520",
        "trained      75,000 env steps in 1m35s (789 env steps/s)",
        f"results      {folder}",
        "",
        "next",
        f"  python -m empo_rllib evaluate {folder}",
        f"  python -m empo_rllib record {folder} --out episode.gif",
        f"  tensorboard --logdir {folder}",
    ]


def test_the_best_checkpoint_is_named_where_it_is_not_the_last(finished):
    best = finished.trials[0]
    best.best_checkpoint, best.best_score = best.checkpoint, 0.952
    assert "best saved" not in render_outcome(finished, COMMAND)
    best.best_checkpoint, best.best_score = "trial_00000/checkpoint_000012", 0.9607
    assert (
        "best saved   0.9607: trial_00000/checkpoint_000012 (--checkpoint best)"
        in render_outcome(finished, COMMAND).splitlines()
    )


def test_the_env_steps_of_all_trials_are_counted(finished, result, trial):
    others = [
        trial(1, status="stopped", env_steps=20_000, metric=0.1),
        trial(2, status="finished", env_steps=80_000, metric=0.5),
        trial(3, status="pending"),
    ]
    run = result(finished.trials[0], *others, status="interrupted", best_trial="trial_00000")
    assert (
        "trained      175,000 env steps in 3 trials; the best one 75,000 env steps in 1m35s "
        "(789 env steps/s)" in render_outcome(run, COMMAND).splitlines()
    )


def test_a_trial_that_failed_has_a_last_return_and_no_best_one(finished):
    finished.status = finished.trials[0].status = "failed"
    finished.trials[0].stop_reason = ""
    text = render_outcome(finished, COMMAND)
    assert "best trial   trial_00000 (failed)" in text
    assert "last return  0.9520 (before it failed)" in text
    assert "best return" not in text


def test_another_metric_is_called_by_its_name(finished):
    finished.metric = "success_rate"
    text = render_outcome(finished, COMMAND)
    assert "best success_rate  0.9520" in text
    assert "best return" not in text


def test_an_interrupted_run_says_how_to_go_on_with_the_same_settings(result, trial):
    run = result(trial(0, status="interrupted"), status="interrupted")
    text = render_outcome(run, COMMAND)
    assert f"  {COMMAND} --resume    # go on" in text
    assert "evaluate" not in text


def test_a_failed_trial_is_shown_with_its_own_traceback_once(result, trial):
    run = result(
        trial(0, status="failed", error="Traceback\nRuntimeError: the floor is wet\n"),
        trial(1, status="failed"),
        status="failed",
    )
    text = render_outcome(run, COMMAND)
    assert text.count("RuntimeError: the floor is wet") == 1
    assert "trial_00000 failed:\nTraceback" in text
    assert "trial_00001 failed:\nno result was received" in text
    assert "--resume" in text


def test_a_folder_with_spaces_can_be_pasted(finished, tmp_path):
    folder = tmp_path / "my runs"
    finished.folder = str(folder)
    assert f"tensorboard --logdir '{folder}'" in render_outcome(finished, COMMAND)
