"""The sentences of the options reference that no type can say."""

from __future__ import annotations

INTRODUCTION = """\
# Options

<!-- Written by python -m empo_rllib.config.generate: change empo_rllib/config, not this file. -->

Every key of an experiment file, in the order of the file, with its type, default and rule. Only
`name`, `env.id` and `algorithm.name` are required. What an experiment comes to, defaults
included, is printed by

```console
python -m empo_rllib.tune --config tune_configs/ppo.yaml --dry-run
```

and kept in the run's `resolved_config.yaml`. `--set` takes any key as it stands in the first
column, its value as YAML:

```console
python -m empo_rllib.tune --config tune_configs/ppo.yaml --dry-run --set stop.env_steps=5.0e+5
```

A key that does not exist, a value of another type (`"3"` is not 3) or one that breaks its rule is
one message that names the place and the rule; exit code 2. Whole numbers may be written `2.0e+5`.
Editors with a YAML language server know all this from the first line of the files in
`tune_configs/`.
"""

PARAMS = """\
### algorithm.params

The parameters of RLlib's `AlgorithmConfig`, by the names that its methods give them; one that is
left out keeps RLlib's default. Names, types and ranges are checked against a table of the
installed RLlib before anything starts; what RLlib would accept and then ignore (parameters of its
old API stack) is refused. Each value may be a search space. A schedule is a list `[[0, value],
[env steps, value], ..]`, linear between its points. What the algorithms do with them: [RLlib's
algorithms]({page}).

Those that matter, with RLlib's default for each algorithm that has them:
"""

BY_POLICY = """
`algorithm_config_overrides_per_module: {{walker: {{gamma: 0.9}}}}` gives the policy `walker` values
of its own. They follow the same rules. Every name must be that of a trained policy. These
parameters may differ by policy; all others are refused there:

{lines}

`gamma` of DQN, SAC and TQC needs `n_step: 1`.
"""

# Those that people set. PPO's come first, in the order in which one thinks of them.
PARAM_MEANINGS = {
    "lr": "learning rate; may be a schedule",
    "gamma": "discount of rewards a step later",
    "train_batch_size_per_learner": "env steps of one batch (DQN, SAC: rows)",
    "minibatch_size": "rows of one gradient step; not more than the batch",
    "num_epochs": "passes over each batch",
    "lambda_": "GAE: 0 trusts the critic, 1 the returns",
    "clip_param": "how far the probability of an action may move in an iteration",
    "entropy_coeff": "weight of the policy's entropy: exploration; may be a schedule",
    "use_kl_loss": "also penalise the distance from the last policy",
    "kl_coeff": "first weight of that penalty",
    "kl_target": "distance that the weight is adapted to",
    "vf_loss_coeff": "weight of the critic's loss",
    "vf_clip_param": "largest squared error of the critic that counts",
    "grad_clip": "largest gradient; null: any",
    "grad_clip_by": "how a gradient is measured",
    "rollout_fragment_length": "env steps that an env copy plays at a time",
    "broadcast_interval": "iterations between new weights for env runners",
    "vtrace_clip_rho_threshold": "V-trace: cut of the importance weights",
    "circular_buffer_num_batches": "batches kept to be learned from again",
    "circular_buffer_iterations_per_batch": "how often each is learned from",
    "actor_lr": "learning rate of the actor; may be a schedule",
    "critic_lr": "learning rate of the critics; may be a schedule",
    "alpha_lr": "learning rate of the entropy's weight; may be a schedule",
    "initial_alpha": "first weight of the entropy",
    "target_entropy": "entropy that its weight is adapted to",
    "epsilon": "share of random actions; may be a schedule",
    "n_step": "rewards that are summed before the critic is asked",
    "num_steps_sampled_before_learning_starts": "env steps before the first gradient",
    "replay_buffer_config": "the replay buffer: its type, capacity, ..",
    "training_intensity": "rows learned for each row sampled; null: what the sizes give",
    "target_network_update_freq": "env steps (APPO: updates) between updates of the target network",
    "tau": "how much of the new weights the target network takes",
    "double_q": "double Q-learning",
    "dueling": "separate heads for value and advantage",
}

BETWEEN_KEYS = """\
A search space may stand in `seed`, `algorithm.name`, `algorithm.params` and `model`, and at any
depth of `env.kwargs`. Grids are combined with each other, `tune.num_samples` times; each trial
draws its other values anew. Every option is checked as if it stood there alone.

A space may depend on what is drawn elsewhere: `when` says which options of other spaces it goes
with. Other trials leave its key out, as if it were not in the file, and have its default:

```yaml
algorithm:
  name: {choice: [PPO, DQN]}
  params:
    lr: {loguniform: [1.0e-5, 1.0e-3]}
    clip_param: {uniform: [0.1, 0.4], when: {algorithm.name: PPO}}
    n_step: {choice: [1, 3], when: {algorithm.name: DQN}}
```

## Rules between keys

- `stop` needs at least one limit: `stop.env_steps: null` alone would never end.
- `algorithm.name: {grid_search: [PPO, DQN]}` compares algorithms in one file. `algorithm.params`
  then holds only parameters that all of them have, with values that all of them accept, and search
  spaces `when` the algorithm is one that has them.
- What `when` names has a search space with options (`choice` or `grid_search`), is not the seed,
  and does not depend on the space itself. Grids, `seed` and `algorithm.name` have no `when`.
- `algorithm.params.minibatch_size` is at most `train_batch_size_per_learner`, RLlib's defaults
  included.
- `tune.metric: evaluation/..` needs `evaluation.interval` of at least 1;
  `policy_return_mean/NAME` and `agent_return_mean/NAME` need a policy or an agent of that name.
- `tune.scheduler.asha` needs an end: `stop.env_steps` or its own `max_t`, and a `grace_period`
  that is not longer.
- `tune.num_samples` above 1 with a grid over `seed` needs something else that is drawn at random,
  or its trials would be equal.
- In `policies` every agent has a policy, every key an agent, and at least one policy is trained.
  An exact agent id comes before patterns; of these the first counts. Agents that share a policy
  give it the same `train` and `checkpoint`, and have equal spaces.
- `env.num_agents` is not part of `env.kwargs`.
- `tune.search: optuna` chooses the values of every search space but the seed's, which is drawn at
  random. It takes no grids; its sampler `cmaes` takes numbers only, at least two.
- `tune.scheduler: pbt` and `pb2` need at least two `tune.num_samples`, no `max_concurrent`, no
  `search` and one algorithm. Search spaces may only stand at what it can change during training
  (PPO) and at `seed`; `pb2` takes ranges only. They have no `when`.
  `perturbation_interval` is below `stop.env_steps`.
- `tune.scheduler: {replay: ..}` takes no search spaces at the keys whose values it gives.
- With `--resume` only `stop`, `checkpoint`, `logging` and `resources` may differ from the run's
  first session, and `tune.num_samples` may be larger (not of a population).
"""
