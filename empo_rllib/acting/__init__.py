"""Acting: what a policy reads, remembers and does, for all who let policies act.

view.py      whose observations a policy reads in the arrays of a `VectorEnv`
memory.py    what a recurrent policy keeps between the steps of an episode
decision.py  from an RLModule's outputs to actions for the environment
actor.py     a policy in all copies of a `VectorEnv`, with log-probabilities, for training
policies.py  a policy on rows of observations; the random policy
teams.py     the policies that act in one environment
episodes.py  records of finished episodes
play.py      whole episodes in Python environments
batched.py   the same episodes in kernels
stage.py     the faster of the two
"""
