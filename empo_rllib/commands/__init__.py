"""The commands of `python -m empo_rllib`: what is typed, and what is printed.

They import what they need when they run, so that help and mistakes are answered at once.
"""
