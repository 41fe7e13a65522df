"""MultiGrid as kernels over arrays, many copies at a time.

multigrid.py   BatchedMultiGrid, the `VectorEnv`
seeded.py      SeededMultiGrid, which plays the episodes of given seeds as the Python environment
support.py     which environments it can run, and why not the others
history.py     whether layouts follow from the seed alone
state.py       the arrays, and how a Python environment's state gets into them
step.py        one step: actions, then what it pays and who leaves
rules.py       success, failure, and what single environments add to a step
view.py        what agents see
layouts.py     first states of upstream's own environments
random.py      a random stream for each copy
kernel.py      compilation
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from empo_rllib.envs.arguments import describe

if TYPE_CHECKING:
    from pettingzoo import ParallelEnv


def why_not_batched(env: ParallelEnv) -> str | None:
    """Tells why `env` cannot be batched, in a sentence; None if it can.

    It is reset and played, to see layouts. Neither multigrid nor numba is imported for other
    environments.
    """
    if type(env).__module__ != "empo_rllib.envs.multigrid":
        return "only MultiGrid environments can be batched"
    from empo_rllib.envs.batched.support import batched_problem

    try:
        return batched_problem(env)
    except Exception as error:  # a layout of the user's that fails; its trial tells the whole
        return f"no layout can be made: {describe(error)}"
