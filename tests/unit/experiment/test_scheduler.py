"""A resumed ASHA decides as one that was never interrupted."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler

from empo_rllib.experiment.progress_file import ProgressFile
from empo_rllib.experiment.scheduler import build_scheduler
from empo_rllib.experiment.share import Share
from empo_rllib.experiment.summary import read_summary
from empo_rllib.experiment.trial import TrialTask

CONTINUE, STOP = TrialScheduler.CONTINUE, TrialScheduler.STOP
ASHA = {"grace_period": 300, "reduction_factor": 2, "max_t": 2500}
METRIC = "episode_return_mean"
NUM_TRIALS, NUM_ROWS = 6, 5
ids_of_tune = itertools.count()


@pytest.fixture
def empty_run(result, trial):
    return result(trial(0))


def test_without_a_scheduler_every_trial_runs_to_its_end(experiment, empty_run):
    for scheduler in (None, "fifo"):
        built = build_scheduler(experiment(tune={"scheduler": scheduler}), Share(empty_run), print)
        assert type(built) is FIFOScheduler


def test_asha_counts_env_steps_and_judges_by_the_metric(experiment, empty_run):
    asha = {"grace_period": 500, "reduction_factor": 4, "max_t": 9000}
    config = experiment(tune={"scheduler": {"asha": asha}, "metric": "success_rate", "mode": "min"})
    scheduler = build_scheduler(config, Share(empty_run), print)
    assert isinstance(scheduler, ASHAScheduler)
    assert scheduler._time_attr == "env_steps"
    assert (scheduler.metric, scheduler._max_t) == ("success_rate", 9000)
    assert scheduler._reduction_factor == 4
    assert scheduler._metric_op == -1.0


def test_the_last_rung_of_asha_is_where_trials_end_unless_told_otherwise(experiment, empty_run):
    config = experiment(tune={"scheduler": "asha"}, stop={"env_steps": 70_000})
    assert build_scheduler(config, Share(empty_run), print)._max_t == 70_000


class Trials:
    """The trials of one session: what Tune tells the scheduler of them."""

    def __init__(self, scheduler):
        self.scheduler = scheduler
        self.trials = {}

    def start(self, trial_id):
        task = TrialTask(trial_id, Path("/runs/x"), None, 0.0)
        trial = SimpleNamespace(trial_id=f"tune_{next(ids_of_tune)}", config={"task": task})
        self.trials[trial_id] = trial
        self.scheduler.on_trial_add(None, trial)

    def report(self, trial_id, row, finished=False):
        trial = self.trials[trial_id]
        decision = STOP if finished else self.scheduler.on_trial_result(None, trial, row)
        if decision == STOP:
            self.scheduler.on_trial_complete(None, trial, row)
        return decision


def append(folder, row):
    folder.mkdir(exist_ok=True)
    progress = ProgressFile(folder, 10**9, tensorboard=False)
    progress.append(row)
    progress.close()


def make_reports(seed):
    """Yields (trial, row, whether that is the end), iterations of 50 to 900 env steps."""
    rng = random.Random(seed)
    order = [f"trial_{number:05d}" for number in range(NUM_TRIALS)] * NUM_ROWS
    rng.shuffle(order)
    steps, counts = Counter(), Counter()
    for timestamp, trial_id in enumerate(order):
        steps[trial_id] += rng.choice([50, 100, 200, 900])
        counts[trial_id] += 1
        row = {
            "timestamp": float(timestamp),
            "training_iteration": counts[trial_id],
            "env_steps": steps[trial_id],
        }
        if rng.random() < 0.7:  # in the others no episode ended
            row[METRIC] = rng.gauss(0.0, 1.0)
        yield trial_id, row, counts[trial_id] == NUM_ROWS


def sweep(scheduler, run, seed):
    """Runs a sweep without interruption; returns its reports and the decision on each."""
    trials = Trials(scheduler)
    for entry in run.trials:
        trials.start(entry.trial_id)
    reports, over = [], set()
    for trial_id, row, finished in make_reports(seed):
        if trial_id not in over:
            decision = trials.report(trial_id, row, finished)
            reports.append((trial_id, row, finished, decision))
            over |= {trial_id} if decision == STOP else set()
    return reports


def test_asha_does_not_decide_on_a_mean_over_too_few_episodes(experiment, result, trial):
    run = result(trial(0), trial(1))
    scheduler = build_scheduler(experiment(tune={"scheduler": {"asha": ASHA}}), Share(run), print)
    trials = Trials(scheduler)
    for entry in run.trials:
        trials.start(entry.trial_id)
    row = {"env_steps": 300, METRIC: 1.0, "window_is_full": 1}
    assert trials.report("trial_00000", row) == CONTINUE
    worse = {"env_steps": 300, METRIC: 0.0, "window_is_full": 0}
    assert trials.report("trial_00001", worse) == CONTINUE
    assert trials.report("trial_00001", {**worse, "env_steps": 400, "window_is_full": 1}) == STOP


def rungs(scheduler):
    return dict(scheduler._brackets[0]._rungs)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("mode", ["max", "min"])
def test_a_sweep_resumed_at_any_point_decides_as_one_without_interruption(
    experiment, result, trial, write_checkpoint_folder, tmp_path, mode, seed
):
    config = experiment(tune={"scheduler": {"asha": ASHA}, "mode": mode})
    run = result(*(trial(number) for number in range(NUM_TRIALS)))
    whole = build_scheduler(config, Share(run), print)
    reports = sweep(whole, run, seed)
    assert any(decision == STOP and not finished for _, _, finished, decision in reports)

    for cut, (trial_id, row, finished, decision) in enumerate(reports, start=1):
        # The signal has come before this report: the row is written, but nobody has judged it.
        append(tmp_path / trial_id, row)
        write_checkpoint_folder(tmp_path / trial_id, row["training_iteration"])
        if finished:
            run.trial(trial_id).status = "finished"
        resumed = Trials(build_scheduler(config, Share(run), print))
        for entry in run.trials:
            if entry.status == "pending":
                resumed.start(entry.trial_id)
        before = {name: (known, judged) for name, known, _, judged in reports[:cut]}
        for name in resumed.trials.keys() & before.keys():
            known, judged = before[name]
            assert resumed.report(name, known) == judged
        for name, later, done, judged in reports[cut:]:
            assert resumed.report(name, later, done) == judged
        assert rungs(resumed.scheduler) == rungs(whole)
        if decision == STOP and not finished:
            run.trial(trial_id).status = "stopped"


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("mode", ["max", "min"])
def test_jobs_of_an_array_decide_as_one_scheduler_that_is_told_everything(
    experiment, result, trial, tmp_path, mode, seed
):
    config = experiment(tune={"scheduler": {"asha": ASHA}, "mode": mode})
    run = result(*(trial(number) for number in range(NUM_TRIALS)))
    reports = sweep(build_scheduler(config, Share(run), print), run, seed)
    assert any(decision == STOP and not finished for _, _, finished, decision in reports)

    for entry in run.trials:
        entry.array_task = int(entry.trial_id[-1]) % 3
    run.write()
    shares = [Share(read_summary(tmp_path), task) for task in range(3)]
    jobs = [Trials(build_scheduler(config, share, print)) for share in shares]
    for entry in run.trials:
        jobs[entry.array_task].start(entry.trial_id)
    for trial_id, row, finished, decision in reports:
        task = run.trial(trial_id).array_task
        append(tmp_path / trial_id, row)
        assert jobs[task].report(trial_id, row, finished) == decision
        if decision == STOP:
            status = "finished" if finished else "stopped"
            shares[task].result.trial(trial_id).status = status
            with shares[task].updating():
                pass


def test_a_job_of_an_array_reads_a_row_of_others_once_it_is_whole(
    experiment, result, trial, tmp_path
):
    config = experiment(tune={"scheduler": {"asha": ASHA}})
    entries = [trial(number, array_task=min(number, 1), status="running") for number in range(4)]
    result(*entries).write()
    job = Trials(build_scheduler(config, Share(read_summary(tmp_path), 0), print))
    job.start("trial_00000")
    for number, text in {
        1: "timestamp,training_iteration,env_steps,episode_return_mean\n1.0,1,300,9.0\n",
        2: "timestamp,training_iteration,env_steps,episode_return_mean\n1.0,1,300,-9",
        3: "\0",
    }.items():
        (tmp_path / f"trial_{number:05d}").mkdir()
        (tmp_path / f"trial_{number:05d}" / "progress.csv").write_text(text)
    assert job.report("trial_00000", {"env_steps": 300, METRIC: 1.0}) == STOP
    assert rungs(job.scheduler)[300] == {"trial_00001": 9.0, "trial_00000": 1.0}


@pytest.fixture
def two_trials(experiment, result, trial, write_checkpoint_folder, tmp_path):
    """Returns a function that rebuilds the scheduler of a good trial and one that goes on."""

    def build(other_rows, checkpoint=None):
        for number, rows in enumerate([[(100, 1.0), (300, 9.0), (600, 9.0)], other_rows]):
            for iteration, (env_steps, value) in enumerate(rows, start=1):
                row = {"timestamp": 10.0 * number + iteration, METRIC: value}
                row |= {"training_iteration": iteration, "env_steps": env_steps}
                append(tmp_path / f"trial_{number:05d}", row)
        if checkpoint:
            write_checkpoint_folder(tmp_path / "trial_00001", checkpoint)
        run = result(trial(0, status="finished"), trial(1))
        return build_scheduler(experiment(tune={"scheduler": {"asha": ASHA}}), Share(run), print)

    return build


def go_on(scheduler, *reports):
    trials = Trials(scheduler)
    trials.start("trial_00001")
    return [
        trials.report("trial_00001", {"env_steps": env_steps, METRIC: value})
        for env_steps, value in reports
    ]


def test_a_trial_that_had_not_started_is_compared_with_the_finished_ones(two_trials):
    assert go_on(two_trials([]), (200, 1.0), (300, 1.0)) == [CONTINUE, STOP]


def test_rows_after_the_checkpoint_do_not_count(two_trials):
    scheduler = two_trials([(200, 1.0), (320, 1.0)], checkpoint=1)
    assert rungs(scheduler)[300] == {"trial_00000": 9.0}
    assert go_on(scheduler, (200, 1.0), (310, 2.0)) == [CONTINUE, STOP]


def test_without_a_checkpoint_no_row_counts(two_trials):
    assert rungs(two_trials([(200, 1.0), (320, 1.0)]))[300] == {"trial_00000": 9.0}


def test_a_trial_that_went_on_from_its_checkpoint_is_not_stopped_at_it(two_trials):
    # Whom it was compared with then may be training again what they had reported.
    scheduler = two_trials([(320, 1.0), (420, 1.0)], checkpoint=1)
    assert go_on(scheduler, (320, 1.0), (420, 1.0), (600, 1.0)) == [CONTINUE, CONTINUE, STOP]


def test_a_rung_that_a_trial_has_passed_is_not_recorded_again(two_trials):
    scheduler = two_trials([(300, 10.0)], checkpoint=1)
    assert go_on(scheduler, (300, 10.0), (400, 0.0)) == [CONTINUE, CONTINUE]
    assert rungs(scheduler)[300] == {"trial_00000": 9.0, "trial_00001": 10.0}
