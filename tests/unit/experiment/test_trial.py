"""What a trial reports of its iterations, with an algorithm that plays a script."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from ray.rllib.utils.actor_manager import RemoteCallResults
from ray.rllib.utils.metrics.metrics_logger import MetricsLogger

from empo_rllib.config.sections import CheckpointConfig
from empo_rllib.errors import TrialError
from empo_rllib.experiment import trial as trial_module
from empo_rllib.experiment.metrics import Counters, score_column
from empo_rllib.experiment.progress_file import ProgressFile, read_progress
from empo_rllib.experiment.trial import ERROR_FILE, ExperimentTrial
from empo_rllib.sampling.episode_window import (
    SAMPLED_EPISODES,
    EpisodeNumbers,
    EpisodeWindow,
    SampledEpisodes,
)


class ScriptedAlgorithm:
    """Samples so many env steps in each iteration; None where all env runners are lost."""

    config = SimpleNamespace(sample_timeout_s=60.0)

    def __init__(self, *env_steps):
        self._env_steps = iter(env_steps)
        self.learner_group = SimpleNamespace(foreach_learner=lambda _: RemoteCallResults())
        self.env_runner_group = SimpleNamespace(
            num_remote_env_runners=lambda: 3,
            num_healthy_remote_workers=lambda: 1,
            healthy_env_runner_ids=lambda: [1],
            foreach_env_runner=lambda *_, **__: ["here"],
        )

    def train(self):
        steps = next(self._env_steps)
        return {"env_runners": {} if steps is None else {"num_env_steps_sampled": steps}}


class EvaluatedAlgorithm(ScriptedAlgorithm):
    """Has these success rates in the evaluations after its iterations; None: it has none."""

    def __init__(self, *success_rates):
        super().__init__(*[100] * len(success_rates))
        self._rates = iter(success_rates)

    def train(self):
        if (rate := next(self._rates)) is None:
            return super().train()
        episode = EpisodeNumbers(4, {"a": 1.0}, {}, rate)
        sampled = SampledEpisodes(0, 0, 0, 4, 1, 4, [(0, 4, episode)])
        return super().train() | {
            "evaluation": {"num_healthy_workers": 0, "env_runners": {SAMPLED_EPISODES: sampled}}
        }


class LoggingAlgorithm(ScriptedAlgorithm):
    """Has callbacks that log a number and a text."""

    metrics = MetricsLogger(root=True)

    def train(self):
        result = super().train()
        result["env_runners"]["mine"] = 0.5
        return {**result, "words": "hello"}


@pytest.fixture
def scripted(experiment, tmp_path):
    """Makes a trial whose algorithm plays a script; a day passes in a second."""

    def make(*env_steps):
        trial = object.__new__(ExperimentTrial)
        trial._config = experiment(checkpoint={"frequency": 1000})
        trial._algorithm = ScriptedAlgorithm(*env_steps)
        trial._folder, trial._healthy, trial._is_restored = tmp_path, True, False
        trial._counters, trial._window = Counters(), EpisodeWindow(100)
        trial._opened = ProgressFile(tmp_path, 0, tensorboard=False)
        trial._metrics = SimpleNamespace(emit=lambda *_: None)
        trial._saved_iteration, trial._waited_s, trial._env_runner_hosts = 0, 0.0, []
        trial._score_column = score_column(trial._config)
        trial._ignored_metrics = []
        trial._task = SimpleNamespace(schedule=None)
        return trial

    return make


@pytest.fixture
def clock(monkeypatch):
    """Every look at the clock takes ten seconds."""
    seconds = iter(range(0, 10_000, 10))
    monkeypatch.setattr(trial_module.time, "perf_counter", lambda: float(next(seconds)))


def test_an_iteration_without_env_steps_has_no_row_and_its_time_counts(scripted, clock, tmp_path):
    trial = scripted(100, None, None, 100)
    reported = [trial.step() for _ in range(4)]
    assert [row["training_iteration"] for row in reported] == [1, 1, 1, 2]
    assert [row["env_steps"] for row in reported] == [100, 100, 100, 200]
    rows = read_progress(tmp_path)
    assert [row["env_steps"] for row in rows] == [100, 200]
    assert [row["time_s"] for row in rows] == [10.0, 40.0]
    assert rows[1]["env_steps_per_s"] == pytest.approx(100 / 30)


@pytest.mark.parametrize("callbacks", [[], ["own_code:Mine"]])
def test_what_callbacks_log_is_in_the_row(scripted, experiment, tmp_path, callbacks):
    trial = scripted()
    trial._algorithm = LoggingAlgorithm(100)
    trial._config = experiment(algorithm={"name": "PPO", "callbacks": callbacks})
    trial._is_due = lambda _: False
    reported = trial.step()
    assert reported.get("custom/mine") == (0.5 if callbacks else None)
    assert reported["ignored_metrics"] == (["custom/words"] if callbacks else [])
    assert ("custom/mine" in read_progress(tmp_path)[0]) == bool(callbacks)


def test_a_trial_without_any_env_step_reports_counters_of_zero(scripted):
    reported = scripted(None).step()
    assert (reported["env_steps"], reported["time_s"], reported["done"]) == (0, 0.0, False)


def test_a_trial_that_samples_nothing_any_more_fails(scripted, clock, tmp_path, monkeypatch):
    monkeypatch.setattr(trial_module, "MAX_WAIT_S", 40.0)
    trial = scripted(100, *[None] * 10)
    for _ in range(4):
        trial.step()
    with pytest.raises(TrialError, match=r"^no env step was sampled for 40 s; 1 of 3 env runners"):
        trial.step()
    assert (tmp_path / ERROR_FILE).read_text().startswith("no env step was sampled")


@pytest.mark.parametrize(
    ("mode", "saved"),
    [("max", [(1, 0.5), (3, 0.9), (8, 0.1)]), ("min", [(1, 0.5), (7, 0.1), (8, 0.1)])],
)
def test_the_best_evaluation_so_far_is_saved_at_once(
    scripted, experiment, tmp_path, monkeypatch, write_checkpoint_folder, mode, saved
):
    trial = scripted()
    tune = {"metric": "success_rate", "mode": mode}
    trial._config = experiment(checkpoint={"frequency": 8}, evaluation={"interval": 1}, tune=tune)
    trial._score_column = score_column(trial._config)
    trial._algorithm = EvaluatedAlgorithm(0.5, None, 0.9, 0.9, 0.6, None, 0.1, 0.1)
    written = []

    def write(folder, algorithm, counters, episodes, num_to_keep, score, mode, kept):
        written.append((counters["training_iteration"], score))
        write_checkpoint_folder(folder, counters["training_iteration"], score=score)

    monkeypatch.setattr(trial_module, "write_checkpoint", write)
    for _ in range(8):
        trial.step()
    assert written == saved


def test_a_mean_of_training_is_saved_when_a_checkpoint_is_due(scripted, monkeypatch):
    trial, written = scripted(*[100] * 4), []
    monkeypatch.setattr(
        trial_module, "write_checkpoint", lambda *args, **_: written.append(args[5])
    )
    trial._config = trial._config.model_copy(update={"checkpoint": CheckpointConfig(frequency=2)})
    for _ in range(4):
        trial.step()
    assert written == [None, None]  # no episode has ended
