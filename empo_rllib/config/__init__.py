"""The experiment file: its schema, how it is read, and the trials that it stands for."""

from empo_rllib.config.load import load_config, validate_config
from empo_rllib.config.policies import Policy, check_metric, policy_for, resolve_policies
from empo_rllib.config.schema import METRICS, ExperimentConfig, differences
from empo_rllib.config.search_space import TrialSpec, resolve_trial, sample_trials

__all__ = [
    "METRICS",
    "ExperimentConfig",
    "Policy",
    "TrialSpec",
    "check_metric",
    "differences",
    "load_config",
    "policy_for",
    "resolve_policies",
    "resolve_trial",
    "sample_trials",
    "validate_config",
]
