"""Every example trains as its file says and learns; thresholds were measured with seeds 0 to 2."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from commands import ROOT, Run, Workplace
from ray_head import Head

EXAMPLES = ROOT / "examples"


class Bar(NamedTuple):
    """What a training must come to.

    Attributes:
        env_steps: how long it is.
        column: of `progress.csv`.
        at_most: what it is at its lowest; with the seeds 0.03, 0.65, -0.41, -77.6, 0.15, 0.0, 0.33
            at most.
        at_least: what the last training iteration has; seeds: 0.61, 0.87, 0.51, -60.7, 0.58,
            0.92, 0.61 at least.
    """

    env_steps: int
    column: str
    at_most: float
    at_least: float


BARS = {
    "custom_multigrid": Bar(60_000, "episode_return_mean", at_most=0.2, at_least=0.4),
    "custom_rl_module": Bar(24_000, "episode_return_mean", at_most=0.7, at_least=0.8),
    "competitive": Bar(60_000, "policy_return_mean/tagger", at_most=-0.2, at_least=0.3),
    "third_party": Bar(40_000, "episode_return_mean", at_most=-74.0, at_least=-65.0),
    "own_metric": Bar(20_000, "custom/forward_share", at_most=0.2, at_least=0.5),
    "memory": Bar(70_000, "success_rate", at_most=0.3, at_least=0.6),  # without: 0.4
    "masked": Bar(80_000, "episode_return_mean", at_most=0.4, at_least=0.5),
}


@pytest.fixture(scope="module", params=BARS)
def trained(request: pytest.FixtureRequest, place: Workplace, cluster: Head) -> tuple[Bar, Run]:
    """An example's run, started where its module lies and nowhere else is looked for it."""
    link = place.folder / "examples"
    if not link.exists():
        link.symlink_to(EXAMPLES)
        (place.folder / "empo_rllib").symlink_to(ROOT / "empo_rllib")
    name, bar = request.param, BARS[request.param]
    settings = [f"--set=stop.env_steps={bar.env_steps}", f"--set=name={name}"]
    config = f"examples/{name}.yaml"
    cluster.start(place, "--config", config, *settings, env={"PYTHONPATH": ""}).wait().check()
    return bar, place.run(name)


def test_an_example_learns(trained: tuple[Bar, Run]) -> None:
    bar, run = trained
    values = run.trial().column(bar.column)
    assert min(values[: len(values) // 2]) <= bar.at_most
    assert values[-1] >= bar.at_least


def test_it_takes_the_fast_path(trained: tuple[Bar, Run]) -> None:
    _, run = trained
    assert run.summary["sampler"] in ("batched", "python")


def test_every_example_has_a_bar() -> None:
    assert BARS.keys() == {path.stem for path in EXAMPLES.glob("*.yaml")}
