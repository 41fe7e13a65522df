"""Jobs of an array train one search together. SLURM would start them; here they are typed."""

from __future__ import annotations

import signal
from pathlib import Path

from commands import Trial, Workplace
from decisions import study_of
from ray_head import Head

NUM_TRIALS, NUM_ROWS = 6, 40


def write_search(place: Workplace) -> Path:
    return place.write_experiment(
        name="shared",
        algorithm={
            "params": {"metrics_num_episodes_for_smoothing": 5, "lr": {"loguniform": [1e-5, 1e-3]}}
        },
        stop={"env_steps": 100 * NUM_ROWS},
        tune={
            "num_samples": NUM_TRIALS,
            "max_concurrent": 1,
            "search": {"optuna": {"n_startup_trials": 2}},
            "scheduler": {"asha": {"grace_period": 500, "reduction_factor": 2}},
        },
    )


def test_three_jobs_one_of_them_killed_train_every_trial_of_a_search_once(
    place: Workplace, cluster: Head
) -> None:
    arguments, run = ("--config", write_search(place)), place.run("shared")
    jobs = [cluster.start(place, *arguments, "--array-task", f"a_{n}") for n in range(3)]

    def own(number: int) -> list[dict]:
        trials = run.summary["trials"] if run.folder.joinpath("summary.json").exists() else []
        return [trial for trial in trials if trial["array_task"] == number]

    def is_within_a_trial() -> bool:
        rows = [Trial(run.folder / one["trial_id"]).num_rows() for one in own(0)]
        return any(0 < number < NUM_ROWS / 2 for number in rows)

    jobs[0].wait_until(is_within_a_trial, "its first iterations of a trial")
    jobs[0].process.send_signal(signal.SIGKILL)
    jobs[0].wait()
    for job in jobs[1:]:
        job.wait().check()
    # `pending` where it was killed before it wrote the summary again, after its claim.
    left = ("pending", "interrupted")
    begun = [trial["trial_id"] for trial in own(0) if trial["status"] in left]
    assert run.summary["status"] == "interrupted"
    assert len(begun) == 1

    cluster.tune(place, *arguments, "--array-task", "a_0").check()
    trials = run.summary["trials"]
    assert run.summary["status"] == "finished"
    assert len(trials) == NUM_TRIALS
    assert {trial["status"] for trial in trials} <= {"finished", "stopped"}
    # How many each of the others took is a matter of who came first.
    tasks = {trial["array_task"] for trial in trials}
    assert {0} < tasks <= {0, 1, 2}
    assert begun[0] in [trial["trial_id"] for trial in own(0)]
    for trial in run.trials:
        assert trial.column("training_iteration") == list(range(1, trial.num_rows() + 1))
    studied = study_of(run).trials
    assert sorted(one.user_attrs["trial_id"] for one in studied) == [
        trial["trial_id"] for trial in trials
    ]
    assert {one.state.name for one in studied} <= {"COMPLETE", "PRUNED"}
