"""Which sampler an experiment gets, and the reason that is told."""

from __future__ import annotations

import pytest
from gymnasium import spaces
from ray.rllib.algorithms.ppo.torch.ppo_torch_learner import PPOTorchLearner
from ray.rllib.callbacks.callbacks import RLlibCallback
from ray.rllib.core.rl_module.apis import SelfSupervisedLossAPI

from empo_rllib.algorithms.builder import build_algorithm_config
from empo_rllib.algorithms.setup import set_up_trial
from empo_rllib.config.load import validate_config
from empo_rllib.envs.registry import make_env
from empo_rllib.errors import ConfigError
from empo_rllib.learning.ppo.learner import FragmentPPOLearner
from empo_rllib.rl_modules.actor_critic import ActorCritic
from empo_rllib.sampling.callback import SampleCallback
from empo_rllib.sampling.env_runner import FRAGMENT_SOURCE, FragmentEnvRunner

from multigrid.core.world_object import Ball  # isort: skip
from multigrid.envs import EmptyEnv  # isort: skip


class OwnLayout(EmptyEnv):
    def _gen_grid(self, width, height):
        super()._gen_grid(width, height)


class OwnCurriculum(EmptyEnv):
    def _gen_grid(self, width, height):
        slow = getattr(self, "step_count", 0) > 50
        super()._gen_grid(width, height)
        self.put_obj(Ball("red" if slow else "blue"), 1, 2)


class OwnStep(EmptyEnv):
    def step(self, actions):
        return super().step(actions)


class OwnLoss(ActorCritic, SelfSupervisedLossAPI):
    def compute_self_supervised_loss(self, **kwargs):
        return 0.0


class WatchesEpisodes(RLlibCallback):
    def on_episode_step(self, **kwargs):
        pass


class SetsUpEnvs(RLlibCallback):
    def on_environment_created(self, **kwargs):
        pass


class WatchesResults(RLlibCallback):
    def on_train_result(self, **kwargs):
        pass


def multigrid(env_id="MultiGrid-Empty-5x5-v0", sampler="auto", **sections):
    return validate_config(
        {
            "name": "run",
            "env": {"id": env_id, "num_agents": 2},
            "algorithm": {"name": "PPO"},
            "resources": {"sampler": sampler},
            **sections,
        }
    )


def pick(config):
    return set_up_trial(config).sampler


def test_multigrid_is_batched():
    sampler = pick(multigrid())
    assert (sampler.name, sampler.reason) == ("batched", "MultiGrid with known step rules")


def test_a_class_with_layouts_of_its_own_is_batched_without_doing_anything(own_code):
    own_code.Mine = OwnLayout
    assert pick(multigrid("own_code:Mine")).name == "batched"


def test_a_class_with_a_step_of_its_own_runs_in_python_and_the_reason_says_so(own_code):
    own_code.Mine = OwnStep
    sampler = pick(multigrid("own_code:Mine"))
    assert (sampler.name, sampler.reason) == ("python", "OwnStep overrides step()")


def test_a_class_whose_layouts_follow_from_the_episode_before_runs_in_python(own_code):
    own_code.Mine = OwnCurriculum
    sampler = pick(multigrid("own_code:Mine"))
    reason = "the layouts of OwnCurriculum read step_count of the episode before"
    assert (sampler.name, sampler.reason) == ("python", reason)


def broken_step():
    env = make_env("MultiGrid-Empty-5x5-v0", 2)
    env.step = lambda actions: {}
    return env


def broken_reset():
    env = make_env("MultiGrid-Empty-5x5-v0", 2)
    env.env.reset = lambda **_: 1 / 0
    return env


@pytest.mark.parametrize(
    ("factory", "reason"),
    [(broken_step, "step() of the environment was replaced"), (broken_reset, "reset()")],
)
def test_what_a_factory_replaces_is_not_passed_over(own_code, factory, reason):
    own_code.make = factory
    sampler = pick(multigrid("own_code:make", env={"id": "own_code:make"}))
    assert sampler.name == "python"
    assert reason in sampler.reason


def test_any_other_environment_runs_in_python(experiment):
    sampler = pick(experiment())
    assert sampler.name == "python"
    assert "MultiGrid" in sampler.reason


@pytest.mark.parametrize("name", ["python", "rllib", "batched"])
def test_the_sampler_that_is_asked_for_is_taken(name):
    sampler = pick(multigrid(sampler=name))
    assert (sampler.name, sampler.reason) == (name, "as asked for")


@pytest.mark.parametrize(
    ("sections", "reason"),
    [
        ({"resources": {"num_learners": 2}}, "num_learners = 2"),
        ({"params": {"batch_mode": "complete_episodes"}}, "algorithm.params.batch_mode = "),
        ({"params": {"count_steps_by": "agent_steps"}}, "algorithm.params.count_steps_by = "),
        ({"params": {"torch_compile_learner": True}}, "torch_compile_learner = True"),
        ({"callbacks": ["own_code:WatchesEpisodes"]}, "WatchesEpisodes.on_episode_step"),
        ({"callbacks": ["own_code:SetsUpEnvs"]}, "SetsUpEnvs.on_environment_created"),
        ({"model": {"class": "own_code:OwnLoss"}}, "has a loss of its own"),
        ({"algorithm": "APPO"}, "PPO, not APPO"),
        ({"algorithm": "DQN"}, "PPO, not DQN"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_what_only_rllib_can_do_is_left_to_it_and_told(experiment, own_code, sections, reason):
    own_code.WatchesEpisodes, own_code.SetsUpEnvs = WatchesEpisodes, SetsUpEnvs
    own_code.OwnLoss = OwnLoss
    sampler = pick(experiment(**sections))
    assert sampler.name == "rllib"
    assert reason in sampler.reason


def test_callbacks_that_need_no_episodes_stay_on_the_fast_path(experiment, own_code):
    own_code.WatchesResults = WatchesResults
    assert pick(experiment(callbacks=["own_code:WatchesResults"])).name == "python"


class ReadsSamples(SampleCallback):
    def on_sample(self, **kwargs):
        pass


class ReadsNothing(SampleCallback):
    pass


class ReadsBoth(ReadsSamples):
    def on_episode_end(self, **kwargs):
        pass


def test_a_callback_that_reads_fragments_stays_on_the_fast_path(experiment, own_code):
    own_code.ReadsSamples = ReadsSamples
    assert pick(experiment(callbacks=["own_code:ReadsSamples"])).name == "python"
    assert pick(multigrid(algorithm=callbacks_of(own_code, ReadsSamples))).name == "batched"


def callbacks_of(own_code, callback):
    own_code.Mine = callback
    return {"name": "PPO", "callbacks": ["own_code:Mine"]}


@pytest.mark.parametrize(
    ("callback", "sections", "reason"),
    [
        (ReadsSamples, {"resources": {"sampler": "rllib"}}, "gets rllib: as asked for."),
        (ReadsSamples, {"algorithm": "APPO"}, "gets rllib: the faster samplers train PPO, not"),
        (ReadsBoth, {}, "gets rllib: the callback ReadsBoth.on_episode_end needs RLlib's"),
    ],
)
def test_a_callback_that_would_never_be_called_is_refused(
    experiment, own_code, callback, sections, reason
):
    setattr(own_code, callback.__name__, callback)
    with pytest.raises(ConfigError) as caught:
        pick(experiment(callbacks=[f"own_code:{callback.__name__}"], **sections))
    assert str(caught.value).startswith(f"algorithm.callbacks: {callback.__name__}.on_sample needs")
    assert reason in str(caught.value)


def test_a_callback_that_reads_no_fragments_goes_with_every_sampler(experiment, own_code):
    own_code.ReadsNothing = ReadsNothing
    config = experiment(callbacks=["own_code:ReadsNothing"], resources={"sampler": "rllib"})
    assert pick(config).name == "rllib"


def test_the_reason_says_what_a_callback_costs_and_what_keeps_the_fast_path(experiment, own_code):
    own_code.WatchesEpisodes = WatchesEpisodes
    assert pick(experiment(callbacks=["own_code:WatchesEpisodes"])).reason == (
        "the callback WatchesEpisodes.on_episode_step needs RLlib's envs and episodes: sampling "
        "and learning are 5 to 15 times slower with them. on_train_result and "
        "empo_rllib.SampleCallback keep the fast path"
    )


def test_a_dict_of_actions_is_left_to_rllib(experiment, own_code, walk_env):
    class Acrobat(walk_env):
        def action_space(self, agent):
            return spaces.Dict({"arm": spaces.Discrete(2), "leg": spaces.Discrete(3)})

    class Own(ActorCritic):
        def _num_action_inputs(self):
            return 5

    own_code.WalkEnv, own_code.Own = Acrobat, Own
    sampler = pick(experiment(model={"class": "own_code:Own"}))
    assert sampler.name == "rllib"
    assert "Dict" in sampler.reason


def test_no_sampler_is_quietly_replaced_by_another(experiment, own_code):
    own_code.Mine = OwnStep
    with pytest.raises(ConfigError, match=r"'batched' does not fit: OwnStep overrides step\(\)"):
        pick(multigrid("own_code:Mine", sampler="batched"))
    with pytest.raises(ConfigError, match=r"'python' does not fit: .* PPO, not SAC.*take rllib"):
        pick(experiment("SAC", resources={"sampler": "python"}))


@pytest.mark.parametrize("name", ["batched", "python", "rllib"])
def test_the_choice_arrives_in_rllibs_config(name):
    config = multigrid(sampler=name)
    built = build_algorithm_config(set_up_trial(config))
    if name == "rllib":
        # None: RLlib's own, which it picks when it builds the algorithm.
        assert (built.env_runner_cls, built.learner_class) == (None, PPOTorchLearner)
        assert FRAGMENT_SOURCE not in built.env_config
        return
    assert (built.env_runner_cls, built.learner_class) == (FragmentEnvRunner, FragmentPPOLearner)
    envs = built.env_config[FRAGMENT_SOURCE].make_envs(2, False, {})
    expected = {"batched": "BatchedMultiGrid", "python": "PythonEnvs"}
    assert type(envs).__name__ == expected[name]
    envs.close()
