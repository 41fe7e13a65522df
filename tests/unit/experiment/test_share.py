"""Jobs of an array share the trials of a run: each is trained once, and all are in the summary."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from empo_rllib.config.load import load_config
from empo_rllib.errors import ConfigError, RunError
from empo_rllib.experiment.array import joined_run, plan_share
from empo_rllib.experiment.outcome import exit_code
from empo_rllib.experiment.plan import plan_resumed_trials, plan_trials
from empo_rllib.experiment.run_folder import CONFIG_FILE, LOCK_FILE, lock_run, run_folder_of
from empo_rllib.experiment.search import TrialQueue
from empo_rllib.experiment.share import ArrayTask, check_shareable
from empo_rllib.experiment.start import check_can_start, opened_run, resume_run
from empo_rllib.experiment.summary import read_summary
from empo_rllib.experiment.trial import TrialTask

LR = "algorithm.params.lr"
ENV_STEPS = 50_000


@pytest.fixture
def config(experiment):
    def build(num_samples=4, **tune):
        params = {"lr": {"loguniform": [1e-5, 1e-2]}}
        return experiment(
            algorithm={"name": "PPO", "params": params},
            tune={"num_samples": num_samples, **tune},
            stop={"env_steps": ENV_STEPS},
        )

    return build


def join(config, number=0, array="7", resume=False, overwrite=False):
    """Begins as a job of an array does, without Ray."""
    task = ArrayTask(array, number)
    planned = plan_share(config, task, resume=resume, overwrite=overwrite)
    return joined_run(config, planned, 0, task, resume=resume, overwrite=overwrite)


def take(share):
    """Takes the next trial and writes that; returns its number."""
    ids = {trial.trial_id for trial in share.result.trials if trial.status != "running"}
    with share.updating():
        entry = share.claim(ids)
        if entry is not None:
            entry.status = "running"
    return entry and int(entry.trial_id[-5:])


def end(share, *numbers, status="finished"):
    for number in numbers:
        share.result.trials[number].status = status
        share.result.trials[number].env_steps = ENV_STEPS
    with share.updating():
        pass


def statuses(config):
    result = read_summary(run_folder_of(config))
    return result.status, [(trial.status, trial.array_task) for trial in result.trials]


def test_the_first_job_creates_the_run_and_the_others_join_it(config):
    with join(config()) as first, join(config(), 1) as second:
        assert first.result.array == second.result.array == "7"
        assert [take(first), take(second), take(first)] == [0, 1, 2]
        end(first, 0, 2)
        end(second, 1)
        assert statuses(config()) == (
            "running",
            [("finished", 0), ("finished", 1), ("finished", 0), ("pending", None)],
        )
    assert load_config(run_folder_of(config()) / CONFIG_FILE) == config()


def test_jobs_that_start_at_once_create_one_run_and_take_every_trial_once(config):
    settings = config(num_samples=24)
    planned = plan_trials(settings)

    def train(number):
        with joined_run(
            settings, planned, 0, ArrayTask("7", number), resume=False, overwrite=False
        ) as share:
            taken = []
            while (trial := take(share)) is not None:
                taken.append(trial)
                end(share, trial)
            return taken

    with ThreadPoolExecutor(6) as pool:
        taken = list(pool.map(train, range(6)))
    assert sorted(itertools.chain(*taken)) == list(range(24))
    status, trials = statuses(settings)
    assert status == "finished"
    assert {n: task for n, (_, task) in enumerate(trials)} == {
        n: task for task, numbers in enumerate(taken) for n in numbers
    }


def test_a_job_that_comes_back_continues_its_own_trials_first(config):
    with join(config(), 1) as second:
        assert take(second) == 0
        with join(config()) as killed:
            assert take(killed) == 1
        # It writes nothing when it is killed; and is there again.
        assert statuses(config())[1][1] == ("running", 0)
        assert exit_code(second.result, ArrayTask("7", 1)) != 0
        with join(config(), 0) as again:
            assert again.result.trials[1].status == "pending"
            assert [take(again), take(again), take(second), take(again)] == [1, 2, 3, None]


def test_the_last_job_to_leave_settles_the_run(config):
    with join(config()) as first:
        with join(config(), 1) as second:
            assert [take(first), take(second)] == [0, 1]
            end(second, 1)
        assert statuses(config())[0] == "running"
        end(first, 0)
        first.settle(interrupted=True)
    assert statuses(config()) == (
        "interrupted",
        [("finished", 0), ("finished", 1), ("pending", None), ("pending", None)],
    )


def test_trials_of_a_job_that_never_came_back_are_interrupted_and_resumed(config):
    with join(config(num_samples=2)) as killed:
        take(killed)
    with join(config(num_samples=2), 1) as other:
        assert [take(other), take(other)] == [1, None]
        end(other, 1)
    expected = [("interrupted", 0), ("finished", 1)]
    assert statuses(config(num_samples=2)) == ("interrupted", expected)
    with join(config(num_samples=2), 1, array="8", resume=True) as later:
        assert [take(later), take(later)] == [0, None]
        assert later.result.array == "8"
        end(later, 0)
    assert statuses(config(num_samples=2)) == ("finished", [("finished", 1), ("finished", 1)])


def test_the_entry_of_a_trial_is_its_owners(config):
    with join(config()) as first, join(config(), 1) as second:
        take(first), take(second)
        first.result.trials[0].env_steps = 300
        first.result.trials[1].env_steps = 7  # of the other: not ours to say
        second.result.trials[1].metric = 0.5
        end(first)
        end(second)
        trials = read_summary(run_folder_of(config())).trials
        assert [trial.env_steps for trial in trials] == [300, 0, 0, 0]
        assert read_summary(run_folder_of(config())).best_trial == "trial_00001"
        assert second.result.trials[0].env_steps == 300


# Who may not join


def test_a_run_of_an_earlier_submission_is_refused_unless_it_is_resumed(config):
    with join(config()) as share:
        take(share)
    with pytest.raises(RunError, match="already has results"):
        join(config(), array="8")
    with join(config(), array="8", resume=True) as share:
        assert take(share) == 0
    with pytest.raises(RunError, match="already has results"):  # now it is of the later one
        join(config())


def test_overwrite_removes_the_run_of_an_earlier_submission_once(config):
    folder = run_folder_of(config())
    with join(config()):
        (folder / "trial_00000").mkdir()
    with join(config(), array="8", overwrite=True) as first:
        assert not (folder / "trial_00000").exists()
        assert take(first) == 0
        with join(config(), 1, array="8", overwrite=True) as second:
            assert take(second) == 1


@pytest.mark.parametrize("other", ["--resume", "--overwrite", "an array", "the same job"])
def test_nobody_else_touches_the_run_while_a_job_trains(config, other):
    settings = config()
    begin = {
        "--resume": lambda: opened_run(settings).__enter__(),
        "--overwrite": lambda: check_can_start(settings, overwrite=True),
        "an array": lambda: join(settings, array="8", resume=True),
        "the same job": lambda: join(settings).__enter__(),
    }
    with join(settings) as share:
        take(share)
        with pytest.raises(RunError, match="is being written by another process"):
            begin[other]()
    assert read_summary(run_folder_of(settings)).array == "7"


def test_a_process_of_its_own_can_resume_what_an_array_has_left(config):
    with join(config()) as share:
        take(share)
    with opened_run(config()) as result:
        resume_run(config(), plan_resumed_trials(config(), result), 0, result)
    assert statuses(config()) == ("running", [("pending", None)] * 4)
    with pytest.raises(RunError, match="already has results"):
        join(config())


def test_a_job_with_other_settings_is_refused(config):
    with join(config()), pytest.raises(RunError, match=r"tune.num_samples: 4 -> 3"):
        join(config(num_samples=3), 1)


def test_a_late_job_finds_nothing_to_train(config):
    settings = config(num_samples=1)
    with join(settings) as share:
        take(share)
        end(share, 0)
    assert plan_share(settings, ArrayTask("7", 1), resume=False, overwrite=False) == []


def test_a_mistake_of_the_first_job_leaves_no_run(config, experiment, tmp_path):
    with pytest.raises(ConfigError, match="pbt: not in an array"):
        join(config(scheduler="pbt"))
    with pytest.raises(ConfigError):
        join(experiment(env={"id": "MultiGrid-Emtpy-5x5-v0"}))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("scheduler", ["pbt", "pb2", {"replay": "results/other"}])
def test_what_depends_on_other_trials_is_refused_by_name(config, experiment, scheduler):
    settings = config if isinstance(scheduler, str) else lambda **tune: experiment(tune=tune)
    name = scheduler if isinstance(scheduler, str) else "replay"
    with pytest.raises(ConfigError, match=f"tune.scheduler = {name}: not in an array.*--nodes"):
        check_shareable(settings(scheduler=scheduler))


@pytest.mark.parametrize("tune", [{}, {"scheduler": "asha"}, {"search": "optuna"}])
def test_what_can_be_shared_is(config, tune):
    check_shareable(config(**tune))


def test_jobs_without_a_trial_are_refused(config):
    check_shareable(config(), num_jobs=4)
    with pytest.raises(ConfigError, match="--array 5: run has 4 trials"):
        check_shareable(config(), num_jobs=5)


def test_slurms_name_of_an_array_task_is_read():
    assert ArrayTask.parse("1234_0") == ArrayTask("1234", 0)
    assert ArrayTask.parse("two_parts_12") == ArrayTask("two_parts", 12)
    for wrong in ("1234", "1234_", "_0", "a b_0", "a_-1", "a/b_0", "a_0\n"):
        with pytest.raises(ConfigError, match=r"^--array-task: "):
            ArrayTask.parse(wrong)


@pytest.mark.parametrize(
    ("own", "unclaimed", "code"),
    [
        (["finished", "stopped"], "finished", 0),
        ([], "finished", 0),
        (["finished", "failed"], "finished", 1),
        (["failed", "interrupted"], "finished", 75),
        (["pending"], "finished", 75),
        (["finished"], "pending", 75),
    ],
)
def test_the_exit_code_is_of_the_jobs_own_trials(result, trial, own, unclaimed, code):
    ours = [trial(number, status=status, array_task=1) for number, status in enumerate(own)]
    others = [trial(7, status="running", array_task=0), trial(8, status="failed", array_task=2)]
    run = result(*ours, *others, trial(9, status=unclaimed))
    assert exit_code(run, ArrayTask("7", 1)) == code


# Optuna


def queue(config, share):
    tasks = [
        TrialTask(p.spec.trial_id, Path(share.result.folder) / p.spec.trial_id, p.setup, 0.0)
        for p in plan_trials(config)
    ]
    return TrialQueue(config, share, tasks, print)


def test_the_study_of_an_array_chooses_for_all_jobs_and_knows_their_results(config):
    settings = config(search="optuna")
    with join(settings) as first, join(settings, 1) as second:
        queues = [queue(settings, first), queue(settings, second)]
        tasks = [queues[number].suggest("tune")["task"] for number in (0, 1, 0)]
        assert [task.trial_id[-1] for task in tasks] == list("012")
        end(second, 1, status="failed")
        queues[1].record(second.result.trials[1])
        tasks.append(queues[0].suggest("tune")["task"])
        assert queues[1].suggest("tune") == TrialQueue.FINISHED
        chosen = [task.setup.config.algorithm.params["lr"] for task in tasks]
        entries = read_summary(run_folder_of(settings)).trials
        assert [entry.params[LR] for entry in entries] == chosen
        assert len(set(chosen)) == 4
        assert [entry.array_task for entry in entries] == [0, 1, 0, 0]
        states = [trial.state.name for trial in queues[0]._study()._study.get_trials()]
        assert states == ["RUNNING", "FAIL", "RUNNING", "RUNNING"]


def test_a_trial_that_cannot_be_claimed_on_disk_is_not_taken(config, monkeypatch):
    settings = config()
    with join(settings) as share, join(settings, 1) as other:
        trials = queue(settings, share)

        def refuse():
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as full:
            full.setattr(share, "push", refuse)
            with pytest.raises(OSError, match="No space"):
                trials.suggest("tune")
        assert take(other) == 0
        assert trials.suggest("tune")["task"].trial_id == "trial_00001"


def test_the_locks_of_a_run_are_no_results(experiment):
    folder = run_folder_of(experiment())
    folder.mkdir(parents=True)
    with lock_run(folder, f"{LOCK_FILE}_3"), lock_run(folder, shared=True):
        pass
    check_can_start(experiment(), overwrite=False)
