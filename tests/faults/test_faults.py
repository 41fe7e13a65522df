"""Faults of the table at random moments: a sample for `make test-all`, all for `make test-faults`.

`FAULTS_SEED` chooses the moments. A chain is a run that meets each blow of the table once, in
random order; `FAULTS_CHAINS` says how many there are, 0 being the sample.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from chain import Chain
from commands import TUNE, Run, Running, Workplace, workplace
from ray_head import Head, ray_head
from small_disk import small_disk
from table import BLOWS, DAMAGES, ENV, MISBEHAVIOURS, READERS, SAMPLED, SHORTAGES

SEED = os.environ["FAULTS_SEED"]
NUM_CHAINS = int(os.environ.get("FAULTS_CHAINS", "0"))
NUM_SAMPLED_FILES = 2  # for each damage
DISK_KB = 200_000

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3600),
    pytest.mark.filterwarnings("ignore"),  # RLlib warns about its own parts
]


def blows_of(rng: random.Random) -> list[str]:
    names = list(BLOWS) if NUM_CHAINS else ["driver", rng.choice(SAMPLED)]
    if os.geteuid() != 0:  # no small disk can be mounted
        names = [name for name in names if not BLOWS[name].disk]
    rng.shuffle(names)
    return names


@pytest.mark.parametrize("number", range(max(1, NUM_CHAINS)))
def test_a_run_that_meets_one_blow_after_the_other_loses_at_most_an_interval(number, tmp_path):
    label = f"{SEED}-{number}"
    rng = random.Random(label)
    names = blows_of(rng)
    with workplace(tmp_path) as place, contextlib.ExitStack() as stack:
        if NUM_CHAINS and os.geteuid() == 0:
            stack.enter_context(small_disk(tmp_path / "results", DISK_KB))
        chain = Chain(place, rng, label)
        for name in names:
            chain.meet(name)
        chain.finish()


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Head]:
    with (
        workplace(tmp_path_factory.mktemp("head")) as place,
        ray_head(place, num_cpus=2, env={"PYTHONPATH": ""}, dashboard=False) as head,
    ):
        yield head


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workplace]:
    with workplace(tmp_path_factory.mktemp("place")) as place:
        yield place


@pytest.fixture(scope="module")
def trained(head: Head, place: Workplace) -> Run:
    """A run with all that a run folder holds."""
    config = place.write_experiment(name="whole", checkpoint={"num_to_keep": 1})
    head.tune(place, "--config", config).check()
    return place.run("whole")


def files_of(run: Run) -> list[Path]:
    return sorted(p.relative_to(run.folder) for p in run.folder.rglob("*") if p.is_file())


@pytest.mark.parametrize("name", DAMAGES)
def test_what_reads_a_damaged_run_succeeds_or_says_one_thing(trained, place, tmp_path, name):
    rng = random.Random(f"{SEED}-{name}")
    files = files_of(trained)
    for file in files if NUM_CHAINS else rng.sample(files, NUM_SAMPLED_FILES):
        run = Path(shutil.copytree(trained.folder, tmp_path / "run"))
        DAMAGES[name](run / file, rng)
        others = [rng.choice(READERS[1:])]  # all of them would take most of an hour
        for reader in [READERS[0], *others] if NUM_CHAINS else others:
            words = [word.replace("RUN", str(run)).replace("OUT", str(tmp_path)) for word in reader]
            outcome = place.type(*words)
            told = f"{reader[0]}, {file} {name}: exit code {outcome.code}\n{outcome.output}"
            assert "Traceback" not in outcome.output, told
            assert outcome.code in (0, 1, 2), told
            assert outcome.code == 0 or outcome.stderr.count("error: ") == 1, told
        for path in tmp_path.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.mark.all_faults
@pytest.mark.parametrize("name", MISBEHAVIOURS)
def test_an_environment_that_misbehaves_fails_its_trial_and_is_named(head, place, name):
    code, words = MISBEHAVIOURS[name]
    place.write("bad_env.py", ENV)
    config = place.write_experiment(
        name=name.replace(" ", "-"),
        tune={"max_failures": 0},
        env={"id": "bad_env:bad", "kwargs": {"max_steps": None, "how": name}},
    )
    outcome = head.start(place, "--config", config).wait()
    outcome.check(code)
    assert words in outcome.output
    assert "Traceback" not in outcome.stderr


@pytest.mark.all_faults
@pytest.mark.parametrize("name", SHORTAGES)
def test_a_machine_that_is_short_of_something_trains_or_says_one_thing(place, name):
    config = place.write_experiment(name=name.replace(" ", "-"))
    tune = f"{SHORTAGES[name]} && exec {' '.join(TUNE)} --config {config}"
    outcome = Running(["bash", "-c", tune], place.folder, place.env).wait()
    assert outcome.code in (0, 1, 2), outcome.output
    assert "Traceback" not in outcome.stderr, outcome.stderr
    assert outcome.code == 0 or outcome.output.count("error: ") == 1, outcome.output
    assert not place.wait_for_quiet()
    assert not place.cluster_folders()
