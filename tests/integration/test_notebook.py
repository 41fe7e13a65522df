"""A notebook that trains, executed as Jupyter does, and all that it shows afterwards."""

from __future__ import annotations

import nbformat
import pytest
from commands import Workplace
from nbclient import NotebookClient
from ray_head import Head

CELLS = [
    "import empo_rllib",
    "result = empo_rllib.run(empo_rllib.load_config('tiny.yaml'), address='{address}')\nresult",
    "result.plot()",
]
ENV_STEPS = 300


@pytest.fixture(scope="module")
def outputs(place: Workplace, cluster: Head) -> list[list[nbformat.NotebookNode]]:
    """The outputs of each cell, as the notebook holds them when it is saved."""
    place.write_experiment(stop={"env_steps": ENV_STEPS})
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(cell.format(address=cluster.address)) for cell in CELLS]
    )
    where = {"metadata": {"path": str(place.folder)}}
    client = NotebookClient(notebook, timeout=300, resources=where)
    client.execute(env={**place.env, **cluster.env})
    return [cell.outputs for cell in notebook.cells]


def test_a_notebook_keeps_every_line_of_a_run_and_its_table(outputs, place):
    *streams, table = outputs[1]
    assert {(one.output_type, one.name) for one in streams} == {("stream", "stdout")}
    text = "".join(one.text for one in streams)
    assert text.replace("\n", "").isprintable()  # nothing is drawn over
    first, second, third, fourth, *others = text.splitlines()
    assert first == "tiny: PPO on MultiGrid-Empty-5x5-v0, 1 trial, results in results/tiny"
    assert second.startswith("sampler: ")
    assert third.startswith("networks: ")
    assert fourth.startswith("learner: ")
    assert all(line.startswith(("trial_00000", "building the first trials")) for line in others)
    header, names, row = table.data["text/plain"].splitlines()
    assert header == f"{place.run('tiny').folder}: finished, best trial_00000"
    assert names.split() == ["trial_id", "seed", "status", "env_steps", "episode_return_mean"]
    assert row.split()[:4] == ["trial_00000", "0", "finished", str(ENV_STEPS)]


def test_a_plot_is_shown_once(outputs):
    (figure,) = outputs[2]
    assert "image/png" in figure.data
