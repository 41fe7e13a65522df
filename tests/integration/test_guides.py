"""What the guides tell people to type: every command and every Python block, page by page.

Trainings are made small by `--set` at the end of the line; all else is typed as it stands, in a
folder that looks like a clone.
"""

from __future__ import annotations

import functools
import itertools
import json
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from commands import PYTHON, ROOT, Outcome, Running, Workplace
from ray_head import Head

from empo_rllib.config.load import load_config
from empo_rllib.doctor import examine
from empo_rllib.doctor.limits import Limits

pytestmark = pytest.mark.filterwarnings("ignore")  # RLlib warns about its own parts

TUTORIAL = "docs/tutorial.md"
# They tell of a command, shown on the tutorial's runs.
COMMAND_PAGES = [f"docs/{name}.md" for name in ("evaluate", "report", "export", "doctor")]
PAGES = [
    TUTORIAL,
    *COMMAND_PAGES,
    "docs/options.md",
    *(f"docs/howto/{path.name}" for path in sorted((ROOT / "docs/howto").glob("*.md"))),
    "examples/README.md",
]
# A training of the guides in env steps, divided by this, is a training here.
SCALE = 80
# The longest episode is 256 steps: each batch holds the end of one.
SMALL_BATCH = (
    "algorithm.params.train_batch_size_per_learner=600",
    "algorithm.params.minibatch_size=200",
    "algorithm.params.num_epochs=1",
    "resources.num_envs_per_env_runner=2",
)
# `doctor` plays for ten seconds otherwise.
QUICK = Limits(episodes=6, env_steps=600, play_s=60, repeat_steps=40, repeat_s=60)


class Step(NamedTuple):
    """A command line or a Python block of a page."""

    page: str
    number: int
    is_command: bool
    text: str

    @property
    def name(self) -> str:
        return f"{Path(self.page).stem}-{self.number}"


def steps_of(page: str) -> list[Step]:
    """Returns what a page says to type, in its order."""
    texts = []
    pattern = re.compile(r"^```(console|python)\n(.*?)^```", re.DOTALL | re.MULTILINE)
    for language, block in pattern.findall((ROOT / page).read_text()):
        if language == "python":
            texts.append((False, block))
            continue
        lines = [line.split(" # ")[0].strip() for line in block.splitlines()]
        texts += [(True, line) for line in lines if line.startswith("python -m empo_rllib")]
    return [Step(page, number, *text) for number, text in enumerate(texts)]


STEPS = [step for page in PAGES for step in steps_of(page)]


def made_by(step: Step) -> set[str]:
    """Returns the names in `results/` that a step makes."""
    if not is_training(step):
        return set(re.findall(r"--(?:out|figure) results/([\w-]+)", step.text))
    words = shlex.split(step.text)
    config = ROOT / options_of(words, "--config")[0]
    return {load_config(config, options_of(words, "--set")).name}


def used_by(step: Step) -> set[str]:
    """Returns the names in `results/` that must be there before a step."""
    if is_training(step):
        return set()
    return set(re.findall(r"results/([\w-]+)", step.text)) - made_by(step)


def is_training(step: Step) -> bool:
    return step.is_command and "empo_rllib.tune" in step.text and "--dry-run" not in step.text


def needed_before(page: str) -> list[Step]:
    """Returns the tutorial's steps that make what the page of a command uses."""
    if page not in COMMAND_PAGES:
        return []
    used = {name for step in steps_of(page) for name in used_by(step)}
    return [step for step in steps_of(TUTORIAL) if made_by(step) & used]


def options_of(words: list[str], option: str) -> list[str]:
    return [value for word, value in itertools.pairwise(words) if word == option]


def small(line: str) -> list[str]:
    """Returns the module and the arguments of a command that takes seconds."""
    words = shlex.split(line)[2:]
    if "--dry-run" in words or words[0] == "empo_rllib.bundle":
        return words
    if words[0] == "empo_rllib.tune":
        return [*words, *(part for key in small_settings(words) for part in ("--set", key))]
    episodes = {"evaluate": 2, "crossplay": 2, "record": 1, "report": 1}.get(words[1])
    return [*words, *(["--episodes", str(episodes)] if episodes else [])]


def small_settings(words: list[str]) -> Iterator[str]:
    """Yields what `--set` makes an experiment small with; also of one that is resumed."""
    given = options_of(words, "--set")
    config = load_config(ROOT / options_of(words, "--config")[0], given)
    limits = dict(key.split("=", 1) for key in given if key.startswith("stop.env_steps="))
    yield from SMALL_BATCH
    yield f"stop.env_steps={int(float(limits.get('stop.env_steps', 100_000))) // SCALE}"
    scheduler = config.to_dict()["tune"]["scheduler"] or {}
    if "asha" in scheduler:
        yield "tune.scheduler.asha.grace_period=600"
    if "pbt" in scheduler:
        yield "tune.scheduler.pbt.perturbation_interval=600"
    yield f"tune.num_samples={min(config.tune.num_samples, 2)}"
    seeds = config.to_dict()["seed"]
    if isinstance(seeds, dict):
        yield f"seed={{grid_search: {seeds['grid_search'][:2]}}}"


@pytest.fixture(scope="module")
def clone(place: Workplace) -> Workplace:
    """A folder like a clone, to type the commands of all pages in."""
    for name in ("empo_rllib", "examples", "tune_configs"):
        (place.folder / name).symlink_to(ROOT / name)
    return place


@pytest.fixture(scope="module")
def typed(clone: Workplace, cluster: Head) -> Iterator[Callable[[Step], Outcome]]:
    """Returns how a step ended; what several pages say to type is typed once."""

    @functools.cache
    def run(is_command: bool, text: str) -> Outcome:
        if not is_command:
            return Running([PYTHON, "-c", text], clone.folder, clone.env).wait()
        module, *arguments = small(text)
        if module == "empo_rllib.tune" and "--dry-run" not in arguments:
            return cluster.tune(clone, *arguments)
        return clone.type(*arguments, module=module)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(examine, "Limits", lambda: QUICK)
        yield lambda step: run(step.is_command, step.text)


def test_every_guide_has_something_to_type() -> None:
    assert {step.page for step in STEPS} == set(PAGES)
    assert {path.stem for path in (ROOT / "examples").glob("*.yaml")} <= {
        Path(options_of(step.text.split(), "--config")[0]).stem
        for step in STEPS
        if step.is_command and "--config examples/" in step.text
    }


@pytest.mark.parametrize("page", PAGES)
def test_a_guide_uses_no_run_of_another_page(page: str) -> None:
    """The pages of commands use those of the tutorial, as they say."""
    there: set[str] = set()
    for step in [*needed_before(page), *steps_of(page)]:
        assert used_by(step) <= there, step.text
        there |= made_by(step)


@pytest.mark.parametrize(
    "step",
    [
        pytest.param(step, id=step.name, marks=[pytest.mark.core] if step.page == TUTORIAL else [])
        for step in STEPS
    ],
)
def test_what_a_guide_says_to_type_works(step: Step, typed: Callable[[Step], Outcome]) -> None:
    for earlier in needed_before(step.page):
        typed(earlier).check()
    outcome = typed(step).check()
    assert step.is_command or outcome.stdout.strip(), "a block that prints nothing shows nothing"


def test_an_extended_run_has_one_curve(clone: Workplace) -> None:
    steps = clone.run("long").trial().column("env_steps")
    assert steps == sorted(set(steps))
    assert steps[-1] >= 150_000 // SCALE


def test_a_metric_of_ones_own_is_recorded_on_the_fast_path(clone: Workplace) -> None:
    run = clone.run("own-metric")
    assert run.summary["sampler"] == "batched"
    own = {key for key in run.trial().rows()[0] if key.startswith("custom/")}
    assert own == {"custom/forward_share", "custom/longest_episode"}
    assert all(0 < share < 1 for share in run.trial().column("custom/forward_share"))
    assert own <= run.trial().scalars().keys()


def test_a_frozen_partner_stays_as_it_was(clone: Workplace) -> None:
    tagger, frozen = (clone.run(name).trial().weights(-1, "tagger") for name in ("tag", "newcomer"))
    assert all((tagger[key] == frozen[key]).all() for key in tagger)


@pytest.mark.core
def test_what_the_tutorial_films_and_exports_is_there(clone: Workplace) -> None:
    results = clone.folder / "results"
    for name in ("episode.gif", "two-rooms.gif"):
        assert (results / name).read_bytes()[:4] == b"GIF8"
    assert (results / "exported" / "bundle.json").is_file()


def test_what_other_pages_film_draw_and_export_is_there(clone: Workplace) -> None:
    results = clone.folder / "results"
    assert (results / "tag.gif").read_bytes()[:4] == b"GIF8"
    assert (results / "crossplay.png").read_bytes()[1:4] == b"PNG"
    assert (results / "bundle" / "bundle.json").is_file()
    evaluated = json.loads((results / "evaluation.json").read_text())["runs"]
    sweep = clone.run("empty-8x8-ppo-sweep").trials
    assert len(evaluated) == 1 + len(sweep)
