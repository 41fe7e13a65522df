from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from empo_rllib import cli
from empo_rllib.config.schema import ExperimentConfig
from empo_rllib.experiment.checkpoints import FORMAT
from empo_rllib.experiment.metrics import Counters
from empo_rllib.experiment.summary import ExperimentResult, TrialSummary

sys.path.insert(0, str(Path(__file__).parent))  # for `recurrent_net`

EMPTY_5X5 = {"id": "MultiGrid-Empty-5x5-v0", "num_agents": 2}


def _write_run(folder, env=EMPTY_5X5, algorithm="PPO", env_steps=1000, **sections):
    """Writes a run folder as training leaves it, with untrained networks."""
    import torch
    from ray.rllib.core.rl_module.apis import TargetNetworkAPI
    from safetensors.torch import save_file

    from empo_rllib.algorithms.builder import build_algorithm_config
    from empo_rllib.algorithms.setup import set_up_trial

    torch.manual_seed(0)
    config = ExperimentConfig.model_validate(
        {"name": folder.name, "env": env, "algorithm": {"name": algorithm}, **sections}
    )
    checkpoint = folder / "trial_00000" / "checkpoint_000001"
    (checkpoint / "policies").mkdir(parents=True)
    (folder / "resolved_config.yaml").write_text(config.to_yaml())
    state = {"format": FORMAT, "counters": asdict(Counters(1, env_steps))}
    (checkpoint / "state.json").write_text(json.dumps(state))
    algorithm_config = build_algorithm_config(set_up_trial(config))
    modules = algorithm_config.get_multi_rl_module_spec().build()
    for name in modules.keys():  # noqa: SIM118  # a MultiRLModule is no dict
        if isinstance(modules[name], TargetNetworkAPI):
            modules[name].make_target_networks()
        weights = {k: v.clone().contiguous() for k, v in modules[name].state_dict().items()}
        save_file(weights, checkpoint / "policies" / f"{name}.safetensors")
    trial = TrialSummary(
        trial_id="trial_00000", params={}, seed=0, status="finished", metric=0.0, checkpoint="x"
    )
    result = ExperimentResult(
        status="finished",
        sampler="rllib",
        sampler_reason="",
        metric="episode_return_mean",
        mode="max",
        trials=[trial],
        folder=str(folder),
    )
    result.update()
    result.write()
    return folder


@pytest.fixture(scope="session")
def write_run():
    return _write_run


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory):
    """An untrained run on Empty-5x5 that ends after 20 steps; not to be changed."""
    env = {**EMPTY_5X5, "kwargs": {"max_steps": 20}}
    return _write_run(tmp_path_factory.mktemp("runs") / "small", env=env)


@pytest.fixture
def command(monkeypatch, capsys):
    """Runs `python -m empo_rllib ...`: exit code, stdout, stderr."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["empo_rllib", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        output = capsys.readouterr()
        return exit_.value.code, output.out, output.err

    return run
