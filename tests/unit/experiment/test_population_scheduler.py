"""Members take turns, wait for each other, and act on a round that is on disk."""

from __future__ import annotations

from pathlib import Path

import pytest
from ray.tune.experiment import Trial

from empo_rllib.errors import ConfigError, RunError
from empo_rllib.experiment import interrupt
from empo_rllib.experiment.population import (
    POPULATION_FILE,
    Change,
    Member,
    Round,
    read_rounds,
    write_rounds,
)
from empo_rllib.experiment.population_scheduler import PopulationScheduler
from empo_rllib.experiment.progress_file import ProgressFile
from empo_rllib.experiment.scheduler import build_scheduler
from empo_rllib.experiment.schedules import (
    Membership,
    Replay,
    change_at,
    copied_checkpoint,
    read_replayed,
)
from empo_rllib.experiment.share import Share
from empo_rllib.experiment.start import opened_run
from empo_rllib.experiment.summary import read_summary
from empo_rllib.experiment.trial import TrialTask

INTERVAL, BATCH = 1000, 400
LR = "algorithm.params.lr"
PBT = {"num_samples": 4, "scheduler": {"pbt": {"perturbation_interval": INTERVAL}}}
SPACES = {"name": "PPO", "params": {"lr": {"loguniform": [1e-5, 1e-2]}}}


class Controller:
    """Tune's, with so many processors: it starts, pauses and ends trials."""

    def __init__(self, scheduler, trial_ids, room):
        self.scheduler, self.room, self.order = scheduler, room, []
        self.trials = [FakeTrial(trial_id) for trial_id in trial_ids]

    def get_trials(self):
        return self.trials

    def pause_trial(self, trial, should_checkpoint):
        assert not should_checkpoint
        trial.status = Trial.PAUSED

    def start(self):
        """Fills the processors as Tune does: with whom the scheduler names, then who is pending."""
        chosen = self.scheduler.choose_trial_to_run(self)
        if chosen is not None and chosen.status == Trial.PAUSED:
            chosen.status = Trial.PENDING
        for trial in self.trials:
            running = sum(one.status == Trial.RUNNING for one in self.trials)
            if trial.status == Trial.PENDING and running < self.room:
                trial.status = Trial.RUNNING
                self.order.append(trial.trial_id)


class FakeTrial:
    def __init__(self, trial_id):
        self.trial_id, self.status, self.env_steps = trial_id, Trial.PENDING, 0
        self.config = {"task": TrialTask(trial_id, Path("/runs"), None, 0.0)}

    def is_finished(self):
        return self.status in (Trial.TERMINATED, Trial.ERROR)


@pytest.fixture(autouse=True)
def _no_signal():
    interrupt.reset()


@pytest.fixture
def population(experiment, result, trial, tmp_path):
    """Returns a function that begins a session of a run of four members."""

    def begin(room):
        config = experiment(tune=PBT, algorithm=SPACES)
        run = result(*(trial(n, params={LR: 10.0 ** -(n + 2)}) for n in range(4)))
        lines = []
        scheduler = build_scheduler(config, Share(run), lines.append)
        assert isinstance(scheduler, PopulationScheduler)
        controller = Controller(scheduler, [one.trial_id for one in run.trials], room)
        return scheduler, controller, run, lines

    return begin


def iterate(scheduler, controller, folder, end=3 * INTERVAL, fail=""):
    """Trains until all have ended: the returns of a member are its number."""
    for _ in range(200):
        controller.start()
        for trial in controller.trials:
            if trial.status == Trial.RUNNING:
                step(scheduler, controller, trial, folder, end, fail)
        if all(trial.is_finished() for trial in controller.trials):
            return
    raise AssertionError([(one.trial_id, one.status, one.env_steps) for one in controller.trials])


def step(scheduler, controller, trial, folder, end, fail):
    if trial.trial_id == fail and trial.env_steps >= INTERVAL:
        trial.status = Trial.ERROR
        return
    waits = trial.env_steps >= (len(read_rounds(folder)) + 1) * INTERVAL
    trial.env_steps += 0 if waits else BATCH
    row = {
        "training_iteration": trial.env_steps // BATCH,
        "env_steps": trial.env_steps,
        "episode_return_mean": float(trial.trial_id[-1]),
    }
    if not waits:
        (folder / trial.trial_id).mkdir(exist_ok=True)
        progress = ProgressFile(folder / trial.trial_id, 10**6, tensorboard=False)
        progress.append(row)
        progress.close()
    if trial.env_steps >= end:
        trial.status = Trial.TERMINATED
        return
    decision = scheduler.on_trial_result(controller, trial, row)
    assert (decision == scheduler.NOOP) == (trial.status == Trial.PAUSED)


@pytest.mark.parametrize("room", [1, 2, 3, 4])
def test_all_members_come_to_every_round_with_any_number_of_processors(population, tmp_path, room):
    scheduler, controller, _, lines = population(room)
    iterate(scheduler, controller, tmp_path)
    rounds = read_rounds(tmp_path)
    assert [[one.env_steps for one in each.members] for each in rounds] == [[1200] * 4, [2000] * 4]
    assert [one.score for one in rounds[0].members] == [0.0, 1.0, 2.0, 3.0]
    assert [one.copies for one in rounds[0].members] == ["trial_00003", None, None, None]
    assert [len(one.schedule) for one in read_summary(tmp_path).trials] == [3, 1, 1, 1]
    assert lines[0] == "round 1 at 1,200 env steps: trial_00000 copies trial_00003"
    if room == 4:
        assert len(controller.order) == 4, "nobody is paused where all have room"


def test_a_member_that_failed_is_not_waited_for(population, tmp_path):
    scheduler, controller, _, _ = population(2)
    iterate(scheduler, controller, tmp_path, fail="trial_00003")
    rounds = read_rounds(tmp_path)
    assert [one.copies for one in rounds[-1].members] == ["trial_00002", None, None]


def test_a_later_session_goes_on_with_the_rounds_that_are_on_disk(population, tmp_path):
    scheduler, controller, _, _ = population(4)
    iterate(scheduler, controller, tmp_path)
    whole = read_rounds(tmp_path)
    write_rounds(tmp_path, whole[:1])
    _, _, again, _ = population(4)
    assert [len(one.schedule) for one in again.trials] == [2, 1, 1, 1]
    resumed, controller, _, _ = population(2)
    for trial in controller.trials:
        trial.env_steps = 1200
    iterate(resumed, controller, tmp_path)
    assert read_rounds(tmp_path) == whole


def test_after_a_signal_nobody_starts_and_no_round_is_decided(population):
    scheduler, controller, _, _ = population(4)
    interrupt.current.asked.set()
    assert scheduler.choose_trial_to_run(controller) is None


def one_round(run, copies="trial_00001"):
    members = [
        Member(
            trial_id=f"trial_{n:05d}",
            env_steps=1200,
            training_iteration=3 + n,
            score=float(n),
            copies=copies if n == 0 else None,
            params={LR: 0.5},
        )
        for n in range(2)
    ]
    write_rounds(run, [Round(members=members)])


def test_a_member_waits_at_each_round_until_it_is_decided(tmp_path):
    loser, donor = (Membership(tmp_path, f"trial_{n:05d}", INTERVAL, {LR: 0.1}) for n in (0, 1))
    assert loser.is_open(1200, 0.0)
    assert not loser.is_open(800, 0.0)
    assert [loser.may_change(800, 1200), loser.may_change(1200, 1600)] == [True, False]
    one_round(tmp_path)
    assert not loser.is_open(1200, 0.0)
    assert not donor.is_open(1200, 0.0)
    assert loser.is_open(2000, 0.0)
    assert [change.params for change in loser.changes()] == [{LR: 0.1}, {LR: 0.5}]
    assert len(donor.changes()) == 1
    assert donor.kept() == {4}, "who copies it may not have begun"


def test_a_copy_is_restored_only_where_the_member_has_not_trained_on(
    tmp_path, write_checkpoint_folder
):
    one_round(tmp_path)
    source = write_checkpoint_folder(tmp_path / "trial_00001", 4)
    changes = Membership(tmp_path, "trial_00000", INTERVAL, {LR: 0.1}).changes()
    assert change_at(changes, 800).params == {LR: 0.1}
    change = change_at(changes, 1600)
    assert change.params == {LR: 0.5}
    assert copied_checkpoint(change, tmp_path, 1200) == source
    assert copied_checkpoint(change, tmp_path, 1600) is None
    assert copied_checkpoint(changes[0], tmp_path, 0) is None


@pytest.fixture
def source(result, trial, tmp_path):
    """A run whose second member has a schedule of two values."""
    folder = tmp_path / "source"
    folder.mkdir()
    schedule = [
        Change(round=0, env_steps=0, params={LR: 0.1}),
        Change(round=1, env_steps=1200, params={LR: 0.2}, copied_from="trial_00000"),
    ]
    first = trial(0, schedule=[schedule[0].model_copy(update={"params": {LR: 0.3}})])
    run = result(first, trial(1, schedule=schedule), folder=folder, best_trial="trial_00000")
    run.write()
    return folder


def test_a_replay_follows_the_lineage_of_a_member(experiment, source):
    replay = f"{source}#trial_00001"
    changes = read_replayed(experiment(tune={"scheduler": {"replay": replay}}))
    assert [(one.env_steps, one.params[LR]) for one in changes] == [(0, 0.3), (1200, 0.2)]
    assert [one.copied_from for one in changes] == [None, None]
    schedule = Replay(changes)
    assert [schedule.may_change(0, 1199), schedule.may_change(800, 1200)] == [False, True]
    best = read_replayed(experiment(tune={"scheduler": {"replay": str(source)}}))
    assert [one.params[LR] for one in best] == [0.3]
    assert read_replayed(experiment()) == []


@pytest.mark.parametrize(
    ("name", "algorithm", "error", "part"),
    [
        ("#trial_00007", {"name": "PPO"}, RunError, "'trial_00007' is no trial with a schedule"),
        ("", SPACES, ConfigError, f"gives the values of {LR}: drop their search spaces"),
        ("", {"name": "SAC"}, ConfigError, "SAC cannot change lr during training"),
        ("/nowhere", {"name": "PPO"}, RunError, "not a run folder"),
    ],
)
def test_what_cannot_be_replayed_is_refused(experiment, source, name, algorithm, error, part):
    config = experiment(algorithm=algorithm, tune={"scheduler": {"replay": f"{source}{name}"}})
    with pytest.raises(error) as refused:
        read_replayed(config)
    assert part in str(refused.value)


def test_a_population_keeps_its_size_and_its_rounds_on_resume(experiment, run_folder, trial):
    config = experiment(tune=PBT, algorithm=SPACES)
    folder = run_folder(config)
    more = experiment(tune={**PBT, "num_samples": 5}, algorithm=SPACES)
    with pytest.raises(RunError, match="cannot be resumed"), opened_run(more):
        pass
    (folder / POPULATION_FILE).write_text("[")
    with pytest.raises(RunError, match=POPULATION_FILE), opened_run(config):
        pass
