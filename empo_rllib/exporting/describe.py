"""What a bundle says of itself: `bundle.json`, and a README for people."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from typing import Any

from empo_rllib.bundle.files import FORMAT, KIND
from empo_rllib.errors import BundleError
from empo_rllib.experiment.checkpoints import read_counters
from empo_rllib.experiment.provenance import PROVENANCE_FILE, describe_session
from empo_rllib.experiment.run_folder import TrainedTrial
from empo_rllib.exporting.spaces import plain
from empo_rllib.json_text import read_json

# What a stranger may know of the sessions that trained: no host, user or folder.
_SHARED_OF_SESSION = ("started", "python", "packages")
_SHARED_OF_CODE = ("commit", "uncommitted_changes", "from", "image_revision")
_EXPORTERS = ("onnx", "onnxruntime", "onnxscript")


def describe_bundle(
    trained: TrainedTrial,
    of_agent: Mapping[str, str],
    policies: Mapping[str, dict[str, Any]],
    provenance: Mapping[str, Any],
) -> dict[str, Any]:
    """Returns the content of `bundle.json` but for its files and the check.

    Args:
        trained: The checkpoint.
        of_agent: The name of the policy that acts for each agent.
        policies: What is told of each policy.
        provenance: What `describe_provenance` returned.
    """
    env = trained.config.env
    return {
        "kind": KIND,
        "format": FORMAT,
        "environment": {
            "id": env.id,
            "num_agents": env.num_agents,
            "kwargs": plain(env.kwargs),
        },
        "agents": dict(of_agent),
        "policies": dict(policies),
        "provenance": dict(provenance),
    }


def render_readme(description: Mapping[str, Any]) -> str:
    """Returns the text of a bundle's README, with a script that runs as it stands."""
    env, provenance = description["environment"], description["provenance"]
    agent, policy = next(iter(description["agents"].items()))
    data = description["policies"][policy]
    return _README.format(
        env=env["id"],
        agents="\n".join(
            f"| `{agent}` | `{name}` | {_actions(description['policies'][name])} |"
            for agent, name in description["agents"].items()
        ),
        agent=agent,
        observation=_example(data),
        env_arguments=_arguments(env),
        run=provenance["run"],
        checkpoint=provenance["checkpoint"],
        algorithm=provenance["algorithm"],
        metrics=_metrics(provenance["metrics"]),
        compared="\n".join(
            f"- `{name}`: {check['equal_actions']:,} of {check['observations']:,}"
            for name, check in description["check"].items()
        ),
    )


def describe_provenance(trained: TrainedTrial) -> dict[str, Any]:
    """Returns where a checkpoint comes from.

    Raises:
        BundleError: the run's own record is damaged.
    """
    trial, counters = trained.trial, read_counters(trained.checkpoint)
    return {
        "run": trained.run.name,
        "trial": trial.trial_id,
        "checkpoint": trained.checkpoint.name,
        "algorithm": trained.config.algorithm.name,
        "seed": trial.seed,
        "params": plain(trial.params),
        "metrics": plain(counters | {"episode_return_mean": trial.episode_return_mean}),
        "trained": _training_sessions(trained),
        "exported": _shared(describe_session({}, 1))
        | {"with": {name: importlib.metadata.version(name) for name in _EXPORTERS}},
    }


def _training_sessions(trained: TrainedTrial) -> list[dict[str, Any]]:
    path = trained.run / PROVENANCE_FILE
    if not path.exists():
        return []  # a run without it can be evaluated, and so exported
    try:
        return [_shared(session) for session in read_json(path)["sessions"]]
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise BundleError(f"{path}: damaged: {error!s:.200}") from error


def _shared(session: Mapping[str, Any]) -> dict[str, Any]:
    shared = {key: plain(session.get(key)) for key in _SHARED_OF_SESSION}
    code = session.get("code", {})
    return shared | {"code": {key: plain(code[key]) for key in _SHARED_OF_CODE if key in code}}


def _actions(policy: Mapping[str, Any]) -> str:
    names = [f"{number} {name}" for number, name in enumerate(policy["action_names"])]
    if names:
        return ", ".join(names)
    space = policy["action_space"]
    return f"{space['type']} " + ", ".join(
        f"{key} {value}" for key, value in space.items() if key in ("n", "nvec", "shape")
    )


def _metrics(metrics: Mapping[str, Any]) -> str:
    value = metrics["episode_return_mean"]
    shown = "unknown" if value is None else f"{value:.3f}"
    return f"{metrics['env_steps']:,} env steps, return {shown}."


def _example(policy: Mapping[str, Any]) -> str:
    """Returns Python text for an observation of zeros."""
    arrays = {
        tuple(part["path"]): f'np.zeros({tuple(part["shape"])}, "{part["dtype"]}")'
        for part in policy["inputs"]
    }
    return _nested(arrays, policy["observation_space"], ())


def _nested(arrays: Mapping[tuple, str], space: Mapping[str, Any], path: tuple) -> str:
    if space["type"] == "Dict":
        parts = [
            f"{key!r}: {_nested(arrays, part, (*path, key))}"
            for key, part in space["parts"].items()
        ]
        return "{" + ", ".join(parts) + "}"
    if space["type"] == "Tuple":
        inner = [_nested(arrays, part, (*path, i)) for i, part in enumerate(space["parts"])]
        return f"({', '.join(inner)},)"
    return arrays[path]


def _arguments(env: Mapping[str, Any]) -> str:
    arguments = [repr(env["id"])]
    if env["num_agents"] is not None:
        arguments.append(f"num_agents={env['num_agents']}")
    arguments += [f"**{env['kwargs']!r}"] if env["kwargs"] else []
    return ", ".join(arguments)


_README = """# Policies for {env}

Trained with {algorithm} (run `{run}`, `{checkpoint}`): {metrics}

| agent | policy | actions |
| --- | --- | --- |
{agents}

## Use them

With Python and `pip install numpy onnxruntime`, in this folder:

```python
import numpy as np
from empo_bundle import load_bundle

bundle = load_bundle(".")
observation = {observation}
action = bundle.act(observation, agent="{agent}")
print(action, bundle.action_name(action, "{agent}"))
```

With `empo_rllib`, in the environment that they were trained in:

```python
import empo_rllib

bundle = empo_rllib.load_bundle(".", seed=0)
env = empo_rllib.make_env({env_arguments})
observations, _ = env.reset(seed=0)
bundle.reset()
while env.agents:
    actions = {{
        agent: bundle.act(observations[agent], agent, greedy=False) for agent in env.agents
    }}
    observations, rewards, *_ = env.step(actions)
```

Anything else that runs ONNX reads `policies/NAME.onnx`: its inputs are parts of an observation as
the environment returns it, with a leading batch dimension, and what the step before returned where
a policy has a memory; `bundle.json` says which, and what the output means.
`policies/NAME.safetensors` holds all weights of the training's network.

## What was checked

Greedy actions on recorded observations, the same in torch, onnxruntime and the original:

{compared}

## Trust

`python -m empo_bundle .` checks sizes and SHA-256 and tells what is here. That finds damage; it
does not tell who made the bundle. The folder `empo_bundle` is code. If you do not trust the bundle,
do not use that, nor start Python in this folder: `load_bundle` of your own `empo_rllib` runs no
code of a bundle.
"""
