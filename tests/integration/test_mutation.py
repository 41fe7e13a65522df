"""A member that copies another trains with the mutated values from its next iteration on.

What counts is what the learner was handed and used: in kernels, in torch, and by RLlib's own
learner from episodes. All trials are in this process, where that can be read.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import tree
from commands import TINY, Workplace, merge
from ray.rllib.algorithms.ppo.torch.ppo_torch_learner import PPOTorchLearner
from ray.rllib.connectors.learner import GeneralAdvantageEstimation
from ray_head import Head

from empo_rllib.algorithms.setup import set_up_trial
from empo_rllib.config.algorithms import ALGORITHMS
from empo_rllib.config.load import validate_config
from empo_rllib.experiment.checkpoints import policy_weights
from empo_rllib.experiment.cluster import running_cluster
from empo_rllib.experiment.population import Member, Round, write_rounds
from empo_rllib.experiment.schedules import Membership
from empo_rllib.experiment.trial import ExperimentTrial, TrialTask
from empo_rllib.learning.ppo import learner as fast

# The trials of one process register their environments under one name, one after the other.
pytestmark = pytest.mark.filterwarnings("ignore:.*Overriding environment")

INTERVAL = 80
#: Every mutable key: the value before, and after.
VALUES = {
    "lr": (1e-3, 2e-3),
    "entropy_coeff": (0.01, 0.02),
    "clip_param": (0.3, 0.2),
    "vf_clip_param": (10.0, 5.0),
    "vf_loss_coeff": (1.0, 0.5),
    "gamma": (0.9, 0.95),
    "lambda_": (0.8, 0.7),
    "grad_clip": (10.0, 0.5),
    "kl_target": (1e9, 1e-9),
    "num_epochs": (1, 2),
    "minibatch_size": (40, 20),
    "train_batch_size_per_learner": (80, 160),
}
OLD, NEW = ({key: pair[n] for key, pair in VALUES.items()} for n in (0, 1))
DONOR, LOSER = "trial_00001", "trial_00000"


class Reading:
    """What an iteration used of one policy, by the name of the key."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._patch = patch
        self.used: dict[str, Any] = {}

    def spy(self, owner: Any, name: str, note: Any) -> None:
        """Has `note` look at the arguments of a function before it runs."""
        original = getattr(owner, name)

        def spied(*args: Any, **kwargs: Any) -> Any:
            note(*args, **kwargs)
            return original(*args, **kwargs)

        self._patch.setattr(owner, name, spied)

    def note(self, **used: Any) -> None:
        self.used |= used

    def of_loss(self, settings: Any) -> None:
        names = ("entropy_coeff", "clip_param", "vf_clip_param", "vf_loss_coeff")
        self.note(**{name: getattr(settings, name) for name in names})

    def of_fragments(
        self, fragments: Any, policy: str, values: Any, gamma: float, lambda_: float, *rest: Any
    ) -> None:
        steps = sum(fragment.env_steps() for fragment in fragments)
        self.note(gamma=gamma, lambda_=lambda_, train_batch_size_per_learner=steps)

    def of_update(self, update: Any) -> None:
        size = update.num_rows // len(update.minibatches)
        self.note(minibatch_size=size, num_epochs=update.num_rows // len(update.batch))

    def of_optimizer(self, optimizer: torch.optim.Optimizer) -> None:
        self.note(lr=optimizer.param_groups[0]["lr"])

    def of_kl(self, learner: Any, *, config: Any, **kwargs: Any) -> None:
        self.note(kl_target=config.kl_target)


def read_kernels(reading: Reading) -> None:
    def note(module: Any, optimizers: Any, update: Any, settings: Any, config: Any) -> None:
        reading.of_loss(settings)
        reading.of_update(update)
        reading.of_optimizer(optimizers[0])
        reading.note(grad_clip=config.grad_clip)

    reading.spy(fast, "build_batch", reading.of_fragments)
    reading.spy(fast, "train_compiled", note)


def read_torch(reading: Reading) -> None:
    def note(module: Any, update: Any, settings: Any, step: Any) -> None:
        reading.of_loss(settings)
        reading.of_update(update)

    reading._patch.setattr(fast, "train_compiled", lambda *_: None)
    reading.spy(fast, "build_batch", reading.of_fragments)
    reading.spy(fast, "train", note)
    reading.spy(fast, "clip_gradients", lambda _, __, clip, ___: reading.note(grad_clip=clip))
    reading.spy(torch.optim.Adam, "step", lambda self, *_: reading.of_optimizer(self))


def read_rllib(reading: Reading) -> None:
    def note(learner: Any, *, module_id: str, config: Any, batch: Any, **kwargs: Any) -> None:
        scheduler = learner.entropy_coeff_schedulers_per_module[module_id]
        reading.of_loss(config)
        reading.note(
            entropy_coeff=scheduler.get_current_value(),
            grad_clip=config.grad_clip,
            minibatch_size=len(batch["actions"]),
        )

    def of_advantages(connector: Any, **kwargs: Any) -> None:
        reading.note(gamma=connector.gamma, lambda_=connector.lambda_)

    def of_batch(learner: Any, training_data: Any, *, num_epochs: int, **kwargs: Any) -> None:
        steps = sum(len(episode) for episode in training_data.episodes)
        reading.note(train_batch_size_per_learner=steps, num_epochs=num_epochs)

    reading.spy(PPOTorchLearner, "compute_loss_for_module", note)
    reading.spy(GeneralAdvantageEstimation, "__call__", of_advantages)
    reading.spy(PPOTorchLearner, "update", of_batch)
    reading.spy(torch.optim.Adam, "step", lambda self, *_: reading.of_optimizer(self))


@pytest.fixture(scope="module", autouse=True)
def _joined(place: Workplace, cluster: Head) -> Iterator[None]:
    with place._in_this_process(cluster.env), running_cluster(cluster.address):
        yield


def build_trial(run: Path, trial_id: str, sampler: str) -> ExperimentTrial:
    """Returns a member of a population, which starts with `OLD` values."""
    changes = {
        "algorithm": {"params": OLD},
        "resources": {"sampler": sampler},
        "checkpoint": {"frequency": 100},
        "logging": {"tensorboard": False},
    }
    config = validate_config(
        merge(merge(TINY, {"resources": {"num_envs_per_env_runner": 4}}), changes)
    )
    start = {f"algorithm.params.{key}": value for key, value in OLD.items()}
    schedule = Membership(run, trial_id, INTERVAL, start)
    return ExperimentTrial(
        {"task": TrialTask(trial_id, run / trial_id, set_up_trial(config), 0.0, schedule)}
    )


def copy_donor(run: Path) -> None:
    """Decides the first round: one member copies the other, with `NEW` values."""
    params = {f"algorithm.params.{key}": value for key, value in NEW.items()}
    at = {"env_steps": INTERVAL, "training_iteration": 1}
    loser = Member(trial_id=LOSER, score=0.0, copies=DONOR, params=params, **at)
    write_rounds(run, [Round(members=[loser, Member(trial_id=DONOR, score=1.0, params={}, **at)])])


def optimizer_state(trial: ExperimentTrial) -> dict[str, Any]:
    """Returns Adam's averages and counts of all policies."""
    state = trial._algorithm.learner_group.get_state(components="learner/optimizer")
    return {name: one["state"]["state"] for name, one in state["learner"]["optimizer"].items()}


def assert_equal(one: Any, other: Any) -> None:
    """Compares trees of arrays to the last digit."""
    assert tree.map_structure(np.shape, one) == tree.map_structure(np.shape, other)
    pairs = zip(tree.flatten(one), tree.flatten(other), strict=True)
    assert all(np.array_equal(a, b) for a, b in pairs)


@pytest.mark.parametrize(
    ("sampler", "read"),
    [("batched", read_kernels), ("batched", read_torch), ("rllib", read_rllib)],
)
def test_every_mutable_value_is_used_from_the_next_iteration_on(
    tmp_path, monkeypatch, sampler, read
):
    assert VALUES.keys() == ALGORITHMS["PPO"].mutable
    donor = build_trial(tmp_path, DONOR, sampler)
    donor.step()
    weights, moments = policy_weights(donor._algorithm), optimizer_state(donor)
    loser = build_trial(tmp_path, LOSER, sampler)
    reading = Reading(monkeypatch)
    read(reading)
    reading.spy(PPOTorchLearner, "_update_module_kl_coeff", reading.of_kl)
    loser.step()
    assert reading.used == OLD
    assert loser.step()["training_iteration"] == 1, "it waits for the round"
    copy_donor(tmp_path)
    started: dict[str, Any] = {}
    reading.spy(
        ExperimentTrial,
        "_train",
        lambda trial: started.update(
            weights=policy_weights(trial._algorithm), moments=optimizer_state(trial)
        ),
    )
    row = loser.step()
    assert reading.used == NEW
    assert (row["training_iteration"], row["env_steps"]) == (2, 240)
    assert_equal(started["weights"], weights)
    assert_equal(started["moments"], moments)
