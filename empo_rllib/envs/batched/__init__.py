"""MultiGrid as kernels over arrays, many copies at a time.

multigrid.py   BatchedMultiGrid, the `VectorEnv`
support.py     which environments it can run, and why not the others
state.py       the arrays, and how a Python environment's state gets into them
step.py        one step: actions, then what it pays and who leaves
rules.py       success, failure, and what single environments add to a step
view.py        what agents see
layouts.py     first states of upstream's own environments
random.py      a random stream for each copy
kernel.py      compilation
"""
