"""The learner of the fast path: RLlib's PPO on `Fragment`s.

This module is the only one that leans on private parts of RLlib's learners (Ray 2.60), all checked
by a contract test. `Learner.update` calls `_create_iterator_if_necessary`, and for each item that
this gives `_update`, `_log_metrics`, `_log_steps_trained_metrics` and `_set_slicing_by_batch_id`.
On restore `_set_optimizer_state` is called. `_named_optimizers` and `_weights_seq_no` are read.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.algorithms.ppo.torch.ppo_torch_learner import PPOTorchLearner
from ray.rllib.utils.metrics import (
    ALL_MODULES,
    DIFF_NUM_GRAD_UPDATES_VS_SAMPLER_POLICY,
    MODULE_TRAIN_BATCH_SIZE_MEAN,
    NUM_ENV_STEPS_TRAINED,
    NUM_ENV_STEPS_TRAINED_LIFETIME,
    NUM_MODULE_STEPS_TRAINED,
    NUM_MODULE_STEPS_TRAINED_LIFETIME,
    WEIGHTS_SEQ_NO,
)

from empo_rllib.learning.gradients import clip_gradients, global_norm
from empo_rllib.learning.minibatches import count_minibatches, deal_rows, deal_sequences
from empo_rllib.learning.ppo.batch import PolicyBatch, build_batch
from empo_rllib.learning.ppo.compiled_training import compiled_network, train_compiled
from empo_rllib.learning.ppo.loss import TOTAL_LOSS, LossSettings
from empo_rllib.learning.ppo.training import train
from empo_rllib.learning.ppo.update import (
    PolicyUpdate,
    may_deduplicate,
    plan_recurrent_update,
    plan_update,
)
from empo_rllib.sampling.fragment import Fragment

# With torch for GPUs the first optimiser loads Triton. Where numba's LLVM had compiled kernels
# before, loading Triton's own LLVM was seen to crash (torch 2.13.0, numba 0.68.1).
with contextlib.suppress(ImportError):
    import triton  # noqa: F401

#: In `learner_config_dict`: whether the network runs once for observations that are the same.
DEDUPLICATE = "deduplicate"
#: In the learner's state: by policy.
KL_COEFFICIENTS = "kl_coefficients"
#: Metric: share of distinct ones among the observations of the minibatches.
UNIQUE_OBSERVATIONS = "unique_observations"


@dataclass(frozen=True)
class Update:
    """All that is learned from a list of fragments; `Learner.update` takes it for one minibatch.

    Attributes:
        policy_batches: by policy, those that are to be trained and have acted.
        num_minibatches: of each policy.
        num_env_steps: of the fragments.
    """

    policy_batches: dict[str, PolicyUpdate]
    num_minibatches: int
    num_env_steps: int

    def env_steps(self) -> int:
        """RLlib's count of trained steps, in which each minibatch counts for the whole batch."""
        return self.num_env_steps * self.num_minibatches


class FragmentPPOLearner(PPOTorchLearner):
    """RLlib's `PPOTorchLearner`, which takes a list of `Fragment`s in place of episodes.

    The results are those of RLlib's learner connectors and loss; the time is that of the network.
    Given anything else it is its base class. Any torch RLModule that has a `ValueFunctionAPI` and
    reads nothing but `batch["obs"]`, and `batch["state_in"]` where it has a memory, can be
    trained. Networks that draw random numbers of their own, other than by torch's dropout modules,
    need `learner_config_dict={"deduplicate": False}`.

    A network with a memory learns from whole sequences. They end where agents or their episodes
    do, and after `model_config["max_seq_len"]` steps. Each begins with what the network remembered
    there in sampling.
    """

    def build(self) -> None:
        """Builds the learner; see `Learner.build`."""
        super().build()
        # Adam's averages of inputs that are seen rarely fade to denormal numbers, with which a
        # CPU makes an optimiser step many times slower.
        torch.set_flush_denormal(True)

    def configure_optimizers_for_module(
        self, module_id: str, config: AlgorithmConfig | None = None
    ) -> None:
        assert config is not None
        parameters = self.get_parameters(self.module[module_id])
        self.register_optimizer(
            module_id=module_id,
            optimizer=torch.optim.Adam(parameters, fused=True),
            params=parameters,
            lr_or_lr_schedule=config.lr,
        )

    def get_state(
        self, components: Any = None, *, not_components: Any = None, **kwargs: Any
    ) -> dict[str, Any]:
        """Returns RLlib's state and the KL coefficients, which adapt while it learns."""
        state = super().get_state(components, not_components=not_components, **kwargs)
        if components is None:
            coefficients = self.curr_kl_coeffs_per_module
            state[KL_COEFFICIENTS] = {name: float(value) for name, value in coefficients.items()}
        return state

    def set_state(self, state: dict[str, Any]) -> None:
        """Restores a state; one of RLlib's own learner or of an older version has no KL part."""
        super().set_state(state)
        for policy, value in state.get(KL_COEFFICIENTS, {}).items():
            self.curr_kl_coeffs_per_module[policy].data.fill_(value)

    def _set_optimizer_state(self, state: dict[str, Any]) -> None:
        """Restores optimisers, also from RLlib's own learner, whose Adam is not fused."""
        super()._set_optimizer_state(state)
        for optimizer in self._named_optimizers.values():
            for group in optimizer.param_groups:
                group.update(fused=True, foreach=None)

    def _create_iterator_if_necessary(
        self,
        *,
        training_data: Any,
        num_total_minibatches: int = 0,
        num_epochs: int = 1,
        minibatch_size: int | None = None,
        shuffle_batch_per_epoch: bool = False,
        **kwargs: Any,
    ) -> Iterable:
        episodes = training_data.episodes
        if episodes and isinstance(episodes[0], Fragment):
            return [self._plan(episodes, num_epochs, minibatch_size, shuffle_batch_per_epoch)]
        return super()._create_iterator_if_necessary(
            training_data=training_data,
            num_total_minibatches=num_total_minibatches,
            num_epochs=num_epochs,
            minibatch_size=minibatch_size,
            shuffle_batch_per_epoch=shuffle_batch_per_epoch,
            **kwargs,
        )

    def _plan(
        self,
        fragments: Sequence[Fragment],
        num_epochs: int,
        minibatch_size: int | None,
        shuffle: bool,
    ) -> Update:
        """Builds the batches and deals their rows to minibatches."""
        env_steps = sum(fragment.env_steps() for fragment in fragments)
        policies = dict.fromkeys(p.policy for fragment in fragments for p in fragment.policies)
        built = {
            policy: self._build_batch(fragments, policy)
            for policy in policies
            if self.should_module_be_updated(policy)
        }
        batches = {policy: batch for policy, batch in built.items() if batch is not None}
        if not batches:
            return Update({}, 0, 0)
        if minibatch_size is None and num_epochs > 1:
            minibatch_size = env_steps  # as RLlib has it, although a batch may have more rows
        sizes = [len(batch) for batch in batches.values()]
        count = count_minibatches(sizes, minibatch_size, num_epochs) if minibatch_size else 1
        updates = {}
        shuffle = shuffle and num_epochs > 1
        for policy, batch in batches.items():
            size = minibatch_size or len(batch)
            if batch.sequences is not None:
                whole = deal_sequences(batch.sequences.sizes, size, count, shuffle)
                updates[policy] = plan_recurrent_update(batch, whole)
                continue
            dealt = deal_rows(len(batch), size, count, shuffle)
            updates[policy] = plan_update(batch, dealt, self._deduplicates(policy))
        return Update(updates, count, env_steps)

    def _build_batch(self, fragments: Sequence[Fragment], policy: str) -> PolicyBatch | None:
        module = self.module[policy].unwrapped()
        config = self.config.get_config_for_module(policy)
        return build_batch(
            fragments,
            policy,
            module.compute_values,
            config.gamma,
            config.lambda_,
            self._deduplicates(policy),
            self.device,
            module.model_config["max_seq_len"] if module.is_stateful() else None,
        )

    def _deduplicates(self, policy: str) -> bool:
        wanted = self.config.learner_config_dict.get(DEDUPLICATE, True)
        module = self.module[policy].unwrapped()
        return wanted and not module.is_stateful() and may_deduplicate(module)

    def _update(self, batch: dict[str, Any], **kwargs: Any) -> tuple[Any, Any, Any]:
        if all(isinstance(part, PolicyUpdate) for part in batch.values()):
            return {}, {policy: self._train(policy, part) for policy, part in batch.items()}, {}
        return super()._update(batch, **kwargs)

    def _train(self, policy: str, update: PolicyUpdate) -> float:
        """Trains one policy on all its minibatches; returns the loss of the last."""
        config = self.config.get_config_for_module(policy)
        settings = self._loss_settings(policy, config)
        metrics = self._train_compiled(policy, config, update, settings)
        if metrics is None:
            step = functools.partial(self._step, policy, config)
            metrics = train(self.module[policy].unwrapped(), update, settings, step)
        loss = metrics.pop(TOTAL_LOSS)  # which `Learner.update` logs
        self._log_training(policy, update, metrics)
        return loss

    def _train_compiled(
        self, policy: str, config: AlgorithmConfig, update: PolicyUpdate, settings: LossSettings
    ) -> dict[str, float] | None:
        """Trains in kernels; returns the last minibatch's metrics, None where torch has to.

        Torch also takes over at the first minibatch whose gradients are not finite.
        """
        network = compiled_network(self.module[policy].unwrapped(), config)
        if isinstance(network, str):
            return None
        optimizers = dict(self.get_optimizers_for_module(policy))
        trained = train_compiled(network, list(optimizers.values()), update, settings, config)
        if trained is None:
            return None
        if trained.minibatches < len(update.minibatches):
            del update.minibatches[: trained.minibatches]
            return None
        for name in optimizers:
            self._log_norm(policy, name, config, trained.norm, trained.clipped_norm)
        return trained.metrics

    def _log_norm(
        self, policy: str, name: str, config: AlgorithmConfig, norm: float, clipped_norm: float
    ) -> None:
        """Logs the norm of the last minibatch's gradients as RLlib does."""
        by_norm = config.grad_clip and config.grad_clip_by == "global_norm"
        if by_norm or config.log_gradients:
            self.metrics.log_value(
                (policy, f"gradients_{name}_global_norm"),
                norm if by_norm else clipped_norm,
                window=1,
            )

    def _loss_settings(self, policy: str, config: AlgorithmConfig) -> LossSettings:
        return LossSettings(
            clip_param=config.clip_param,
            vf_clip_param=math.inf if config.vf_clip_param is None else config.vf_clip_param,
            vf_loss_coeff=config.vf_loss_coeff,
            entropy_coeff=float(
                self.entropy_coeff_schedulers_per_module[policy].get_current_value()
            ),
            kl_coeff=float(self.curr_kl_coeffs_per_module[policy]) if config.use_kl_loss else None,
            use_critic=config.use_critic,
        )

    def _step(self, policy: str, config: AlgorithmConfig, is_last: bool) -> None:
        """Applies the gradients of one policy, clipped."""
        for name, optimizer in self.get_optimizers_for_module(policy):
            found = [p for group in optimizer.param_groups for p in group["params"]]
            parameters = [p for p in found if p.grad is not None]
            norm = global_norm(parameters)
            if not math.isfinite(norm):
                return self._step_as_rllib(policy, config)
            clip_gradients(parameters, norm, config.grad_clip, config.grad_clip_by)
            optimizer.step()
            if is_last:
                clipped_norm = global_norm(parameters).item()
                self._log_norm(policy, name, config, norm.item(), clipped_norm)
        return None

    def _step_as_rllib(self, policy: str, config: AlgorithmConfig) -> None:
        """Leaves gradients that are not finite to RLlib.

        `apply_gradients` steps the optimisers of all policies; the others have no gradients now.
        """
        gradients = {
            parameter: parameter.grad
            for parameter in self.get_parameters(self.module[policy])
            if parameter.grad is not None
        }
        self.apply_gradients(
            self.postprocess_gradients_for_module(
                module_id=policy, config=config, module_gradients_dict=gradients
            )
        )

    def _log_training(self, policy: str, update: PolicyUpdate, metrics: dict[str, float]) -> None:
        age = self._weights_seq_no - update.batch.mean_weights_seq_no
        self.metrics.log_dict(
            {
                **metrics,
                UNIQUE_OBSERVATIONS: update.unique_observations,
                DIFF_NUM_GRAD_UPDATES_VS_SAMPLER_POLICY: age,
            },
            key=policy,
            window=1,
        )

    def _set_slicing_by_batch_id(self, batch: Any, *, value: bool) -> Any:
        if isinstance(batch, Update):
            return batch
        return super()._set_slicing_by_batch_id(batch, value=value)

    def _log_steps_trained_metrics(self, batch: Any) -> None:
        """Logs once for all minibatches what RLlib logs for each."""
        if not isinstance(batch, Update):
            return super()._log_steps_trained_metrics(batch)
        log = self.metrics.log_value
        for policy, update in batch.policy_batches.items():
            steps = len(update)
            log((policy, WEIGHTS_SEQ_NO), self._weights_seq_no, window=1)
            mean = steps / batch.num_minibatches
            log((policy, MODULE_TRAIN_BATCH_SIZE_MEAN), mean, reduce="mean")
            log((policy, NUM_MODULE_STEPS_TRAINED), steps, reduce="sum")
            self._log_lifetime(policy, NUM_MODULE_STEPS_TRAINED_LIFETIME, steps)
            self._log_sum(NUM_MODULE_STEPS_TRAINED, steps)
            self._log_lifetime(ALL_MODULES, NUM_MODULE_STEPS_TRAINED_LIFETIME, steps)
        self._log_sum(NUM_ENV_STEPS_TRAINED, batch.env_steps())
        self._log_lifetime(ALL_MODULES, NUM_ENV_STEPS_TRAINED_LIFETIME, batch.env_steps())
        return None

    def _log_sum(self, key: str, value: int) -> None:
        self.metrics.log_value((ALL_MODULES, key), value, reduce="sum", with_throughput=True)

    def _log_lifetime(self, module: str, key: str, value: int) -> None:
        self.metrics.log_value((module, key), value, reduce="lifetime_sum", with_throughput=True)
