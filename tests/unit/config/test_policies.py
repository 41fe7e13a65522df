"""Who acts for whom."""

from __future__ import annotations

from typing import Any

import pytest

from empo_rllib.config.load import validate_config
from empo_rllib.config.policies import PolicyAssignment, check_metric, policy_for, resolve_policies
from empo_rllib.config.sections import Policies
from empo_rllib.errors import ConfigError

AGENTS = ["agent_0", "agent_1", "agent_2"]


def policies(value: Any) -> Policies:
    data = {"name": "run", "env": {"id": "x"}, "algorithm": {"name": "PPO"}, "policies": value}
    return validate_config(data, source="file.yaml").policies


def test_independent_is_one_policy_per_agent() -> None:
    assert resolve_policies("independent", AGENTS) == {
        agent: PolicyAssignment(agent, (agent,)) for agent in AGENTS
    }


def test_shared_is_one_policy_for_all() -> None:
    assert resolve_policies("shared", AGENTS) == {
        "shared": PolicyAssignment("shared", tuple(AGENTS))
    }


def test_exact_ids_come_before_patterns_and_the_first_pattern_wins() -> None:
    mapping = policies({"agent_*": "a", "*": "b", "agent_1": "c"})
    assert [policy_for(agent, mapping) for agent in [*AGENTS, "other"]] == ["a", "c", "a", "b"]


def test_patterns_tell_upper_from_lower_case() -> None:
    with pytest.raises(ConfigError):
        policy_for("agent_0", policies({"Agent_*": "a"}))


def test_a_mapping_carries_training_and_checkpoint() -> None:
    frozen = {"policy": "fixed", "train": False, "checkpoint": "results/old"}
    resolved = resolve_policies(policies({"agent_0": "walker", "*": frozen}), AGENTS)
    assert resolved == {
        "walker": PolicyAssignment("walker", ("agent_0",)),
        "fixed": PolicyAssignment(
            "fixed", ("agent_1", "agent_2"), train=False, checkpoint="results/old"
        ),
    }


def test_an_agent_left_out_and_a_key_without_agent_are_reported_together() -> None:
    mapping = policies({"agent_0": "a", "agnet_1": "b", "agent_2": "c"})
    with pytest.raises(ConfigError) as raised:
        resolve_policies(mapping, AGENTS)
    first, second = str(raised.value).splitlines()
    assert "leaves out 'agent_1'" in first
    assert "policies.agnet_1 = 'b' matches no agent" in second
    assert "Did you mean 'agent_" in second


def test_a_key_that_never_gets_its_turn_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"policies.agent_\* = 'b' is never used"):
        resolve_policies(policies({"*": "a", "agent_*": "b"}), AGENTS)


@pytest.mark.parametrize(
    ("value", "part"),
    [
        ("indepndent", "Did you mean 'independent'?"),
        (["agent_0"], 'policies = ["agent_0"] must be independent, shared or {'),
        ({}, "must be independent, shared or {"),
        ({"agent_0": 3}, "policies.agent_0 = 3 must be a policy's name or {"),
        ({"agent_0": "a/b"}, "policies.agent_0.policy = 'a/b' must be a plain name"),
        ({"agent_0": {"polcy": "a"}}, "Did you mean 'policy'?"),
        ({"agent_0": {"policy": "a", "train": "no"}}, "policies.agent_0.train = 'no' must be true"),
        ({"agent_0": {"policy": "a", "train": False}}, "trains no policy"),
        ({0: "a"}, "policies.0 is a key that is not a string"),
        (
            {"agent_0": "a", "agent_1": {"policy": "a", "train": False}},
            "describes the policy 'a' twice, at 'agent_0' and 'agent_1'",
        ),
    ],
)
def test_a_mapping_that_no_env_could_mend_is_refused(value: Any, part: str) -> None:
    with pytest.raises(ConfigError) as raised:
        policies(value)
    assert part in str(raised.value)


def test_a_metric_must_name_a_policy_or_agent_that_there_is() -> None:
    check_metric("episode_return_mean", ["walker"], AGENTS)
    check_metric("evaluation/success_rate", ["walker"], AGENTS)
    check_metric("policy_return_mean/walker", ["walker"], AGENTS)
    check_metric("agent_return_mean/agent_1", ["walker"], AGENTS)
    with pytest.raises(ConfigError, match="Did you mean 'walker'"):
        check_metric("policy_return_mean/wlker", ["walker"], AGENTS)
    with pytest.raises(ConfigError, match="agent_0, agent_1, agent_2"):
        check_metric("agent_return_mean/walker", ["walker"], AGENTS)
