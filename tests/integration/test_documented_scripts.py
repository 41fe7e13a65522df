"""The Python blocks of the documents run as they stand, and do what the documents say."""

from __future__ import annotations

import functools
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from commands import Outcome, Run, Workplace

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = {
    f"{document}-{number}": block
    for document in ("README.md", "docs/environments.md")
    for number, block in enumerate(
        re.findall(
            r"^```python\n(.*?)^```", (ROOT / document).read_text(), re.DOTALL | re.MULTILINE
        )
    )
}
# Run after a script, in its process, to look at what it left: one start of Ray for both.
RUN, LAYOUT, TRAIN = "README.md-0", "docs/environments.md-0", "docs/environments.md-1"
AFTERWARDS = {
    RUN: """
import json

print(type(result).__name__, result.folder)
print(json.dumps(result.model_dump(mode="json", exclude={"folder"})))
""",
    LAYOUT: """
from empo_rllib.envs.batched.support import batched_problem
from empo_rllib.envs.multigrid import MultiGridParallelEnv

print(batched_problem(MultiGridParallelEnv(LavaRoom(agents=2))))
""",
    TRAIN: """
algorithm.stop()
algorithm = (
    config.copy(copy_frozen=False)
    .env_runners(num_env_runners=1, num_envs_per_env_runner=1)
    .training(train_batch_size_per_learner=200, minibatch_size=100)
    .build_algo()
)
result = algorithm.train()
print("sampled", result["env_runners"]["num_env_steps_sampled"])
print("trained", sorted(set(result["learners"]) - {"__all_modules__"}))
""",
}
# What differs between two runs of the same experiment: clocks.
CLOCKS = ("timestamp", "time_s", "env_steps_per_s", "time/sample_s", "time/learn_s")
HERE_IT_ENDS = "--- the script ends here ---"


class Done(NamedTuple):
    """What a script printed, what was seen afterwards, and the folder in place of /tmp/runs."""

    printed: str
    afterwards: str
    folder: Path


@pytest.fixture(scope="module")
def run_script(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Done]:
    """Runs a script, once only."""

    @functools.cache
    def run(name: str) -> Done:
        folder = tmp_path_factory.mktemp("runs")
        script = SCRIPTS[name].replace("/tmp/runs", str(folder))
        script += f"\nprint({HERE_IT_ENDS!r})\n{AFTERWARDS.get(name, '')}"
        command = [sys.executable, "-c", script]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1200)
        assert done.returncode == 0, done.stderr
        printed, _, afterwards = done.stdout.partition(HERE_IT_ENDS)
        return Done(printed, afterwards.strip(), folder)

    return run


@pytest.mark.parametrize("name", sorted(SCRIPTS.keys() - {LAYOUT}))
def test_the_script_runs_and_prints_a_number(name, run_script):
    float(run_script(name).printed.split()[-1])


def test_a_class_with_a_layout_of_its_own_can_be_batched(run_script):
    assert run_script(LAYOUT).afterwards == "None"


def test_run_returns_what_the_summary_holds(run_script):
    script = run_script(RUN)
    first, content = script.afterwards.splitlines()
    assert first == f"ExperimentResult {script.folder / 'smoke'}"
    assert json.loads(content) == Run(script.folder / "smoke").summary


def test_the_same_seed_gives_the_same_curve_to_the_last_digit(
    run_script, smoke: Outcome, smoke_place: Workplace
):
    by_command, by_script = (
        [
            {key: text for key, text in row.items() if key not in CLOCKS}
            for row in run.trial().rows()
        ]
        for run in (smoke_place.run("smoke"), Run(run_script(RUN).folder / "smoke"))
    )
    assert by_command == by_script


def test_a_registered_id_trains_in_a_plain_rllib_script_with_an_env_runner_process(run_script):
    sampled, trained = run_script(TRAIN).afterwards.splitlines()
    assert sampled == "sampled 200"
    assert trained == "trained ['agent_0', 'agent_1']"
