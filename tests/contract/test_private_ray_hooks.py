"""The private parts of Ray that the package leans on are in the installed Ray.

Ray gives no promise about them. When this fails after an upgrade, look there what took their place.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import ray
import torch
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.algorithms.ppo.torch.ppo_torch_learner import PPOTorchLearner
from ray.rllib.core.learner.learner import Learner
from ray.rllib.core.rl_module.rl_module import RLModule
from ray.rllib.core.rl_module.torch import TorchRLModule
from ray.rllib.env.env_runner import EnvRunner
from ray.rllib.env.multi_agent_env_runner import MultiAgentEnvRunner
from ray.tune.schedulers import ASHAScheduler, TrialScheduler

from empo_rllib.algorithms import torch_compiler
from empo_rllib.algorithms.accelerate import CONNECTORS
from empo_rllib.experiment.cluster import reread_ray_authentication
from empo_rllib.experiment.tune_memory import forgetting_results
from empo_rllib.learning.ppo.learner import FragmentPPOLearner
from empo_rllib.profiling.phases import PHASES
from empo_rllib.profiling.stopwatch import find

PACKAGE = Path(__file__).parents[2] / "empo_rllib"

ADVICE = (
    f"Ray {ray.__version__} has no {{}}: empo_rllib.experiment.cluster.reread_ray_authentication "
    "needs it so that a second experiment in one process does not use the first one's token"
)


def test_ray_can_be_made_to_read_its_authentication_again() -> None:
    raylet = importlib.import_module("ray._raylet")
    for owner, method in (("Config", "initialize"), ("AuthenticationTokenLoader", "instance")):
        assert hasattr(raylet, owner), ADVICE.format(f"ray._raylet.{owner}")
        place = f"{owner}.{method}"
        assert callable(getattr(getattr(raylet, owner), method, None)), ADVICE.format(place)
    loader = raylet.AuthenticationTokenLoader.instance()
    assert callable(getattr(loader, "reset_cache", None)), ADVICE.format("reset_cache")


def test_rays_authentication_follows_the_environment(monkeypatch, tmp_path) -> None:
    raylet = importlib.import_module("ray._raylet")
    token = tmp_path / "token"
    try:
        for number in range(2):
            token.write_text(f"{number}" * 64)
            monkeypatch.setenv("RAY_AUTH_MODE", "token")
            monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(token))
            reread_ray_authentication()
            assert raylet.AuthenticationTokenLoader.instance().has_token()
            headers = raylet.AuthenticationTokenLoader.instance().get_token_for_http_header()
            assert f"{number}" * 64 in str(headers)
    finally:
        monkeypatch.undo()
        reread_ray_authentication()


def test_ray_can_be_told_to_start_no_workers_in_advance() -> None:
    raylet = Path(ray.__file__).parent / "core/src/ray/raylet/raylet"
    assert b"prestart_worker_first_driver" in raylet.read_bytes(), (
        f"Ray {ray.__version__} has no setting prestart_worker_first_driver: it starts a process "
        "for each CPU that nothing here uses (RAY_prestart_worker_first_driver in cluster.py, "
        "cluster/slurm/node.sh and docker-compose.yml)"
    )


def test_the_gcs_can_be_told_to_remember_fewer_tasks() -> None:
    gcs = Path(ray.__file__).parent / "core/src/ray/gcs/gcs_server"
    assert b"task_events_max_num_task_in_gcs" in gcs.read_bytes(), (
        f"Ray {ray.__version__} has no setting task_events_max_num_task_in_gcs: the GCS of a local "
        "run grows by 3 KB with each training iteration (cluster.py)"
    )


def test_before_ray_is_imported_it_is_given_more_time_to_start_and_the_collector_a_pause() -> None:
    """On a busy machine its own 10 s and 60 s were too short."""
    code = """
import gc
from empo_rllib.experiment.cluster import quiet_ray
quiet_ray()
from ray._private.ray_constants import RAY_DASHBOARD_STARTUP_TIMEOUT_S
print(RAY_DASHBOARD_STARTUP_TIMEOUT_S, gc.isenabled(), gc.get_freeze_count() > 100_000)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "300 True True\n"
    raylet = Path(ray.__file__).parent / "_raylet.so"
    assert b"RAY_raylet_start_wait_time_s" in raylet.read_bytes()


LOST_ADVICE = (
    f"Ray {ray.__version__} has no {{}}: empo_rllib.experiment.cluster.lost_process needs it to "
    "notice that a local cluster has died, which Ray waits for without end"
)


def test_ray_says_which_of_the_processes_that_it_started_are_dead() -> None:
    worker = importlib.import_module("ray._private.worker")
    node = importlib.import_module("ray._private.node")
    names = importlib.import_module("ray._private.ray_constants")
    assert hasattr(worker, "_global_node"), LOST_ADVICE.format("ray._private.worker._global_node")
    assert list(inspect.signature(node.Node.dead_processes).parameters) == ["self"], (
        LOST_ADVICE.format("Node.dead_processes")
    )
    found = (names.PROCESS_TYPE_RAYLET, names.PROCESS_TYPE_GCS_SERVER)
    assert found == ("raylet", "gcs_server"), LOST_ADVICE.format("process of these names")


def test_private_modules_of_ray_are_imported_in_one_place_only() -> None:
    users = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            else:
                continue
            if any(name.startswith("ray.") and "._" in name for name in names):
                users.add(path.relative_to(PACKAGE).as_posix())
    assert users == {"experiment/cluster.py", "experiment/tune_memory.py"}


FUTURES_ADVICE = (
    f"Ray {ray.__version__} has no {{}}: empo_rllib.experiment.tune_memory needs it. Does the set "
    "of an actor's futures still grow with each call? If not, remove that module"
)


def test_a_result_that_was_handled_is_let_go_of() -> None:
    managers = importlib.import_module("ray.air.execution._internal.actor_manager")
    events = importlib.import_module("ray.air.execution._internal.event_manager")
    manager_class, tracked = managers.RayActorManager, managers.TrackedActorTask("actor")
    assert "_tracked_actors_to_task_futures[tracked_actor].add(future)" in inspect.getsource(
        manager_class._schedule_tracked_actor_task
    ), FUTURES_ADVICE.format("_tracked_actors_to_task_futures")
    manager = manager_class.__new__(manager_class)
    manager._tracked_actors_to_task_futures = {"actor": {"handled", "awaited"}}
    manager._actor_task_events = events.RayEventManager()
    manager._actor_task_events.track_future("awaited")
    with forgetting_results():
        manager._actor_task_resolved(tracked_actor_task=tracked, result=None)
    assert manager._tracked_actors_to_task_futures == {"actor": {"awaited"}}


def test_tune_keeps_no_statistics_of_every_number() -> None:
    metadata = importlib.import_module("ray.tune.trainable.metadata")._TrainingRunMetadata(
        n_steps=[5]
    )
    before = metadata.update_metric
    with forgetting_results():
        metadata.update_metric("return", 1.0, step=1)
        assert metadata.metric_analysis == {}
    metadata.update_metric("return", 1.0, step=1)
    assert metadata.metric_analysis, FUTURES_ADVICE.format("_TrainingRunMetadata.update_metric")
    assert metadata.update_metric == before


#: What `empo_rllib.learning.ppo.learner` overrides or reads, and the arguments it is called with.
LEARNER_HOOKS = {
    "_create_iterator_if_necessary": [
        "training_data",
        "num_total_minibatches",
        "num_epochs",
        "minibatch_size",
        "shuffle_batch_per_epoch",
        "kwargs",
    ],
    "_update": ["batch", "kwargs"],
    "_log_metrics": ["batch"],
    "_log_steps_trained_metrics": ["batch"],
    "_set_slicing_by_batch_id": ["batch", "value"],
    "_set_optimizer_state": ["state"],
}
# RLlib's torch learner leaves out the `kwargs` of the base class's `_update`.
LEFT_OUT = {"_update": ["batch"]}


def learner_advice(hook: str) -> str:
    return (
        f"Ray {ray.__version__} has changed {hook} of its learners: see "
        "empo_rllib.learning.ppo.learner, which takes fragments in its place"
    )


@pytest.mark.parametrize("hook", LEARNER_HOOKS)
def test_the_learners_hooks_have_the_signatures_that_we_override(hook: str) -> None:
    stock = getattr(PPOTorchLearner, hook, None)
    assert callable(stock), learner_advice(hook)
    parameters = [name for name in inspect.signature(stock).parameters if name != "self"]
    assert parameters == LEFT_OUT.get(hook, LEARNER_HOOKS[hook]), learner_advice(hook)
    own = inspect.signature(getattr(FragmentPPOLearner, hook)).parameters
    assert [name for name in own if name != "self"] == LEARNER_HOOKS[hook]


@pytest.mark.parametrize("hook", [hook for hook in LEARNER_HOOKS if hook != "_set_optimizer_state"])
def test_rllibs_update_still_calls_the_learners_hooks(hook: str) -> None:
    calls = f"self.{hook}("
    assert calls in inspect.getsource(Learner.update), learner_advice(hook)


def test_rllib_restores_optimisers_through_the_learners_hook() -> None:
    source = inspect.getsource(Learner.set_state)
    assert "self._set_optimizer_state(" in source, learner_advice("_set_optimizer_state")


@pytest.mark.parametrize("name", ["_weights_seq_no", "_named_optimizers"])
def test_the_learners_private_attributes_are_there(name: str) -> None:
    assert f"self.{name}" in inspect.getsource(Learner.__init__), learner_advice(name)


def test_torchs_compiler_can_be_left_out() -> None:
    advice = f"torch {torch.__version__}: see empo_rllib.algorithms.torch_compiler"
    for name in torch_compiler.SHIELDED:
        function = getattr(torch.optim.Optimizer, name)
        assert "__dynamo_disable" in function.__code__.co_consts, advice
        assert function.__wrapped__.__name__ == name, advice
    assert callable(torch._C._set_deterministic_algorithms), advice


@pytest.mark.parametrize("function", [one for found in PHASES.values() for one in found])
def test_the_functions_whose_time_is_measured_are_there(function: str) -> None:
    holder, name = find(function)
    advice = f"Ray {ray.__version__} has no {function}: see empo_rllib.profiling.phases"
    assert callable(getattr(holder, name, None)), advice


def test_private_parts_of_learners_are_used_in_one_module_only() -> None:
    private = {*LEARNER_HOOKS, "_weights_seq_no", "_named_optimizers"}
    users = {
        path.relative_to(PACKAGE).as_posix()
        for path in (PACKAGE / "learning").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in private
    }
    assert users == {"learning/ppo/learner.py"}


#: What `empo_rllib.sampling` takes from RLlib's env runner, and where that sets it.
RUNNER_ATTRIBUTES = {
    "_seed": EnvRunner,
    "_metrics_num_env_steps_sampled": EnvRunner,
    "_device": MultiAgentEnvRunner,
    "_callbacks": MultiAgentEnvRunner,
    "_weights_seq_no": MultiAgentEnvRunner,
    "_time_after_sampling": MultiAgentEnvRunner,
}
RUNNER_METHODS = {
    "_log_env_steps": ["metric", "num_steps"],
    "_log_episode_metrics": ["length", "ret", "sec", "agents", "modules", "agent_steps"],
}
#: Called without the public method around it, which changes the mode of the network every time.
MODULE_METHODS = {
    "_forward_exploration": TorchRLModule,
    "_forward_inference": TorchRLModule,
    "_forward_train": RLModule,
}


def runner_advice(hook: str) -> str:
    return (
        f"Ray {ray.__version__} has changed {hook} of its env runners: see "
        "empo_rllib.sampling.env_runner, which samples fragments in its place"
    )


@pytest.mark.parametrize("name", RUNNER_ATTRIBUTES)
def test_the_env_runners_private_attributes_are_there(name: str) -> None:
    assert f"self.{name}" in inspect.getsource(RUNNER_ATTRIBUTES[name].__init__), runner_advice(
        name
    )


@pytest.mark.parametrize("name", RUNNER_METHODS)
def test_the_env_runners_private_methods_have_their_arguments(name: str) -> None:
    method = getattr(MultiAgentEnvRunner, name, None)
    assert callable(method), runner_advice(name)
    parameters = [key for key in inspect.signature(method).parameters if key != "self"]
    assert parameters == RUNNER_METHODS[name], runner_advice(name)


@pytest.mark.parametrize("hook", ["make_env", "sample", "get_metrics", "stop"])
def test_the_env_runners_public_methods_are_those_that_rllib_calls(hook: str) -> None:
    assert callable(getattr(MultiAgentEnvRunner, hook, None)), runner_advice(hook)


@pytest.mark.parametrize("name", MODULE_METHODS)
def test_the_public_forward_passes_call_those_that_actors_and_the_learner_call(name: str) -> None:
    public = getattr(MODULE_METHODS[name], name.removeprefix("_"))
    assert f"self.{name}(" in inspect.getsource(public), runner_advice(name)


def test_configs_keep_connectors_where_accelerate_looks_for_them() -> None:
    config = PPOConfig()
    for name in CONNECTORS:
        given = config.training if name == "learner_connector" else config.env_runners
        assert getattr(config, f"_{name}") is None
        given(**{name: print})
        assert getattr(config, f"_{name}") is print


def test_private_parts_of_env_runners_are_used_in_two_modules_only() -> None:
    private = {*RUNNER_ATTRIBUTES, *RUNNER_METHODS}
    users = {
        path.relative_to(PACKAGE).as_posix()
        for path in (PACKAGE / "sampling").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in private - {"_device"}
    }
    assert users == {"sampling/env_runner.py", "sampling/accelerated.py"}


#: What Tune calls and `empo_rllib.experiment.scheduler` overrides.
ASHA_METHODS = {
    "on_trial_add": ["tune_controller", "trial"],
    "on_trial_result": ["tune_controller", "trial", "result"],
    "on_trial_complete": ["tune_controller", "trial", "result"],
    "on_trial_remove": ["tune_controller", "trial"],
}
ASHA_ADVICE = (
    f"Ray {ray.__version__} has changed {{}} of ASHA: see empo_rllib.experiment.scheduler, which "
    "feeds it the rows of earlier sessions, under our trial ids and without Tune's controller"
)


@pytest.mark.parametrize("name", ASHA_METHODS)
def test_asha_is_told_of_trials_by_the_methods_that_we_override(name: str) -> None:
    parameters = list(inspect.signature(getattr(ASHAScheduler, name)).parameters)
    assert parameters == ["self", *ASHA_METHODS[name]], ASHA_ADVICE.format(name)


def test_asha_reads_nothing_of_a_trial_but_its_id() -> None:
    asha = ASHAScheduler(
        time_attr="env_steps", metric="value", mode="max", max_t=9, grace_period=1, brackets=1
    )
    good, bad, removed = (SimpleNamespace(trial_id=name) for name in ("good", "bad", "removed"))
    try:
        for trial in (good, good, bad, removed):
            asha.on_trial_add(None, trial)
        decisions = [
            asha.on_trial_result(None, good, {"env_steps": 1, "value": 2.0}),
            asha.on_trial_result(None, bad, {"env_steps": 1}),
            asha.on_trial_result(None, bad, {"env_steps": 2, "value": 1.0}),
        ]
        asha.on_trial_complete(None, bad, {"env_steps": 2, "value": 1.0})
        asha.on_trial_remove(None, removed)
    except (AttributeError, TypeError, KeyError) as error:
        raise AssertionError(ASHA_ADVICE.format("what it reads")) from error
    expected = [TrialScheduler.CONTINUE, TrialScheduler.CONTINUE, TrialScheduler.STOP]
    assert decisions == expected, ASHA_ADVICE.format("its decisions")


@pytest.mark.parametrize("name", ["_verdicts", "_read_others", "_replayed"])
def test_asha_has_no_attribute_of_a_name_that_we_add(name: str) -> None:
    assert not hasattr(ASHAScheduler(), name), ASHA_ADVICE.format(name)


def test_asha_keeps_its_rungs_and_the_trials_that_are_not_over_where_we_look() -> None:
    asha = ASHAScheduler(time_attr="env_steps", metric="value", mode="max", max_t=9, brackets=1)
    trial = SimpleNamespace(trial_id="a")
    asha.on_trial_add(None, trial)
    assert set(asha._trial_info) == {"a"}, ASHA_ADVICE.format("_trial_info")
    asha.on_trial_result(None, trial, {"env_steps": 5, "value": 2.0})
    rungs = dict(asha._brackets[0]._rungs)
    assert rungs == {4: {"a": 2.0}, 1: {}}, ASHA_ADVICE.format("its rungs")
    assert (asha._max_t, asha._time_attr) == (9, "env_steps"), ASHA_ADVICE.format("its names")
