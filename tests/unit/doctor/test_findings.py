"""Every kind of finding is found where it is, and nowhere else."""

from __future__ import annotations

import inspect
from pathlib import Path

import broken_envs
import pytest
from bars import record_bar
from broken_envs import BROKEN
from gymnasium import spaces

from empo_rllib.doctor.findings import Findings
from empo_rllib.doctor.kinds import KINDS, level_of
from empo_rllib.doctor.places import Places
from empo_rllib.doctor.spaces import check_declarations
from empo_rllib.envs.registry import MULTIGRID_IDS

_FAST_CALLS = {"Hangs": 0.5}


@pytest.fixture(scope="module")
def reports(examine_quickly):
    """What is found in each broken environment."""
    return {
        name: examine_quickly(f"broken_envs:{name}", call_s=_FAST_CALLS.get(name, 30.0))
        for name in BROKEN
    }


@pytest.fixture(scope="module")
def multigrid_reports(examine_quickly):
    limits = {"episodes": 2, "env_steps": 3000}
    return {env_id: examine_quickly(env_id, num_agents=2, **limits) for env_id in MULTIGRID_IDS}


def names(report):
    return [finding.name for finding in report.findings]


def test_a_healthy_environment_has_no_findings(examine_quickly):
    assert names(examine_quickly("broken_envs:Healthy")) == []


def test_there_is_a_broken_environment_for_every_kind():
    assert set(BROKEN.values()) == set(KINDS)


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_environment_is_named_and_nothing_else_is_said_of_it(reports, name):
    assert names(reports[name]) == [BROKEN[name]], reports[name].findings


@pytest.mark.parametrize("name", BROKEN)
def test_the_exit_code_is_1_for_errors_only(reports, name):
    assert reports[name].exit_code == (level_of(BROKEN[name]) == "error")


@pytest.mark.parametrize("name", BROKEN)
def test_the_line_to_change_is_in_the_environments_own_file(reports, name):
    (finding,) = reports[name].findings
    file, _, line = finding.place.rpartition(":")
    assert Path(file).resolve() == Path(broken_envs.__file__)
    assert int(line) > 0


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ResetRaises", 'raise RuntimeError("the floor is wet")'),
        ("StepRaises", 'return {}["no such door"]'),
        ("Hangs", "time.sleep(0.01)"),
        ("CloseRaises", 'raise AttributeError("there is no window")'),
        ("Complains", "warnings.warn("),
        ("OldGym", "def step("),
        ("Unseeded", "def reset("),
        ("NoSpace", "def observation_space("),
        ("ListedAgents", "def __init__("),
        ("NoMetadata", "class NoMetadata("),
    ],
)
def test_the_line_to_change_is_the_right_one(reports, name, text):
    (finding,) = reports[name].findings
    lines = inspect.getsource(broken_envs).splitlines()
    assert text in lines[int(finding.place.rpartition(":")[2]) - 1]


@pytest.mark.parametrize(
    ("name", "seen"),
    [
        ("OutOfBounds", "agent_0: observation[2] = 1000.0 is above the bound 100.0"),
        ("HalfADict", "after reset: agent_0: observation has no 'speed'"),
        ("PaysNaN", "step 2: agent_0: nan"),
        ("StepRaises", "step({'agent_0': 0, 'agent_1': 2}): KeyError: 'no such door'"),
        ("OldGym", "returned 4 values, not 5"),
        ("Unseeded", "reset(7) returned other observations"),
        ("SeedsOnlyWhenAsked", "a later reset() without a seed returned other observations"),
        ("Hangs", "}) did not return within 0.5 s"),
        ("GlobalRandom", "reset() drew from random"),
        ("Talks", "step() printed 'step 0'"),
    ],
)
def test_what_was_seen_tells_moment_agent_and_value(reports, name, seen):
    assert seen in reports[name].findings[0].seen


def test_of_each_kind_the_first_is_told_and_the_rest_counted(reports):
    (finding,) = reports["OutOfBounds"].findings
    assert finding.seen.startswith("after reset: ")
    assert finding.count > 10


@pytest.mark.parametrize("env_id", MULTIGRID_IDS)
def test_multigrid_has_neither_errors_nor_warnings_and_is_batched(multigrid_reports, env_id):
    report = multigrid_reports[env_id]
    assert [found.name for found in report.findings if found.level != "note"] == []
    assert report.sampler == "batched"


def test_bar_broken_envs_are_named_and_multigrid_has_no_errors(reports, multigrid_reports):
    named = {BROKEN[name] for name in BROKEN if BROKEN[name] in names(reports[name])}
    missed = set(BROKEN.values()) - named
    errors = {id: report.count("error") for id, report in multigrid_reports.items()}
    measured = f"{len(named)} named, {len(missed)} missed; {sum(errors.values())} errors on " + (
        f"{len(errors)} MultiGrid ids"
    )
    met = len(named) >= 15 and not missed and len(errors) == 13 and not any(errors.values())
    asked = "at least 15 broken envs named, all of them; 0 errors on the 13 MultiGrid ids"
    record_bar("make test", "doctor", asked, measured, met)
    assert met, f"{measured}: {missed} {errors}"


@pytest.mark.parametrize(
    ("name", "limits", "found"),
    [
        # Time is up at once, as on a machine with too much to do.
        ("Healthy", {"play_s": 0.0}, False),
        ("Endless", {"play_s": 0.0}, True),
        # Too few steps to tell.
        ("Endless", {"play_s": 0.0, "episode_s": 0.0}, False),
    ],
)
def test_whether_episodes_end_depends_on_steps_and_not_on_time(
    examine_quickly, name, limits, found
):
    names = {finding.name for finding in examine_quickly(f"broken_envs:{name}", **limits).findings}
    assert ("never-ends" in names) is found


def test_an_environment_that_states_a_higher_limit_is_not_called_endless(
    examine_quickly, monkeypatch
):
    monkeypatch.setattr(broken_envs.Endless, "max_steps", 301, raising=False)
    names = {finding.name for finding in examine_quickly("broken_envs:Endless").findings}
    assert "never-ends" not in names


@pytest.mark.parametrize(
    ("space", "words"),
    [
        (spaces.Box(0, 1, (0,)), "observation is a Box of shape (0,), which holds no number"),
        (spaces.Discrete(1_000_000), "observation is a Discrete of 1,000,000 categories"),
    ],
)
def test_a_space_that_is_too_small_or_too_large_is_named(space, words):
    env = broken_envs.Healthy()
    env._seen = dict.fromkeys(env.possible_agents, space)
    findings = Findings(Places(env))
    check_declarations(env, findings)
    (finding,) = findings
    assert finding.name == "space-unsupported"
    assert words in finding.seen
