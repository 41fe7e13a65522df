"""Environments: from an id to a PettingZoo `ParallelEnv`, and from there to RLlib.

    registry.py         id -> ParallelEnv; the ids that exist; registration with Ray
    sources.py          one builder per kind of id
    arguments.py        calling a constructor with a readable message for a wrong argument
    multigrid.py        MultiGridEnv -> ParallelEnv
    gymnasium_env.py    gymnasium.Env -> ParallelEnv with one agent
    joint_env.py        gymnasium.Env of several agents -> ParallelEnv
    rllib_env.py        ray.rllib.env.MultiAgentEnv -> ParallelEnv
    named_agents.py     agents of any id -> agents named by text
    multi_agent_env.py  ParallelEnv -> ray.rllib.env.MultiAgentEnv: the gate that all pass
      actions.py            what a policy chooses from, and what the environment gets of it
      returned.py           what the environment returns, checked at every step
    encoding.py         observations -> flat float32 vectors

Importing this package imports neither Ray nor torch nor multigrid.
"""

from __future__ import annotations

from empo_rllib.envs.registry import check_env_id, env_creator, env_ids, make_env, register_envs

__all__ = ["check_env_id", "env_creator", "env_ids", "make_env", "register_envs"]
