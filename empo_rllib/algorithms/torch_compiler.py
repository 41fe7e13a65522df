"""Keeps torch's compiler out of processes that compile nothing: a second of CPU for each trial.

torch 2.13 imports it (`torch._dynamo`, `torch._inductor` and SymPy) to shield its optimisers from
being compiled, and to tell it that results are to be deterministic, which RLlib's seeding asks for.

This module is the only one that leans on private parts of torch, checked by a contract test:
`__dynamo_disable`, where torch keeps a function that is shielded, and
`torch._C._set_deterministic_algorithms`.
"""

from __future__ import annotations

import torch

#: Methods of `torch.optim.Optimizer`.
SHIELDED = ("add_param_group", "load_state_dict", "state_dict", "zero_grad")


def leave_out_torch_compiler() -> None:
    """Makes optimisers and deterministic algorithms do without torch's compiler, in this process.

    Optimiser steps of torch's own import it all the same. What is compiled by `torch.compile`
    afterwards is as it was, but for Inductor's own deterministic mode, which is left alone.
    """
    for name in SHIELDED:
        function = getattr(torch.optim.Optimizer, name).__wrapped__
        setattr(function, "__dynamo_disable", function)  # mangled in a class only
    torch.use_deterministic_algorithms = _use_deterministic_algorithms


def _use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    torch._C._set_deterministic_algorithms(mode, warn_only=warn_only)
