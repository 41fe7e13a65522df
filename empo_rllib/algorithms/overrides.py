"""Parameters of single policies, `algorithm_config_overrides_per_module`: whether they act."""

from __future__ import annotations

from empo_rllib.algorithms.setup import TrialSetup
from empo_rllib.config.algorithms import ALGORITHMS
from empo_rllib.config.params import OVERRIDES
from empo_rllib.errors import ConfigError, nearest


def check_overrides(setup: TrialSetup) -> None:
    """Refuses a parameter of a single policy that would have no effect in this trial.

    Which parameters may differ by policy at all is checked with the experiment file.

    Raises:
        ConfigError: there is no such policy, it is not trained, or RLlib would read the parameter
            only in part.
    """
    algorithm = setup.config.algorithm
    for policy, params in algorithm.params.get(OVERRIDES, {}).items():
        place = f"algorithm.params.{OVERRIDES}.{policy}"
        if policy not in setup.policies:
            raise ConfigError(
                f"{place}: there is no policy of this name.{nearest(policy, setup.policies)} "
                f"The policies are {', '.join(setup.policies)}."
            )
        if params and not setup.policies[policy].train:
            raise ConfigError(
                f"{place}: this policy is not trained, so its parameters have no effect. "
                f"Remove them, or remove `train: false` in policies."
            )
        for name, value in params.items():
            if problem := _problem(setup, name):
                raise ConfigError(f"{place}.{name} = {value!r} {problem}")


def _problem(setup: TrialSetup, name: str) -> str | None:
    """Returns why the parameter has no effect, or only some, and the way out."""
    algorithm, sampler = setup.config.algorithm, setup.sampler
    row = ALGORITHMS[algorithm.name]
    if sampler.name == "rllib" and name in row.by_policy_in_fragments:
        return (
            f"cannot differ by policy where resources.sampler is rllib ({sampler.reason}): RLlib's "
            f"own {algorithm.name} has one value for all policies. Use the batched or the python "
            f"sampler, or set algorithm.params.{name}."
        )
    steps = algorithm.params.get("n_step", 1)
    if name == "gamma" and steps != 1:
        return (
            f"cannot differ by policy with algorithm.params.n_step = {steps!r}: RLlib discounts "
            "the rewards of these steps with one gamma for all policies. Set n_step to 1, or set "
            "algorithm.params.gamma."
        )
    return None
