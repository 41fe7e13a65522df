"""Commands to copy, at the end of each help page."""

from __future__ import annotations

#: By the name of the command. A line has at most 78 characters: it stands in 80 columns as it is.
EXAMPLES = {
    "tune": (
        "python -m empo_rllib.tune --config tune_configs/smoke.yaml",
        "python -m empo_rllib.tune --config tune_configs/ppo.yaml --set seed=1",
        "python -m empo_rllib.tune --config tune_configs/ppo.yaml --resume",
    ),
    "evaluate": (
        "python -m empo_rllib evaluate results/empty-8x8-ppo",
        "python -m empo_rllib evaluate results/empty-8x8-ppo --greedy --episodes 20",
        "python -m empo_rllib evaluate results/empty-8x8-ppo --set env.kwargs.size=16",
    ),
    "crossplay": (
        "python -m empo_rllib crossplay results/three-seeds",
        "python -m empo_rllib crossplay results/empty-8x8-ppo results/second-seed",
        "python -m empo_rllib crossplay results/three-seeds --figure crossplay.png",
    ),
    "record": (
        "python -m empo_rllib record results/empty-8x8-ppo --out episode.gif",
        "python -m empo_rllib record results/empty-8x8-ppo --out one.mp4 --episodes 1",
    ),
    "report": (
        "python -m empo_rllib report results/empty-8x8-ppo --out report.html",
        "python -m empo_rllib report results/* --out report.html --episodes 0",
    ),
    "doctor": (
        "python -m empo_rllib doctor MultiGrid-Empty-8x8-v0 --num-agents 2",
        "python -m empo_rllib doctor examples.custom_multigrid:TwoRooms",
        "python -m empo_rllib doctor --config tune_configs/pettingzoo.yaml",
    ),
    "profile": (
        "python -m empo_rllib profile tune_configs/ppo.yaml",
        "python -m empo_rllib profile tune_configs/ppo.yaml --no-settings --json",
    ),
    "export": (
        "python -m empo_rllib export results/empty-8x8-ppo --out exported",
        "python -m empo_rllib export results/empty-8x8-ppo --out exported --overwrite",
    ),
    "submit": (
        "python -m empo_rllib submit --config tune_configs/ppo.yaml --follow",
        "python -m empo_rllib submit --config tune_configs/ppo.yaml --dry-run",
        "python -m empo_rllib submit --config tune_configs/ppo.yaml --slurm --nodes 2",
    ),
    "jobs": (
        "python -m empo_rllib jobs",
        "python -m empo_rllib jobs --token-file ~/cluster-token",
    ),
    "logs": (
        "python -m empo_rllib logs smoke-3f9a1c",
        "python -m empo_rllib logs smoke-3f9a1c --follow",
    ),
    "stop": (
        "python -m empo_rllib stop smoke-3f9a1c",
        "python -m empo_rllib stop smoke-3f9a1c --token-file ~/cluster-token",
    ),
}


def render_examples(command: str) -> str:
    """Returns the end of a command's help page, for Typer's `epilog`."""
    return "\n".join(("Examples:", *EXAMPLES[command]))
