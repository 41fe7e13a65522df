"""Checkpoints are whole or not there, and say what is wrong with them."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from ray.rllib.utils.actor_manager import RemoteCallResults, ResultOrError
from torch import nn

from empo_rllib.errors import CheckpointError, TrialError
from empo_rllib.experiment import checkpoints
from empo_rllib.experiment.checkpoints import (
    POLICIES,
    beats_all,
    best_intact,
    check_intact,
    checkpoint_path,
    checkpoint_to_restore,
    find_checkpoints,
    load_weights,
    newest_checkpoint,
    newest_intact,
    read_counters,
    read_episodes,
    read_policy,
    scored_checkpoints,
    write_checkpoint,
)
from empo_rllib.experiment.metrics import Counters

WEIGHTS = {
    "walker": {
        "actor.weight": np.arange(6, dtype=np.float32).reshape(2, 3).T,  # not contiguous
        "log_std": np.float32(0.5) * np.ones((), np.float32),
    },
    "fixed": {"actor.weight": np.zeros((2, 3), np.float32)},
}


EPISODES = [{"length": 3, "agent_returns": {"a": 0.5}, "policy_returns": {}, "success": None}]


class FakeAlgorithm:
    """Stands in for an RLlib Algorithm; `fails_in` names what raises."""

    def __init__(self, fails_in=None, weights=WEIGHTS):
        self.fails_in = fails_in
        self.learner_group = SimpleNamespace(
            get_state=self._get_state, foreach_learner=self._foreach_learner
        )
        self._weights = weights

    def save_to_path(self, path):
        from pathlib import Path

        Path(path).mkdir()
        (Path(path) / "rllib_checkpoint.json").write_text("{}")
        if self.fails_in == "save_to_path":
            raise OSError("No space left on device")

    def _get_state(self, components):
        assert components == "learner/rl_module"
        if self.fails_in == "get_state":
            raise RuntimeError("the learner died")
        return {"learner": {"rl_module": self._weights}}

    def _foreach_learner(self, function):
        modules = {name: FakeModule(weights) for name, weights in self._weights.items()}
        results = RemoteCallResults()
        results.add_result(None, ResultOrError(function(SimpleNamespace(module=modules))), None)
        return results


class FakeModule(nn.Module):
    """Stands in for an RLModule with these parameters."""

    def __init__(self, weights):
        super().__init__()
        for key, value in weights.items():
            self.register_parameter(key.replace(".", "_"), nn.Parameter(torch.tensor(value)))

    def unwrapped(self):
        return self


def counters(iteration):
    return asdict(Counters(iteration, 100 * iteration))


def save(folder, iteration, num_to_keep=2, score=None, mode="max", **kwargs):
    algorithm = FakeAlgorithm(**kwargs)
    return write_checkpoint(
        folder, algorithm, counters(iteration), EPISODES, num_to_keep, score, mode
    )


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def flip(path):
    """Flips a bit of the last byte: the size stays."""
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def message_of(function, *args):
    with pytest.raises(CheckpointError) as raised:
        function(*args)
    assert raised.value.exit_code == 2
    return str(raised.value)


def test_a_checkpoint_holds_counters_weights_and_rllibs_state(tmp_path):
    checkpoint = save(tmp_path, 10)
    assert checkpoint == tmp_path / "checkpoint_000010"
    assert names(checkpoint) == ["algorithm", "episodes.json", "policies", "state.json"]
    assert names(checkpoint / "policies") == ["fixed.safetensors", "walker.safetensors"]
    assert read_counters(checkpoint) == counters(10)
    for name, weights in WEIGHTS.items():
        read = read_policy(checkpoint, name)
        assert read.keys() == weights.keys()
        for key, value in weights.items():
            np.testing.assert_array_equal(read[key], value)
            assert read[key].shape == value.shape
            assert read[key].dtype == value.dtype


def test_a_checkpoint_holds_the_newest_episodes_which_older_ones_do_not(tmp_path):
    checkpoint = save(tmp_path, 10)
    assert read_episodes(checkpoint) == EPISODES
    (checkpoint / "episodes.json").write_text("[{")
    assert "damaged" in message_of(read_episodes, checkpoint)
    (checkpoint / "episodes.json").unlink()
    assert read_episodes(checkpoint) == []


def test_only_the_newest_checkpoints_are_kept(tmp_path):
    for iteration in (5, 10, 15, 20):
        save(tmp_path, iteration, num_to_keep=2)
    assert names(tmp_path) == ["checkpoint_000015", "checkpoint_000020"]
    save(tmp_path, 100, num_to_keep=1)
    assert names(tmp_path) == ["checkpoint_000100"]


@pytest.mark.parametrize(
    ("scores", "mode", "kept"),
    [
        ((0.1, 0.9, 0.3, 0.2), "max", [2, 4]),
        ((0.1, 0.9, 0.3, 0.2), "min", [1, 4]),
        ((0.5, 0.9, 0.9, 0.2), "max", [3, 4]),  # of equals the newest
        ((0.1, 0.2, 0.3, 0.4), "max", [4]),
        ((None, 0.9, None, None), "max", [2, 4]),
        ((None, None, None, None), "max", [4]),
        ((-3.0, -2.0, -4.0, None), "max", [2, 4]),
    ],
)
def test_the_best_checkpoint_is_kept_beside_the_newest(tmp_path, scores, mode, kept):
    for iteration, score in enumerate(scores, start=1):
        save(tmp_path, iteration, num_to_keep=1, score=score, mode=mode)
    assert find_checkpoints(tmp_path) == [checkpoint_path(tmp_path, number) for number in kept]
    best = best_intact(tmp_path, mode)
    assert best == (checkpoint_path(tmp_path, kept[0]) if any(scores) else None)
    assert newest_intact(tmp_path) == checkpoint_path(tmp_path, 4)
    assert checkpoint_to_restore(tmp_path) == checkpoint_path(tmp_path, 4)


def test_a_damaged_best_checkpoint_gives_way_to_the_second_best(tmp_path, caplog):
    for iteration, score in enumerate((0.5, 0.9, 0.3, 0.1), start=1):
        save(tmp_path, iteration, num_to_keep=4, score=score)
    flip(tmp_path / "checkpoint_000002/policies/walker.safetensors")
    assert best_intact(tmp_path, "max") == checkpoint_path(tmp_path, 1)
    assert "Using checkpoint_000001 instead" in caplog.text
    (tmp_path / "checkpoint_000001/state.json").write_text("{")
    assert best_intact(tmp_path, "max") == checkpoint_path(tmp_path, 3)


@pytest.mark.parametrize("score", ["high", float("nan"), float("inf"), [1.0], True])
def test_a_score_that_is_no_number_is_damage(tmp_path, score):
    path = save(tmp_path, 1, score=0.5) / "state.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"score": score}))
    assert "damaged state.json: score must be a finite number" in message_of(
        check_intact, tmp_path / "checkpoint_000001"
    )
    assert scored_checkpoints(tmp_path, "max") == []


@pytest.mark.parametrize(("mode", "better", "worse"), [("max", 0.6, 0.4), ("min", 0.4, 0.6)])
def test_a_score_beats_all_when_it_is_better_than_each(tmp_path, mode, better, worse):
    assert beats_all(tmp_path, worse, mode)
    save(tmp_path, 1, score=0.5)
    save(tmp_path, 2)
    assert beats_all(tmp_path, better, mode)
    assert not beats_all(tmp_path, worse, mode)
    assert not beats_all(tmp_path, 0.5, mode)


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_not_saved(tmp_path, number):
    save(tmp_path, 1)
    broken = {**WEIGHTS, "walker": {"actor.weight": np.array([0.0, number], np.float32)}}
    with pytest.raises(TrialError, match=r"checkpoint_000002: not saved: 1 parameters of policy w"):
        save(tmp_path, 2, weights=broken)
    assert newest_intact(tmp_path) == checkpoint_path(tmp_path, 1)
    assert names(tmp_path) == ["checkpoint_000001"]


@pytest.mark.parametrize("fails_in", ["save_to_path", "get_state"])
def test_a_failure_while_saving_leaves_the_old_checkpoints_and_nothing_else(tmp_path, fails_in):
    save(tmp_path, 1, num_to_keep=1)
    with pytest.raises((OSError, RuntimeError)):
        save(tmp_path, 2, num_to_keep=1, fails_in=fails_in)
    assert names(tmp_path) == ["checkpoint_000001"]
    assert read_counters(tmp_path / "checkpoint_000001") == counters(1)


def test_what_a_killed_save_left_is_no_checkpoint_and_goes_with_the_next(tmp_path):
    save(tmp_path, 1)
    rest = tmp_path / ".checkpoint_000002.tmp"
    rest.mkdir()
    (rest / "state.json").write_text("{}")
    (tmp_path / "checkpoint_000003").mkdir()  # without state.json
    assert [path.name for path in find_checkpoints(tmp_path)] == ["checkpoint_000001"]
    save(tmp_path, 2)
    save(tmp_path, 3)
    assert names(tmp_path) == ["checkpoint_000002", "checkpoint_000003"]


def test_saving_an_iteration_again_replaces_its_checkpoint(tmp_path):
    save(tmp_path, 1)
    save(tmp_path, 1, weights={"other": WEIGHTS["fixed"]})
    assert names(tmp_path / "checkpoint_000001" / "policies") == ["other.safetensors"]


def test_checkpoints_are_found_oldest_first(tmp_path):
    iterations = (1_000_000, 100, 999_999, 9, 10)
    for iteration in iterations:
        save(tmp_path, iteration, num_to_keep=9)
    assert find_checkpoints(tmp_path) == [
        checkpoint_path(tmp_path, iteration) for iteration in sorted(iterations)
    ]


def test_folders_that_only_look_like_checkpoints_are_left_alone(tmp_path):
    save(tmp_path, 2, num_to_keep=1)
    for name in ("checkpoint_notes", "checkpoint_000001_copy"):
        shutil.copytree(tmp_path / "checkpoint_000002", tmp_path / name)
    save(tmp_path, 3, num_to_keep=1)
    assert names(tmp_path) == ["checkpoint_000001_copy", "checkpoint_000003", "checkpoint_notes"]
    assert find_checkpoints(tmp_path) == [checkpoint_path(tmp_path, 3)]


def test_a_folder_that_is_no_checkpoint_is_refused(tmp_path):
    assert "not a checkpoint: it has no state.json" in message_of(read_counters, tmp_path)
    assert "not a checkpoint" in message_of(read_policy, tmp_path, "walker")


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "3",
        "null",
        "{}",
        '{"format": 1}',
        '{"format": 1, "counters": {}}',
        "\xff\x00",
        '{"counters": {}}',
        "[" * 100_000,
    ],
    ids=lambda content: content[:30],
)
def test_a_damaged_state_is_refused(tmp_path, content):
    checkpoint = save(tmp_path, 1)
    (checkpoint / "state.json").write_text(content, encoding="latin-1")
    assert f"{checkpoint}: damaged state.json" in message_of(read_counters, checkpoint)


def test_a_checkpoint_of_another_format_names_both(tmp_path):
    checkpoint = save(tmp_path, 1)
    (checkpoint / "state.json").write_text(json.dumps({"format": 7, "counters": {}}))
    message = message_of(read_policy, checkpoint, "walker")
    assert "format 7; this version of empo_rllib reads format 1" in message


def test_a_policy_that_is_not_there_is_refused_with_those_that_are(tmp_path):
    message = message_of(read_policy, save(tmp_path, 1), "wolker")
    assert "no policy 'wolker'; it holds fixed, walker. Did you mean 'walker'?" in message


def test_a_checkpoint_knows_its_files(tmp_path):
    checkpoint = save(tmp_path, 1)
    check_intact(checkpoint)
    state = json.loads((checkpoint / "state.json").read_text())
    files = {"algorithm/rllib_checkpoint.json", "episodes.json"}
    files |= {*(f"policies/{n}.safetensors" for n in WEIGHTS)}
    assert set(state["files"]) == files
    assert state["files"]["algorithm/rllib_checkpoint.json"] == 2


@pytest.mark.parametrize("part", ["policies/walker.safetensors", "algorithm/rllib_checkpoint.json"])
@pytest.mark.parametrize("damage", ["cut", "longer", "missing"])
def test_a_checkpoint_with_an_incomplete_file_is_refused(tmp_path, part, damage):
    checkpoint = save(tmp_path, 1)
    content = (checkpoint / part).read_bytes()
    if damage == "missing":
        (checkpoint / part).unlink()
    else:
        (checkpoint / part).write_bytes(content[:-1] if damage == "cut" else content + b"x")
    message = message_of(check_intact, checkpoint)
    assert message.startswith(f"{checkpoint / part}: ")
    assert f"{len(content):,} bytes were saved" in message


@pytest.mark.parametrize("part", ["policies/walker.safetensors", "algorithm/rllib_checkpoint.json"])
def test_a_flipped_bit_is_noticed_with_its_file(tmp_path, part):
    checkpoint = save(tmp_path, 1)
    flip(checkpoint / part)
    message = message_of(check_intact, checkpoint)
    assert message == f"{checkpoint / part}: damaged: its content has changed (SHA-256 differs)."


@pytest.mark.parametrize(
    "files", [3, ["policies"], {"policies/walker.safetensors": "x"}, {"a": None}]
)
def test_sizes_that_are_none_are_a_damaged_state(tmp_path, files):
    checkpoint = save(tmp_path, 1)
    state = json.loads((checkpoint / "state.json").read_text())
    (checkpoint / "state.json").write_text(json.dumps({**state, "files": files}))
    assert message_of(check_intact, checkpoint).startswith(f"{checkpoint}: damaged state.json")


def test_policies_are_intact_without_the_pickles_beside_them(tmp_path):
    checkpoint = save(tmp_path, 1)
    shutil.rmtree(checkpoint / "algorithm")
    assert newest_intact(tmp_path, within=POLICIES) == checkpoint
    assert "rllib_checkpoint.json" in message_of(newest_intact, tmp_path)


def test_an_older_checkpoint_without_sha256_is_read(tmp_path):
    checkpoint = save(tmp_path, 1)
    state = json.loads((checkpoint / "state.json").read_text())
    del state["sha256"]
    (checkpoint / "state.json").write_text(json.dumps(state))
    check_intact(checkpoint)
    assert newest_intact(tmp_path) == checkpoint


def test_a_damaged_newest_checkpoint_gives_way_to_the_one_before(tmp_path, caplog):
    good, damaged = save(tmp_path, 1), save(tmp_path, 2)
    flip(damaged / "policies" / "walker.safetensors")
    assert newest_intact(tmp_path) == good
    (warning,) = caplog.messages
    assert warning.startswith(f"{damaged / 'policies' / 'walker.safetensors'}: damaged")
    assert warning.endswith("Using checkpoint_000001 instead.")


def test_only_damaged_checkpoints_are_an_error_about_the_newest(tmp_path):
    for iteration in (1, 2):
        flip(save(tmp_path, iteration) / "policies" / "walker.safetensors")
    message = message_of(newest_intact, tmp_path)
    assert message.startswith(f"{tmp_path / 'checkpoint_000002'}")


def test_a_checkpoint_that_is_rotated_away_while_it_is_read_gives_way_to_the_next(
    tmp_path, monkeypatch, caplog
):
    save(tmp_path, 1)
    check = checkpoints.check_intact

    def rotating(checkpoint, within):
        if checkpoint.name == "checkpoint_000001":
            save(tmp_path, 2, num_to_keep=1)
        check(checkpoint, within)

    monkeypatch.setattr(checkpoints, "check_intact", rotating)
    assert newest_intact(tmp_path) == tmp_path / "checkpoint_000002"
    assert not caplog.messages


def test_a_trial_without_checkpoints_has_none_that_is_intact(tmp_path):
    assert newest_intact(tmp_path) is None
    assert checkpoint_to_restore(tmp_path) is None


def test_restoring_puts_later_damaged_checkpoints_aside(tmp_path):
    good, damaged = save(tmp_path, 1), save(tmp_path, 2)
    flip(damaged / "policies" / "walker.safetensors")
    assert checkpoint_to_restore(tmp_path) == good
    assert names(tmp_path) == ["checkpoint_000001", "damaged_checkpoint_000002"]
    assert newest_intact(tmp_path) == good


def test_a_kill_while_checkpoints_are_rotated_leaves_nothing_for_good(tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    def killed(path, **_):
        if not path.exists():
            return
        next(path for path in sorted(path.rglob("*")) if path.is_file()).unlink()
        raise Killed

    save(tmp_path, 1)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", killed)
        with pytest.raises(Killed):
            save(tmp_path, 2, num_to_keep=1)
    # Half of it is there, under a name that nobody takes for a checkpoint.
    assert find_checkpoints(tmp_path) == [tmp_path / "checkpoint_000002"]
    assert ".checkpoint_000001.old" in names(tmp_path)
    assert checkpoint_to_restore(tmp_path) == tmp_path / "checkpoint_000002"
    assert names(tmp_path) == ["checkpoint_000002"]


def test_restoring_removes_what_older_versions_left_of_a_rotation(tmp_path):
    newest = save(tmp_path, 2)
    (tmp_path / "checkpoint_000001" / "algorithm").mkdir(parents=True)
    assert checkpoint_to_restore(tmp_path) == newest
    assert names(tmp_path) == ["checkpoint_000002"]


@pytest.mark.parametrize("damage", ["cut", "empty", "text"])
def test_damaged_weights_are_refused_with_their_file(tmp_path, damage):
    checkpoint = save(tmp_path, 1)
    path = checkpoint / "policies" / "walker.safetensors"
    content = path.read_bytes()
    path.write_bytes({"cut": content[:-3], "empty": b"", "text": b"hello, world"}[damage])
    assert f"{path}: damaged weights" in message_of(read_policy, checkpoint, "walker")


def test_weights_fit_only_the_network_they_are_of(tmp_path):
    module = nn.Sequential(nn.Linear(3, 2, bias=False))
    load_weights(module, {"0.weight": np.ones((2, 3), np.float32)}, "here")
    assert torch.equal(module[0].weight, torch.ones(2, 3))
    for wrong in (
        {"0.weight": np.ones((2, 4), np.float32)},
        {"1.weight": np.ones((2, 3), np.float32)},
        {},
    ):
        message = message_of(load_weights, module, wrong, "policies: 'a' from results/old")
        assert message.startswith("policies: 'a' from results/old: the weights are not of the")


def test_the_newest_checkpoint_is_named_relative_to_the_run(run_folder):
    folder = run_folder()
    assert newest_checkpoint(folder, "trial_00000") == "trial_00000/checkpoint_000002"
    assert newest_checkpoint(folder, "trial_00009") is None
