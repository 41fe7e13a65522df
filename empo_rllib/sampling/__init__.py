"""Rollouts as arrays: the env runner that trains PPO by default, and what it returns."""
